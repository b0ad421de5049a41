//! Who holds a virtual address: hamesh, or what served before it and is being taken over.
//!
//! ```text
//! others --> others on NODE --> both on NODE --> hamesh on NODE --> hamesh
//!            stopped on all     NODE alone may   stopped there,     any node of the
//!            other nodes        have the claim   too                role may have it
//! ```
//! Each arrow is a change of the document, made when the nodes have what the one before asks. So
//! in each state at most one thing on one node has the address, whoever dies in it.

use std::fmt;
use std::str::FromStr;

use hamesh_proto::ids::NodeId;

/// Who holds a virtual address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HeldBy {
    /// hamesh, on one node of the role at a time.
    #[default]
    Hamesh,
    /// What served before, on the node of the role that it chooses. There is no claim.
    Others,
    /// What served before, on this node alone; on the others it is stopped. There is no claim.
    OthersOn(NodeId),
    /// Both on this node, which alone may have the claim. As nothing else can have the address,
    /// it is open there with or without a lease.
    BothOn(NodeId),
    /// hamesh, on this node alone.
    HameshOn(NodeId),
}

impl HeldBy {
    /// Whether a node may have the claim.
    pub fn claims(&self, node: &NodeId) -> bool {
        match self {
            HeldBy::Hamesh => true,
            HeldBy::Others | HeldBy::OthersOn(_) => false,
            HeldBy::BothOn(only) | HeldBy::HameshOn(only) => only == node,
        }
    }

    /// Whether there is a claim at all.
    pub fn is_claimed(&self) -> bool {
        match self {
            HeldBy::Hamesh | HeldBy::BothOn(_) | HeldBy::HameshOn(_) => true,
            HeldBy::Others | HeldBy::OthersOn(_) => false,
        }
    }

    /// Whether what served before goes on on a node.
    pub fn spares(&self, node: &NodeId) -> bool {
        match self {
            HeldBy::Hamesh | HeldBy::HameshOn(_) => false,
            HeldBy::Others => true,
            HeldBy::OthersOn(only) | HeldBy::BothOn(only) => only == node,
        }
    }

    /// Whether what served before has it anywhere.
    pub fn is_others(&self) -> bool {
        match self {
            HeldBy::Others | HeldBy::OthersOn(_) | HeldBy::BothOn(_) => true,
            HeldBy::Hamesh | HeldBy::HameshOn(_) => false,
        }
    }

    /// The one node on which it is held, where the document names one.
    pub fn only(&self) -> Option<&NodeId> {
        match self {
            HeldBy::Hamesh | HeldBy::Others => None,
            HeldBy::OthersOn(only) | HeldBy::BothOn(only) | HeldBy::HameshOn(only) => Some(only),
        }
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeldBy::Hamesh => f.write_str("hamesh"),
            HeldBy::Others => f.write_str("others"),
            HeldBy::OthersOn(node) => write!(f, "others on {node}"),
            HeldBy::BothOn(node) => write!(f, "both on {node}"),
            HeldBy::HameshOn(node) => write!(f, "hamesh on {node}"),
        }
    }
}

/// It is written in another way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write `others`, `others on NODE`, `both on NODE`, `hamesh on NODE` or `hamesh`")]
pub struct NotHeldBy;

impl FromStr for HeldBy {
    type Err = NotHeldBy;

    fn from_str(text: &str) -> Result<Self, NotHeldBy> {
        let node = |name: &str| name.parse().map_err(|_| NotHeldBy);
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["hamesh"] => Ok(HeldBy::Hamesh),
            ["others"] => Ok(HeldBy::Others),
            ["others", "on", name] => Ok(HeldBy::OthersOn(node(name)?)),
            ["both", "on", name] => Ok(HeldBy::BothOn(node(name)?)),
            ["hamesh", "on", name] => Ok(HeldBy::HameshOn(node(name)?)),
            _ => Err(NotHeldBy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_each_node_there_is_a_claim_or_what_served_before_or_both_on_one() {
        let [a, b]: [NodeId; 2] = ["a", "b"].map(|name| name.parse().expect("a name"));
        for (text, claims, spares) in [
            ("hamesh", [true, true], [false, false]),
            ("others", [false, false], [true, true]),
            ("others on a", [false, false], [true, false]),
            ("both on a", [true, false], [true, false]),
            ("hamesh on a", [true, false], [false, false]),
        ] {
            let held: HeldBy = text.parse().expect(text);
            assert_eq!(held.to_string(), text);
            assert_eq!([&a, &b].map(|node| held.claims(node)), claims, "{text}");
            assert_eq!([&a, &b].map(|node| held.spares(node)), spares, "{text}");
        }
        for text in ["", "keepalived", "others on", "both", "both on A B"] {
            assert!(text.parse::<HeldBy>().is_err(), "{text}");
        }
    }
}
