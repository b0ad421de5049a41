//! What a lease datagram carries: messages about one or more claims, from one sender.
//!
//! JSON inside the seal: a field that an older release does not know is passed over, and one that
//! it does not send has a default. The seal's version changes when that is not enough.

use hamesh_claims::ids::NodeName;
use hamesh_claims::message::{ToCoordinator, ToMember, ToPeer};
use serde::{Deserialize, Serialize};

use crate::ids::{ClaimId, NodeId};

/// The longest content, in bytes: a group of a hundred nodes fits, and no fragment is lost for
/// more than six.
pub const MAX_BYTES: usize = 8 * 1024;

/// The messages of one datagram, each with the claim that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A member to a coordinator.
    ToCoordinator(Vec<(ClaimId, ToCoordinator)>),
    /// A coordinator to a member.
    ToMember(Vec<(ClaimId, ToMember)>),
    /// A member to another.
    ToPeer(Vec<(ClaimId, ToPeer)>),
}

/// Why a content was not understood. It came from a member of the site all the same: of another
/// release, or broken.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_BYTES`].
    #[error("{0} bytes long, more than {MAX_BYTES}")]
    Long(usize),
    /// No content of this release.
    #[error("not understood")]
    Form(#[source] serde_json::Error),
}

impl Content {
    /// As bytes to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers have a form in JSON")
    }

    /// From bytes that were sealed.
    ///
    /// # Errors
    /// [`DecodeError`]: count and drop.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BYTES {
            return Err(DecodeError::Long(bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(DecodeError::Form)
    }

    /// Whether every message that names its sender names `node`.
    pub fn speaks_for(&self, node: &NodeId) -> bool {
        let is = |name: &NodeName| name.as_ref() == node.as_str();
        match self {
            Self::ToCoordinator(all) => all.iter().all(|(_, message)| match message {
                ToCoordinator::Request(request) => is(&request.from),
                ToCoordinator::Consent(consent) => is(&consent.from),
                ToCoordinator::Knows(knows) => is(&knows.from),
            }),
            // A coordinator signs with its epoch, not with a name.
            Self::ToMember(_) => true,
            Self::ToPeer(all) => all.iter().all(|(_, message)| match message {
                ToPeer::Ask(ask) => is(&ask.from),
                ToPeer::Promise(promise) => is(&promise.from),
                ToPeer::Release(release) => is(&release.from),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use hamesh_claims::group::Group;
    use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, RequestId, Session};
    use hamesh_claims::message::{Answer, Health, Request, Ruling, Want};
    use proptest::prelude::*;

    use super::*;

    fn request(from: &str) -> Content {
        let epoch = Epoch {
            incarnation: 1,
            term: 7,
        };
        let request = Request {
            from: NodeName::new(from),
            id: RequestId {
                session: Session(u64::MAX),
                number: 3,
            },
            seen: epoch,
            group: GroupVersion(2),
            health: Health::Healthy,
            want: Want::Renew(GrantId { epoch, number: 4 }),
        };
        let claim = "vip/edge".parse().expect("a claim");
        Content::ToCoordinator(vec![(claim, ToCoordinator::Request(request))])
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let sent = request("node-1");
        assert_eq!(Content::decode(&sent.encode()).expect("its own form"), sent);
    }

    #[test]
    fn a_member_speaks_for_itself_only() {
        let node = |name: &str| name.parse().expect("a name");
        assert!(request("node-1").speaks_for(&node("node-1")));
        assert!(!request("node-2").speaks_for(&node("node-1")));
    }

    #[test]
    fn the_group_of_a_hundred_nodes_fits() {
        let names: BTreeSet<_> = (0..100)
            .map(|n| NodeName::new(&format!("{n:0>32}")))
            .collect();
        let answer = Answer {
            id: RequestId {
                session: Session(1),
                number: 1,
            },
            epoch: Epoch::default(),
            group: Some(Group::exclusive(GroupVersion(1), names)),
            ruling: Ruling::Granted {
                grant: GrantId {
                    epoch: Epoch::default(),
                    number: 1,
                },
                ttl: Duration::from_millis(350),
                yields: None,
            },
        };
        let claim = "vip/edge".parse().expect("a claim");
        let content = Content::ToMember(vec![(claim, ToMember::Answer(answer))]);
        assert!(content.encode().len() <= MAX_BYTES);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            // Whether they are refused is not the point: they must not panic.
            let _ = Content::decode(&bytes);
        }

        #[test]
        fn no_damage_to_a_content_upsets_the_decoder(at in 0usize..300, byte in any::<u8>()) {
            let mut bytes = request("node-1").encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Content::decode(&bytes);
        }
    }
}
