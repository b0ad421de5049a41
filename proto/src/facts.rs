//! Facts that a node says of itself, signed so that no other member can say them for it.
//!
//! Gossip is relayed: a datagram's seal proves only that some member sent it. So facts carry the
//! node's signature and its certificate, and whoever hears them checks both. Which of two facts is
//! newer is decided by (start, sequence) inside them; replaying an old one wins nothing.

use std::collections::BTreeSet;
use std::time::SystemTime;

use prost::Message;

use crate::credentials::Credentials;
use crate::ids::NodeId;
use crate::spiffe::{Principal, SpiffeId};
use crate::trust::{ChainError, TrustBundle};
use crate::v1;

/// Precedes what is signed, so that a signature made for one purpose is good for no other.
const CONTEXT: &[u8] = b"hamesh-facts-v1\0";

/// The largest facts that are looked at, encoded. A node with 60 disks and 100 failed units stays
/// far below; what is larger is an attack.
pub const MAX_FACTS_BYTES: usize = 32 * 1024;

/// Why facts are not believed. What was known before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Larger than [`MAX_FACTS_BYTES`].
    #[error("the facts are larger than {MAX_FACTS_BYTES} bytes")]
    TooLarge,
    /// The certificate is not believed.
    #[error("the signer's certificate is not acceptable")]
    Chain(#[from] ChainError),
    /// The certificate is another's.
    #[error("the facts are signed by {0}")]
    OtherSigner(SpiffeId),
    /// The certificate was revoked.
    #[error("the signer's certificate {0} has been revoked")]
    Revoked(String),
    /// The signature does not fit.
    #[error("the signature is not the signer's")]
    Signature,
    /// Signed, but not a message that can be read.
    #[error("the facts cannot be decoded")]
    Malformed,
    /// The facts name another node.
    #[error("the facts are about {0:?}, not about their signer")]
    OtherNode(String),
}

/// Signs `facts` with the node's own key.
pub fn sign(credentials: &Credentials, facts: &v1::Facts) -> v1::SignedFacts {
    let facts = facts.encode_to_vec();
    let signature = credentials.sign(&message(&facts));
    v1::SignedFacts {
        facts,
        signature,
        certificate_der: credentials.leaf_der().to_vec(),
    }
}

/// The facts, if the agent of `node` signed them with a certificate that is valid `now` and whose
/// serial number is not among `revoked`.
pub fn verify(
    signed: &v1::SignedFacts,
    trust: &TrustBundle,
    node: &NodeId,
    now: SystemTime,
    revoked: &BTreeSet<String>,
) -> Result<v1::Facts, FactsError> {
    if signed.facts.len() > MAX_FACTS_BYTES {
        return Err(FactsError::TooLarge);
    }
    let leaf = trust.verify_chain(&signed.certificate_der, now)?;
    match &leaf.id.principal {
        Principal::Agent(signer) if signer == node => {}
        Principal::Agent(_) | Principal::Coordinator(_) | Principal::Operator(_) => {
            return Err(FactsError::OtherSigner(leaf.id));
        }
    }
    if revoked.contains(&leaf.serial) {
        return Err(FactsError::Revoked(leaf.serial));
    }
    if !leaf.signed(&message(&signed.facts), &signed.signature) {
        return Err(FactsError::Signature);
    }
    let facts = v1::Facts::decode(signed.facts.as_slice()).map_err(|_| FactsError::Malformed)?;
    if facts.node != node.as_str() {
        return Err(FactsError::OtherNode(facts.node));
    }
    Ok(facts)
}

impl v1::DatabaseState {
    /// For people; `None`: the node is no database, or nothing is known yet.
    pub const fn words(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::Leader => Some("leader"),
            Self::Replica => Some("replica"),
            Self::Other => Some("neither leader nor replica"),
            Self::Silent => Some("Patroni does not answer"),
        }
    }
}

fn message(facts: &[u8]) -> Vec<u8> {
    [CONTEXT, facts].concat()
}
