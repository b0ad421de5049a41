//! The values of the store that are about backups. Times are Unix milliseconds.

use serde::{Deserialize, Serialize};

use super::Record;

/// How the scheduled backups went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupsRecord {
    /// The newest one that was made.
    pub last: Option<MadeBackup>,
    /// The newest attempt, if it failed.
    pub failed: Option<FailedBackup>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBackup {
    /// When.
    pub at_unix_ms: u64,
    /// The coordinator that holds it.
    pub coordinator: String,
    /// The whole path there.
    pub file: String,
    /// Its length.
    pub bytes: u64,
}

/// One that was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBackup {
    /// When.
    pub at_unix_ms: u64,
    /// For people.
    pub problem: String,
}

/// The key of the scheduled backups, as it was derived from the operators' passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupKeyRecord {
    /// 16 bytes, hex.
    pub salt: String,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// 32 sealed bytes, base64.
    pub sealed: String,
}

impl Record for BackupsRecord {}
impl Record for BackupKeyRecord {}
