//! How a coordinator that does not lead answers: with where the leader is.
//!
//! Every call to such a coordinator fails with `UNAVAILABLE` and these entries in the answer's
//! metadata. Whoever calls dials there; the leader proves by its certificate that it is a
//! coordinator of the site, so a wrong hint costs a connection and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::ids::NodeId;

/// How long nobody may lead before that is told: twice as long as an election takes at most.
pub const ELECTION: Duration = Duration::from_secs(8);
/// Before a coordinator that stands by is asked again who leads.
pub const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The leader's node; empty: nobody leads, as far as is known.
const NODE: &str = "hamesh-leader";
/// "ip:port" of its API.
const API: &str = "hamesh-leader-api";
/// "ip:port" of its enrolment port.
const ENROLMENT: &str = "hamesh-leader-enrolment";

/// Where the leader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its node.
    pub node: NodeId,
    /// Its API.
    pub api: SocketAddr,
    /// Its enrolment port.
    pub enrolment: SocketAddr,
}

/// What a coordinator that does not lead knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// This one leads.
    At(Leader),
    /// Nobody leads at present: soon somebody will.
    Nowhere,
}

impl Elsewhere {
    /// The answer of the coordinator on node `own`.
    pub fn status(&self, own: &NodeId) -> Status {
        let mut status = Status::new(Code::Unavailable, self.words(own));
        let mut tell = |name: &'static str, value: String| {
            if let Ok(value) = MetadataValue::try_from(value) {
                status.metadata_mut().insert(name, value);
            }
        };
        match self {
            Self::At(leader) => {
                tell(NODE, leader.node.to_string());
                tell(API, leader.api.to_string());
                tell(ENROLMENT, leader.enrolment.to_string());
            }
            Self::Nowhere => tell(NODE, String::new()),
        }
        status
    }

    /// What an answer says, if it is one of a coordinator that does not lead.
    pub fn of(status: &Status) -> Option<Self> {
        let read = |name| status.metadata().get(name)?.to_str().ok();
        let node = read(NODE)?;
        let leader = || {
            Some(Leader {
                node: node.parse().ok()?,
                api: read(API)?.parse().ok()?,
                enrolment: read(ENROLMENT)?.parse().ok()?,
            })
        };
        Some(leader().map_or(Self::Nowhere, Self::At))
    }

    fn words(&self, own: &NodeId) -> String {
        match self {
            Self::At(leader) => format!(
                "the coordinator on {own} stands by; the one on {} leads, at {}",
                leader.node, leader.api
            ),
            Self::Nowhere => format!(
                "the coordinator on {own} stands by, and none leads at present; try again in a \
                 moment"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_understood() {
        let own: NodeId = "control-2".parse().expect("a name");
        let leader = Leader {
            node: "control-1".parse().expect("a name"),
            api: "[fd00::1]:7443".parse().expect("an address"),
            enrolment: "[fd00::1]:7444".parse().expect("an address"),
        };
        for elsewhere in [Elsewhere::At(leader), Elsewhere::Nowhere] {
            let status = elsewhere.status(&own);
            assert_eq!(Elsewhere::of(&status), Some(elsewhere));
        }
        assert_eq!(Elsewhere::of(&Status::unavailable("the store")), None);
    }
}
