//! The values of the store that are about roles. Times are Unix milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_proto::ids::NodeId;
use serde::{Deserialize, Serialize};

use super::Record;

/// What operators want of the roles beside the site document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolesRecord {
    /// How often what failed on a node was to be tried again.
    pub attempts: BTreeMap<NodeId, u64>,
    /// Rises when the keys of all service certificates are to be made anew.
    pub issue: u64,
    /// On these nodes the data of the role that went goes, too.
    #[serde(default)]
    pub purge: BTreeSet<NodeId>,
}

/// What a role needs and nobody may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// Rises with each new value.
    pub version: u64,
    /// The value, sealed for its name and version; base64.
    pub sealed: String,
    /// When it was set.
    pub set_unix_ms: u64,
    /// SPIFFE path of who set it.
    pub set_by: String,
}

impl Record for RolesRecord {}
impl Record for SecretRecord {}
