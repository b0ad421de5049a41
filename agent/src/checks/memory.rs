//! What one run of the agent leaves for the next: which checks passed.
//!
//! Guarantees: believed only by the next run of the same boot, and only if it begins soon after.
//! It spares a restarted agent the time in which it would know nothing, and so would have to call
//! a node failed that serves well.

use std::io;
use std::path::{Path, PathBuf};

use hamesh_proto::files::{SECRET, write_atomic};
use serde::{Deserialize, Serialize};
use sysinfo::System;

use super::board::Memory;

/// How old a memory may be: a restart or an upgrade takes less.
const BELIEVED_S: u64 = 30;
/// How often it is written anew, though nothing changed, so that its age is that of the run.
pub const REFRESHED: std::time::Duration = std::time::Duration::from_secs(10);

/// Where it is kept: a file that a reboot takes away.
#[derive(Clone, Debug)]
pub struct MemoryFile(PathBuf);

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Seconds since boot.
    uptime_s: u64,
    checks: Memory,
}

impl MemoryFile {
    /// In the agent's runtime directory.
    pub fn within(runtime_dir: &Path) -> Self {
        Self(runtime_dir.join("checks.json"))
    }

    /// What the run before left; nothing where that is too old or cannot be read.
    pub fn read(&self) -> Memory {
        System::uptime().map_or_else(|_| Memory::new(), |now| self.read_at(now))
    }

    /// Leaves this for the next run.
    ///
    /// # Errors
    /// The system's own; the old memory is in place.
    pub fn write(&self, checks: &Memory) -> io::Result<()> {
        let now = System::uptime().map_err(io::Error::other)?;
        self.write_at(checks, now)
    }

    fn read_at(&self, uptime_s: u64) -> Memory {
        let kept = std::fs::read(&self.0).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        match kept {
            Some(kept) if kept.uptime_s <= uptime_s && uptime_s - kept.uptime_s <= BELIEVED_S => {
                kept.checks
            }
            Some(_) | None => Memory::new(),
        }
    }

    fn write_at(&self, checks: &Memory, uptime_s: u64) -> io::Result<()> {
        let kept = Kept {
            uptime_s,
            checks: checks.clone(),
        };
        let text = serde_json::to_vec(&kept).map_err(io::Error::other)?;
        write_atomic(&self.0, &text, SECRET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_believed_for_a_while_and_only_in_its_boot() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = MemoryFile::within(directory.path());
        assert_eq!(file.read_at(5), Memory::new());
        let claim = "vip/edge".parse().expect("a claim");
        let checks = [("tcp 127.0.0.1:443".to_owned(), true)].into();
        let memory = Memory::from([(claim, checks)]);
        file.write_at(&memory, 1000).expect("written");
        assert_eq!(file.read_at(1000), memory);
        assert_eq!(file.read_at(1030), memory);
        assert_eq!(file.read_at(1031), Memory::new(), "too old");
        assert_eq!(file.read_at(20), Memory::new(), "of an earlier boot");
        std::fs::write(directory.path().join("checks.json"), "{").expect("damaged");
        assert_eq!(file.read_at(1000), Memory::new());
    }
}
