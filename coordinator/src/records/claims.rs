//! The values of the store that are about claims. Times are Unix milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_claims::group;
use hamesh_proto::ids::{ClaimId, NodeId};
use serde::{Deserialize, Serialize};

use super::Record;

/// What must outlive a coordinator, of one claim. Only its grantor has it written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// Who has a part in it, and for how long leases may last.
    pub record: group::Record,
}

/// What operators want of claims beside the site document: it holds until they take it back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimWishesRecord {
    /// Nothing of these moves by itself.
    pub paused: BTreeSet<ClaimId>,
    /// These nodes are to hold nothing.
    pub drained: BTreeMap<NodeId, Drain>,
}

/// Why a node is to hold nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// SPIFFE path of who drained it.
    pub by: String,
    /// Since when.
    pub since_unix_ms: u64,
}

/// Where a claim was, the newest move first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovesRecord {
    /// A bounded number of them.
    pub moves: Vec<MoveRecord>,
}

/// One move of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// When.
    pub at_unix_ms: u64,
    /// Empty: nobody held it.
    pub from: String,
    /// Empty: nobody holds it since.
    pub to: String,
    /// For people.
    pub reason: String,
}

/// What the keys between members of a claim are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSecretRecord {
    /// 32 sealed bytes, base64.
    pub sealed: String,
}

impl Record for ClaimRecord {}
impl Record for ClaimWishesRecord {}
impl Record for MovesRecord {}
impl Record for LeaseSecretRecord {}
