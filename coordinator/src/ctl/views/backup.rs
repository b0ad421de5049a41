//! A backup, and how the scheduled ones go.

use std::path::Path;

use hamesh_proto::v1;
use serde::Serialize;

use super::GenerationView;
use crate::backup::{Contents, Snapshot};
use crate::ctl::time::Moment;

/// A backup that was found sound.
#[derive(Debug, Clone, Serialize)]
pub struct BackupView {
    /// The file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// The site.
    pub site: String,
    /// When it was made.
    pub made: Option<Moment>,
    /// The coordinator that made it.
    pub coordinator: String,
    /// The version of that coordinator.
    pub version: String,
    /// The desired state in it.
    pub desired: GenerationView,
    /// The epoch at that time.
    pub epoch: u64,
    /// The store's revision.
    pub revision: i64,
    /// How many records of the store it holds.
    pub records: usize,
    /// How many nodes the site document has.
    pub nodes: usize,
    /// The nodes that were enrolled.
    pub enrolled: Vec<String>,
    /// The operators.
    pub operators: Vec<BackupOperatorView>,
    /// SHA-256 of the CA's certificate.
    pub ca_fingerprint: String,
    /// When the CA expires.
    pub ca_expires: Option<Moment>,
}

/// An operator in a backup.
#[derive(Debug, Clone, Serialize)]
pub struct BackupOperatorView {
    /// Its name.
    pub name: String,
    /// Whether it is an admin.
    pub admin: bool,
}

impl BackupView {
    /// Of a file of so many bytes.
    pub fn new(file: &Path, bytes: u64, snapshot: &Snapshot, contents: &Contents) -> Self {
        let record = &contents.desired.record;
        let operators = contents.operators.iter();
        BackupView {
            file: file.display().to_string(),
            bytes,
            site: snapshot.site.to_string(),
            made: Moment::of(snapshot.made_unix_ms),
            coordinator: snapshot.coordinator.to_string(),
            version: snapshot.version.clone(),
            desired: GenerationView {
                incarnation: record.incarnation,
                generation: record.generation,
            },
            epoch: contents.epoch,
            revision: snapshot.revision,
            records: contents.records,
            nodes: contents.desired.site.nodes.len(),
            enrolled: contents.nodes.iter().map(ToString::to_string).collect(),
            operators: operators
                .map(|(name, admin)| BackupOperatorView {
                    name: name.to_string(),
                    admin: *admin,
                })
                .collect(),
            ca_fingerprint: contents.ca_fingerprint.clone(),
            ca_expires: Moment::of(contents.ca_expires_unix_ms),
        }
    }
}

/// How the scheduled backups go.
#[derive(Debug, Clone, Serialize)]
pub struct BackupsView {
    /// How often one is wanted.
    pub every_s: u64,
    /// When the newest was made.
    pub last: Option<Moment>,
    /// Where it is: "control-1:/var/lib/hamesh/backups/..."
    pub last_file: Option<String>,
    /// Its length.
    pub last_bytes: u64,
    /// Why the newest attempt failed, if it did.
    pub problem: Option<String>,
    /// Whether the newest is older than it may be.
    pub overdue: bool,
}

impl From<v1::BackupStatus> for BackupsView {
    fn from(status: v1::BackupStatus) -> Self {
        BackupsView {
            every_s: status.every_s,
            last: Moment::of(status.last_unix_ms),
            last_file: super::some_text(status.last_file),
            last_bytes: status.last_bytes,
            problem: super::some_text(status.problem),
            overdue: status.overdue,
        }
    }
}
