//! What lives as long as the machine runs, under `/run/hamesh-agent` (a memory file system).
//!
//! | path | holds |
//! |---|---|
//! | `claims/vip_NAME.json` | what a member gave its word for, in this boot |
//! | `break-glass/vip_NAME` | a claim that a human opened here |
//! | `checks.json` | which checks passed ([`crate::checks::memory`]) |
//! | `life` | a number of this machine's life, from one boot to the next |
//! | `database-lease` | until when this node leads the databases, for its programs |
//! | `session-key.json` | the key with the coordinator: the next run of the agent goes on with it |
//!
//! Guarantees: a file is its old or its new version, and new when a write returned `Ok`. Nothing
//! is synced: after a reboot all of it must be gone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hamesh_claims::Moment;
use hamesh_claims::member::RunMemory;
use hamesh_proto::ids::ClaimId;
use hamesh_proto::{hex, random};

use super::keys::StoredKeys;

const DATABASE_LEASE: &str = "database-lease";

/// The runtime directory.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Opens it, making what is missing (0700).
    ///
    /// # Errors
    /// The system's own.
    pub fn open(path: &Path) -> io::Result<Self> {
        for path in [path.join("claims"), path.join("break-glass")] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path)?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps what a member must remember.
    ///
    /// # Errors
    /// The system's own; the old memory is in place.
    pub fn remember(&self, claim: &ClaimId, memory: &RunMemory) -> io::Result<()> {
        let text = serde_json::to_vec(memory).map_err(io::Error::other)?;
        self.write(&format!("claims/{}.json", file_name(claim)), &text)
    }

    /// What a member remembered; `None` where that cannot be read: it then waits.
    pub fn recall(&self, claim: &ClaimId) -> Option<RunMemory> {
        let path = format!("claims/{}.json", file_name(claim));
        let text = fs::read(self.0.join(path)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The claims that a human opened here.
    pub fn opened_by_hand(&self) -> BTreeSet<ClaimId> {
        let Ok(entries) = fs::read_dir(self.0.join("break-glass")) else {
            return BTreeSet::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| claim(&name)).collect()
    }

    /// Notes that a human opened a claim, or closed it again. Whether that is news.
    ///
    /// # Errors
    /// The system's own; nothing was changed.
    pub fn set_opened_by_hand(&self, claim: &ClaimId, open: bool) -> io::Result<bool> {
        let name = format!("break-glass/{}", file_name(claim));
        let there = self.opened_by_hand().contains(claim);
        if open {
            self.write(&name, b"")?;
        } else if there {
            fs::remove_file(self.0.join(name))?;
        }
        Ok(there != open)
    }

    /// Keeps the key of the session for the next run.
    ///
    /// # Errors
    /// The system's own.
    pub fn keep_session_key(&self, keys: &StoredKeys) -> io::Result<()> {
        let text = serde_json::to_vec(keys).map_err(io::Error::other)?;
        self.write("session-key.json", &text)
    }

    /// The keys of the last run's sessions.
    pub fn session_keys(&self) -> StoredKeys {
        let text = fs::read(self.0.join("session-key.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Tells programs until when this node leads the databases: nanoseconds of the monotonic clock.
    ///
    /// # Errors
    /// The system's own; what was told before is told yet.
    pub fn lead_until(&self, until: Moment) -> io::Result<()> {
        let text = format!("{}\n", until.nanos());
        // Patroni runs as another user, and there is no secret in it.
        self.write_for(0o644, DATABASE_LEASE, text.as_bytes())
    }

    /// What was told last in this boot; `None`: this node never led in it.
    pub fn leads_until(&self) -> Option<Moment> {
        let text = fs::read_to_string(self.0.join(DATABASE_LEASE)).ok()?;
        Some(Moment::from_nanos(text.trim().parse().unwrap_or_default()))
    }

    /// A number of this machine's life since it booted: drawn once, and in no copy of its disk.
    pub fn life(&self) -> String {
        let known = fs::read_to_string(self.0.join("life")).unwrap_or_default();
        if !known.is_empty() {
            return known;
        }
        let drawn = hex::encode(&random::bytes::<8>());
        if let Err(error) = self.write("life", drawn.as_bytes()) {
            tracing::warn!(%error, "the number of this life cannot be kept: {error}");
        }
        drawn
    }

    fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        self.write_for(0o600, name, text)
    }

    fn write_for(&self, mode: u32, name: &str, text: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        let fresh = self.0.join(format!("{name}.new"));
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(text)?;
        if mode != 0o600 {
            // Beyond what the umask leaves of a mode at creation.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        fs::rename(&fresh, &path)
    }
}

/// A label holds no underscore, so that this can be read back.
fn file_name(claim: &ClaimId) -> String {
    claim.as_str().replace('/', "_")
}

fn claim(file_name: &str) -> Option<ClaimId> {
    file_name.replacen('_', "/", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_by_hand_is_found_until_it_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(directory.path()).expect("made");
        let claim: ClaimId = "vip/edge-2".parse().expect("a claim");
        assert!(run.set_opened_by_hand(&claim, true).expect("written"));
        assert!(!run.set_opened_by_hand(&claim, true).expect("written"));
        assert_eq!(run.opened_by_hand(), [claim.clone()].into());
        assert!(run.set_opened_by_hand(&claim, false).expect("removed"));
        assert!(!run.set_opened_by_hand(&claim, false).expect("removed"));
        assert_eq!(run.opened_by_hand(), BTreeSet::new());
    }

    #[test]
    fn a_life_has_one_number_and_another_machine_has_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(directory.path()).expect("made");
        let other = RunDir::open(&directory.path().join("other")).expect("made");
        assert_eq!(run.life(), run.life());
        assert_ne!(run.life(), other.life());
    }

    #[test]
    fn a_damaged_memory_is_no_memory() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(directory.path()).expect("made");
        let claim: ClaimId = "vip/edge".parse().expect("a claim");
        fs::write(directory.path().join("claims/vip_edge.json"), "{").expect("written");
        assert_eq!(run.recall(&claim), None);
    }
}
