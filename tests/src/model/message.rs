//! Messages on their way.

use hamesh_claims::message::{HintKind, Ruling, ToCoordinator, ToMember, ToPeer, Want};

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
    /// Whether anything depends on when it arrives. A refusal changes nothing, a hint to ask is as
    /// being woken, and a sign of life is missed by a node that is stopped.
    #[must_use]
    pub fn matters(&self) -> bool {
        match self {
            Self::Up(ToCoordinator::Request(request)) => !matches!(request.want, Want::Nothing(_)),
            Self::Down(_, ToMember::Answer(answer)) => {
                let ruled = matches!(answer.ruling, Ruling::Granted { .. } | Ruling::Freed(_));
                ruled || answer.group.is_some()
            }
            Self::Down(_, ToMember::Hint(hint)) => hint.what != HintKind::Ask,
            Self::Up(ToCoordinator::Consent(_) | ToCoordinator::Knows(_))
            | Self::Down(_, ToMember::ConsentAsk(_)) => false,
            Self::Peer(..) => true,
        }
    }
}
