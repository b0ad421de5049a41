//! Messages on their way.

use hamesh_claims::ids::NodeName;
use hamesh_claims::message::{HintKind, Ruling, ToCoordinator, ToMember, ToPeer, Want};
use hamesh_claims::reason::Refusal;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// To every coordinator.
    Up(ToCoordinator),
    /// To this node, from a coordinator.
    Down(usize, ToMember),
    /// To this node, from another.
    Peer(usize, ToPeer),
}

impl Message {
    /// Whether anything depends on when it arrives. A refusal changes nothing but where members are
    /// gathered, a hint to ask is as being woken, and a sign of life is missed by a node that is
    /// stopped.
    #[must_use]
    pub fn matters(&self) -> bool {
        match self {
            Self::Up(ToCoordinator::Request(request)) => !matches!(request.want, Want::Nothing(_)),
            Self::Down(_, ToMember::Answer(answer)) => {
                let ruled = matches!(
                    answer.ruling,
                    Ruling::Granted { .. } | Ruling::Freed(_) | Ruling::Refused(Refusal::Gathering)
                );
                ruled || answer.group.is_some()
            }
            Self::Down(_, ToMember::Hint(hint)) => hint.what != HintKind::Ask,
            Self::Up(ToCoordinator::Consent(_)) | Self::Down(_, ToMember::ConsentAsk(_)) => false,
            Self::Up(ToCoordinator::Knows(_)) | Self::Peer(..) => true,
        }
    }
}

/// The member that says so.
pub const fn sender(message: &ToCoordinator) -> &NodeName {
    match message {
        ToCoordinator::Request(it) => &it.from,
        ToCoordinator::Consent(it) => &it.from,
        ToCoordinator::Knows(it) => &it.from,
    }
}
