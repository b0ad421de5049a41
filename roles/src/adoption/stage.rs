//! The next change of the document while a node of a running site is taken over.
//!
//! ```text
//! Take --> Await --> Narrow --------> Join --------> Finish ------> Share --------> Over
//!          others    what served      hamesh takes   what served   other nodes may
//!          first     before stops     the addresses  before stops  have them
//!                    but on one node  there, too     there, too
//! ```
//! The document says where it has got to, and nothing else does: whoever takes up a take-over that
//! was interrupted goes on from there.

use std::collections::BTreeSet;

use hamesh_proto::ids::NodeId;

use crate::edit::{EditError, with_holder, with_mode, with_role};
use crate::names::VipName;
use crate::role::Role;
use crate::site::{HeldBy, Mode, Site, Vip};

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The node gets its role, beside what holds its addresses.
    Take,
    /// First these nodes are to be taken over: they could hold the addresses, and are only looked
    /// at.
    Await(BTreeSet<NodeId>),
    /// What served before is to hold the addresses on one node alone.
    Narrow,
    /// hamesh is to hold them on this node, too.
    Join(NodeId),
    /// What served before is to stop on this node, which holds them by hamesh.
    Finish(NodeId),
    /// Other nodes of the role may hold them, too.
    Share,
    /// Nothing: hamesh has the node and its addresses.
    Over,
}

impl Stage {
    /// What is next for a node that is to have `role`.
    pub fn of(site: &Site, node: &NodeId, role: Role) -> Self {
        let taken = site.nodes.get(node);
        if !taken.is_some_and(|it| it.role == Some(role) && it.mode == Mode::Apply) {
            return Stage::Take;
        }
        let left: Vec<&HeldBy> = outside(site, role).map(|(_, vip)| &vip.held_by).collect();
        let observed = members(site, role).filter(|id| site.nodes[*id].mode == Mode::Observe);
        let observed: BTreeSet<NodeId> = observed.cloned().collect();
        if left.is_empty() {
            return Stage::Over;
        }
        if !observed.is_empty() {
            return Stage::Await(observed);
        }
        // All go together: the one that is furthest behind is next.
        let next = |held_by: &&HeldBy| match held_by {
            HeldBy::Others => (0, Stage::Narrow),
            HeldBy::OthersOn(only) => (1, Stage::Join(only.clone())),
            HeldBy::BothOn(only) => (2, Stage::Finish(only.clone())),
            HeldBy::HameshOn(_) => (3, Stage::Share),
            HeldBy::Hamesh => (4, Stage::Over),
        };
        let next = left.iter().map(next).min_by_key(|(order, _)| *order);
        next.map_or(Stage::Over, |(_, stage)| stage)
    }

    /// The document with this done. `on` is the node that what served before holds the addresses
    /// on, or could.
    ///
    /// # Errors
    /// See [`EditError`].
    pub fn change(
        &self,
        yaml: &str,
        (node, role): (&NodeId, Role),
        on: &NodeId,
    ) -> Result<String, EditError> {
        let next = |held_by: &HeldBy| match (self, held_by) {
            (Stage::Narrow, HeldBy::Others) => Some(HeldBy::OthersOn(on.clone())),
            (Stage::Join(_), HeldBy::OthersOn(only)) => Some(HeldBy::BothOn(only.clone())),
            (Stage::Finish(_), HeldBy::BothOn(only)) => Some(HeldBy::HameshOn(only.clone())),
            (Stage::Share, HeldBy::HameshOn(_)) => Some(HeldBy::Hamesh),
            (
                Stage::Take
                | Stage::Await(_)
                | Stage::Narrow
                | Stage::Join(_)
                | Stage::Finish(_)
                | Stage::Share
                | Stage::Over,
                _,
            ) => None,
        };
        let mut text = yaml.to_owned();
        if *self == Stage::Take {
            text = with_role(&text, node, Some(role))?;
            text = with_mode(&text, node, Mode::Apply)?;
        }
        let site = Site::parse(yaml).map_err(EditError::Document)?;
        for (name, vip) in outside(&site, role) {
            if let Some(held_by) = next(&vip.held_by) {
                text = with_holder(&text, name, &held_by)?;
            }
        }
        Ok(text)
    }
}

/// The addresses of a role that hamesh does not hold alone yet.
pub fn outside(site: &Site, role: Role) -> impl Iterator<Item = (&VipName, &Vip)> {
    let vips = site.vips.iter();
    vips.filter(move |(_, vip)| vip.role == role && vip.held_by != HeldBy::Hamesh)
}

/// The nodes that could hold one of them.
pub fn members(site: &Site, role: Role) -> impl Iterator<Item = &NodeId> {
    let could = move |it| outside(site, role).any(|(_, vip)| vip.admits(it));
    let nodes = site.nodes.iter().filter(move |(_, it)| could(it));
    nodes.map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "
site: small
networks: {trust: {cidr: 10.0.0.0/24}}
management_network: trust
coordinators: [a]
vips:
  # Moved by keepalived so far.
  inner: {address: 10.0.0.100, network: trust, role: internal-proxy, held_by: others}
nodes:
  a: {mode: observe, role: internal-proxy, addresses: {trust: 10.0.0.1}}
  b: {mode: observe, addresses: {trust: 10.0.0.2}}
";

    #[test]
    fn a_pair_is_taken_over_step_by_step_and_each_step_is_the_next_one_of_the_document() {
        let [a, b]: [NodeId; 2] = ["a", "b"].map(|name| name.parse().expect("a name"));
        let role = Role::InternalProxy;
        let (mut text, mut told) = (BEFORE.to_owned(), Vec::new());
        for node in [&b, &a] {
            loop {
                let site = Site::parse(&text).expect("a valid site");
                let stage = Stage::of(&site, node, role);
                let over = matches!(stage, Stage::Await(_) | Stage::Over);
                if !over {
                    text = stage.change(&text, (node, role), &a).expect("changed");
                }
                let held = &site.vips[&"inner".parse().expect("a name")].held_by;
                told.push((stage, held.to_string()));
                if over {
                    break;
                }
            }
        }
        let told: Vec<(Stage, &str)> = told
            .iter()
            .map(|(stage, held)| (stage.clone(), held.as_str()))
            .collect();
        let waits = Stage::Await(BTreeSet::from([a.clone()]));
        let (others, alone) = ("others", "others on a");
        assert_eq!(
            told,
            [
                (Stage::Take, others),
                (waits, others),
                (Stage::Take, others),
                (Stage::Narrow, others),
                (Stage::Join(a.clone()), alone),
                (Stage::Finish(a), "both on a"),
                (Stage::Share, "hamesh on a"),
                (Stage::Over, "hamesh"),
            ]
        );
        assert!(text.contains("# Moved by keepalived so far."), "{text}");
    }
}
