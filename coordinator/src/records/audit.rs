//! The values of the store that tell who asked for what. Times are Unix milliseconds.

use serde::{Deserialize, Serialize};

use super::Record;

/// The newest call of the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number; 0 before the first.
    pub number: u64,
}

/// One call that was to change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Rises by one from call to call.
    pub number: u64,
    /// When it came.
    pub at_unix_ms: u64,
    /// SPIFFE path of who called.
    pub actor: String,
    /// Serial number of the certificate that was shown, lower-case hex.
    pub certificate: String,
    /// "Operators/ApplySite"
    pub call: String,
    /// What was asked for, without secrets.
    pub request: String,
    /// What became of it.
    pub result: AuditResult,
    /// Names the call, so that its writer can tell whether it was written.
    pub nonce: String,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// Not ended yet; or the caller, or this coordinator, was gone before the end.
    Open,
    /// As was asked.
    Done,
    /// Nothing was changed.
    Refused {
        /// What the caller was told.
        told: String,
    },
    /// It may or may not have happened.
    Unknown {
        /// What the caller was told.
        told: String,
    },
}

impl Record for AuditHead {}
impl Record for AuditRecord {}
