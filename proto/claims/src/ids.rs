//! Names and numbers that the two ends of a lease use for the same thing.
//!
//! Everything that decides order is compared by the types here: an [`Epoch`] by incarnation first,
//! a [`GrantId`] by epoch first. Names are validated where they enter the program, not here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A node of the site. Cheap to clone: the holder's path allocates nothing for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The node called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl From<String> for NodeName {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.as_ref().to_owned()
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One leadership of a coordinator.
///
/// A site restored from a backup counts its terms anew under a higher incarnation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// Which life of the site: a `restore` begins the next.
    pub incarnation: u64,
    /// Which leadership in this life: each new leader takes the next by compare-and-set.
    pub term: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.term)
    }
}

/// The number of a grant: unique for its claim, and higher for every later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantId {
    /// The leadership that gave it.
    pub epoch: Epoch,
    /// Its number in that leadership, from 1.
    pub number: u64,
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.epoch, self.number)
    }
}

/// One run of an agent: a number that the caller draws at random at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Session(pub u64);

/// One boot of a machine's kernel (`/proc/sys/kernel/random/boot_id` as a number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub u128);

/// A message that wants an answer: an answer is believed only by the run that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The run that asks.
    pub session: Session,
    /// Its number in that run, from 1.
    pub number: u64,
}

/// The version of a claim's group: the next change of the group has the next version.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GroupVersion(pub u64);

impl GroupVersion {
    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn grant(incarnation: u64, term: u64, number: u64) -> GrantId {
        GrantId {
            epoch: Epoch { incarnation, term },
            number,
        }
    }

    #[test]
    fn an_incarnation_precedes_the_term_and_the_term_the_number() {
        assert!(grant(2, 1, 1) > grant(1, 9, 9));
        assert!(grant(1, 2, 1) > grant(1, 1, 9));
        assert!(grant(1, 1, 2) > grant(1, 1, 1));
    }
}
