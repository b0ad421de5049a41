//! Backups by the clock, as the site document asks for them.
//!
//! Guarantees: a file is written whole, 0600, and only then are the oldest of this site removed;
//! what is no backup of this site is never touched; how it went is in the store, so that every
//! coordinator shows the same.
//!
//! The idea: once a minute, level-triggered: is one due by what the store remembers? Wall clocks
//! are compared here, and decide nothing but when a file is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::hex;
use hamesh_roles::site::Backups;

use super::{BackupKey, Snapshot, SnapshotError};
use crate::clock::milliseconds;
use crate::core::Core;
use crate::ledger::{CommitError, EventKind, Kept, ReadError};
use crate::records::{BackupKeyRecord, BackupsRecord, FailedBackup, MadeBackup, keys};

/// Between two looks at whether one is due.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(600);
/// How every file ends.
const SUFFIX: &str = ".hamesh-backup";

/// Why a backup was not made. The older ones are untouched.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Nobody set one.
    #[error("no passphrase is set: run `coordctl backup passphrase`")]
    NoPassphrase,
    /// The kept key is of no use.
    #[error("the key in the store does not open: set the passphrase anew")]
    Key,
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was to be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory.
    #[error("cannot write to {path}: {source}; is it there, and does it belong to `hamesh`?")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes backups when they are due. Runs for ever.
pub async fn run(core: Arc<Core>) {
    let mut told = None;
    loop {
        let problem = look(&core).await.err().map(|error| error.to_string());
        if problem != told
            && let Some(problem) = &problem
        {
            tracing::warn!(problem, "cannot note how the backups went");
        }
        told = problem;
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether one is due. A time that lies ahead is a clock's that was wrong.
pub fn due(record: &BackupsRecord, every: Duration, now_unix_ms: u64) -> bool {
    let passed = |since: u64, span: Duration| {
        now_unix_ms < since || now_unix_ms - since >= milliseconds(span)
    };
    let last = record.last.as_ref().map(|last| last.at_unix_ms);
    let failed = record.failed.as_ref().map(|failed| failed.at_unix_ms);
    last.is_none_or(|last| passed(last, every)) && failed.is_none_or(|at| passed(at, RETRY))
}

/// Whether the newest is older than it may ever be.
pub fn overdue(record: &BackupsRecord, every: Duration, now_unix_ms: u64) -> bool {
    let last = record.last.as_ref().map(|last| last.at_unix_ms);
    last.is_none_or(|last| now_unix_ms.saturating_sub(last) > milliseconds(every + every / 2))
}

/// Which of a directory's files are one too many, by their names, which sort by time.
pub fn surplus(mut names: Vec<String>, site: &str, keep: usize) -> Vec<String> {
    let prefix = format!("{site}-");
    let stamp = |name: &String| {
        let stamp = name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?;
        let mut digits = stamp.chars();
        (stamp.len() == 16 && digits.all(|c| c.is_ascii_digit() || "TZ".contains(c))).then_some(())
    };
    names.retain(|name| stamp(name).is_some());
    names.sort();
    names.truncate(names.len().saturating_sub(keep));
    names
}

async fn look(core: &Core) -> Result<(), CommitError> {
    let kept: Option<Kept<BackupsRecord>> = core.ledger.read(keys::BACKUPS).await?;
    let mut record = kept
        .as_ref()
        .map_or_else(Default::default, |kept| kept.value.clone());
    let wanted = core.world().desired.site.backups.clone();
    let now_unix_ms = core.clock.unix_ms();
    if let Some(wanted) = &wanted
        && due(&record, wanted.every, now_unix_ms)
    {
        let change = core.own_change();
        let change = match make(core, wanted).await {
            Ok(made) => {
                let text = format!("{} was written, {} bytes", made.file, made.bytes);
                record = BackupsRecord {
                    last: Some(made),
                    failed: None,
                };
                change.event(EventKind::BackupMade, None, text)
            }
            Err(error) => {
                core.metrics.backups.failures.inc();
                let problem = error.to_string();
                tracing::error!(problem, "the scheduled backup was not made");
                let before = record.failed.replace(FailedBackup {
                    at_unix_ms: now_unix_ms,
                    problem: problem.clone(),
                });
                match before.is_some_and(|before| before.problem == problem) {
                    true => change,
                    false => change.event(EventKind::BackupFailed, None, problem),
                }
            }
        };
        let change = change.put(keys::BACKUPS, kept.as_ref(), &record);
        core.ledger.commit(change).await?;
    }
    show(core, wanted.as_ref(), &record);
    Ok(())
}

fn show(core: &Core, wanted: Option<&Backups>, record: &BackupsRecord) {
    let metrics = &core.metrics.backups;
    let integer = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let last = record.last.as_ref();
    metrics
        .last
        .set(integer(last.map_or(0, |last| last.at_unix_ms / 1000)));
    metrics
        .bytes
        .set(integer(last.map_or(0, |last| last.bytes)));
    metrics
        .every
        .set(integer(wanted.map_or(0, |wanted| wanted.every.as_secs())));
}

async fn make(core: &Core, wanted: &Backups) -> Result<MadeBackup, ScheduleError> {
    let key = key(core).await?;
    let snapshot = Snapshot::take(core).await?;
    let at_unix_ms = snapshot.made_unix_ms;
    let site = core.site.to_string();
    let file = wanted
        .directory
        .join(format!("{site}-{}{SUFFIX}", stamp(at_unix_ms)));
    let bytes = snapshot.sealed(&key);
    let made = MadeBackup {
        at_unix_ms,
        coordinator: core.node.to_string(),
        file: file.display().to_string(),
        bytes: bytes.len() as u64,
    };
    let (directory, keep) = (wanted.directory.clone(), wanted.keep as usize);
    let wrote = tokio::task::spawn_blocking(move || write(&directory, &file, &bytes, &site, keep));
    let wrote = wrote
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
    wrote.map_err(|source| ScheduleError::Write {
        path: wanted.directory.clone(),
        source,
    })?;
    Ok(made)
}

async fn key(core: &Core) -> Result<BackupKey, ScheduleError> {
    let kept: Option<Kept<BackupKeyRecord>> = core.ledger.read(keys::BACKUP_KEY).await?;
    let record = kept.ok_or(ScheduleError::NoPassphrase)?.value;
    let sealed = STANDARD
        .decode(&record.sealed)
        .map_err(|_| ScheduleError::Key)?;
    let secret = core.seal.open(keys::BACKUP_KEY.as_bytes(), &sealed);
    let secret = secret.map_err(|_| ScheduleError::Key)?;
    let salt: [u8; 16] = hex::decode(&record.salt).ok_or(ScheduleError::Key)?;
    BackupKey::of_parts(&salt, record.iterations, &secret).map_err(|_| ScheduleError::Key)
}

/// Writes the new one, then removes the oldest.
fn write(directory: &Path, file: &Path, bytes: &[u8], site: &str, keep: usize) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    write_atomic(file, bytes, SECRET)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    for name in surplus(names, site, keep) {
        std::fs::remove_file(directory.join(name))?;
    }
    Ok(())
}

/// "20261122T184315Z"
fn stamp(unix_ms: u64) -> String {
    let milliseconds = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(milliseconds);
    let timestamp = timestamp.unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y%m%dT%H%M%SZ").to_string()
}
