//! Who is on the other side of a connection.

use std::net::SocketAddr;

use crate::leaf::Leaf;
use crate::spiffe::{Principal, SpiffeId};

/// Whom a dialling side is ready to talk to, within its own site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Any coordinator of the site.
    Coordinator,
    /// This one and no other.
    Exactly(Principal),
    /// Any agent or coordinator of the site, but no operator.
    Member,
}

impl Expect {
    /// Whether `principal` is as expected.
    pub fn accepts(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Exactly(expected), shown) => expected == shown,
            (Self::Coordinator | Self::Member, Principal::Coordinator(_))
            | (Self::Member, Principal::Agent(_)) => true,
            (Self::Coordinator, Principal::Agent(_) | Principal::Operator(_))
            | (Self::Member, Principal::Operator(_)) => false,
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Coordinator => f.write_str("a coordinator"),
            Self::Exactly(principal) => principal.fmt(f),
            Self::Member => f.write_str("an agent or a coordinator"),
        }
    }
}

/// A peer that has proved its identity in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who it is.
    pub id: SpiffeId,
    /// Its certificate's serial number, lower-case hexadecimal.
    pub serial: String,
    /// The end of its certificate's validity.
    pub not_after_unix_ms: u64,
}

impl From<Leaf> for PeerIdentity {
    fn from(leaf: Leaf) -> Self {
        Self {
            id: leaf.id,
            serial: leaf.serial,
            not_after_unix_ms: leaf.not_after_unix_ms,
        }
    }
}

/// What a service sees of a connection; tonic puts it into each request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's address.
    pub remote: SocketAddr,
    /// `None` where no client certificate is asked for (enrolment).
    pub identity: Option<PeerIdentity>,
}

/// Who sent `request`: `None` on a connection without a client certificate.
pub fn peer<T>(request: &tonic::Request<T>) -> Option<PeerIdentity> {
    request.extensions().get::<PeerInfo>()?.identity.clone()
}
