//! The values of the store. Times are Unix milliseconds.

use std::collections::BTreeMap;

use hamesh_proto::ids::{NodeId, OperatorName, SiteName};
use hamesh_proto::token::SecretHash;
use serde::{Deserialize, Serialize};

use super::Record;

/// What a site is for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Its name, which every identity carries.
    pub site: SiteName,
    /// When it was set up.
    pub created_unix_ms: u64,
}

/// The newest leadership. Written once in each, so that its writes can be guarded by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Rises by one with each leadership.
    pub epoch: u64,
    /// The node that minted it.
    pub coordinator: String,
    /// When.
    pub started_unix_ms: u64,
}

/// The desired state: everything that an assignment is derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRecord {
    /// Minted anew by a restore; precedes the generation in every comparison.
    pub incarnation: u64,
    /// Rises by one with each change.
    pub generation: u64,
    /// The site document as it was applied.
    pub yaml: String,
    /// Serial numbers that nobody may accept any more, until they expire by themselves.
    pub revoked: BTreeMap<String, Revocation>,
}

/// One revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// SPIFFE path of its holder: "agent/node-2".
    pub holder: String,
    /// When it would have expired anyway, and need not be remembered any more.
    pub not_after_unix_ms: u64,
}

/// One certificate that was issued and may still be valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Lower-case hex.
    pub serial: String,
    /// When it expires.
    pub not_after_unix_ms: u64,
}

/// An enrolled node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// When it enrolled.
    pub enrolled_unix_ms: u64,
    /// The certificates that it may show, oldest first.
    pub certificates: Vec<CertificateRecord>,
    /// Open for a node that slept past its certificate's expiry.
    pub re_enrol: Option<ReEnrolWindow>,
}

/// Until when an expired certificate is good for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReEnrolWindow {
    /// Until when.
    pub until_unix_ms: u64,
    /// SPIFFE path of who opened it.
    pub opened_by: String,
    /// SHA-256 (hex) of the public key it was used with: that key may ask again, no other.
    pub used_with: Option<String>,
}

/// An enrolment token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The only node it lets in.
    pub node: NodeId,
    /// The secret itself is nowhere.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created_unix_ms: u64,
    /// From when on it is worth nothing.
    pub expires_unix_ms: u64,
    /// SPIFFE path of who made it.
    pub created_by: String,
    /// What became of it.
    pub state: TokenState,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// Not used yet.
    Open,
    /// Traded for a certificate.
    Used {
        /// When.
        at_unix_ms: u64,
        /// SHA-256 (hex) of the public key: the node that lost the answer may ask again with it.
        public_key: String,
    },
    /// Withdrawn.
    Revoked {
        /// When.
        at_unix_ms: u64,
        /// SPIFFE path of who did.
        by: String,
    },
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// The name in the certificate.
    pub name: OperatorName,
    /// What the operator may do.
    pub access: OperatorAccess,
    /// When the operator was added.
    pub created_unix_ms: u64,
    /// The certificates that open the API, oldest first. No other one does.
    pub certificates: Vec<CertificateRecord>,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAccess {
    /// Call what only reads.
    Viewer,
    /// Call everything.
    Admin,
}

/// The gossip keys, and how far their rotation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipRecord {
    /// Rises with each change of the ring.
    pub version: u64,
    /// A sealed `hamesh.v1.GossipKeyRing`, base64.
    pub sealed_ring: String,
    /// How far the rotation is.
    pub phase: RotationPhase,
    /// Another rotation was asked for while this one ran.
    pub again: bool,
}

/// How far a rotation is. Each phase lasts until the agents acknowledged the ring's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationPhase {
    /// No rotation: one key.
    Idle,
    /// The new key is in the ring and opens; the old one seals.
    Distribute,
    /// The new key seals; the old one still opens.
    Switch,
    /// The old key is gone.
    Retire,
}

/// The newest event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHead {
    /// Its number; 0 before the first.
    pub number: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Rises by one from event to event.
    pub number: u64,
    /// When.
    pub at_unix_ms: u64,
    /// Dotted and stable.
    pub kind: String,
    /// Empty when it is not about one node.
    pub node: String,
    /// For people.
    pub text: String,
    /// SPIFFE path of who caused it.
    pub actor: String,
    /// Names the transaction that wrote it, so that its author can tell whether it happened.
    pub transaction: String,
}

impl Record for SiteRecord {}
impl Record for EpochRecord {}
impl Record for DesiredRecord {}
impl Record for NodeRecord {}
impl Record for TokenRecord {}
impl Record for OperatorRecord {}
impl Record for GossipRecord {}
impl Record for EventHead {}
impl Record for EventRecord {}
