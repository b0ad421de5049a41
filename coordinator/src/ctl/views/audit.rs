//! Who asked for which change.

use hamesh_proto::v1;
use serde::Serialize;

use crate::ctl::time::Moment;

/// One call that was to change something.
#[derive(Debug, Clone, Serialize)]
pub struct AuditView {
    /// Rises with every call.
    pub number: u64,
    /// When it came.
    pub at: Option<Moment>,
    /// Who called: "operator/ada".
    pub actor: String,
    /// Serial number of the certificate that was shown.
    pub certificate: String,
    /// "Operators/ApplySite"
    pub call: String,
    /// What was asked for, without secrets.
    pub request: String,
    /// What became of it.
    pub result: CallResult,
    /// What the caller was told, when it was not done.
    pub told: Option<String>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallResult {
    /// As was asked.
    Done,
    /// Nothing was changed.
    Refused,
    /// It may or may not have happened.
    Unknown,
}

impl CallResult {
    /// As the screens name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl From<v1::AuditEntry> for AuditView {
    fn from(entry: v1::AuditEntry) -> Self {
        AuditView {
            number: entry.number,
            at: Moment::of(entry.at_unix_ms),
            actor: entry.actor,
            certificate: entry.certificate,
            call: entry.call,
            request: entry.request,
            result: match entry.result.as_str() {
                "done" => CallResult::Done,
                "refused" => CallResult::Refused,
                _ => CallResult::Unknown,
            },
            told: super::some_text(entry.told),
        }
    }
}
