//! Keeps the fence loaded: for the addresses that are claimed, beside the holder's thread.
//!
//! Guarantees that the list for the next boot is on disk before the rules of this one are loaded,
//! and that an address stays fenced for as long as this node has any part in its claim.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use hamesh_kernel::load::{Claimed, load};
use hamesh_proto::files::{SECRET, write_atomic};

use crate::held::describe;

/// The file below the state directory that the boot unit reads.
pub const CLAIMED_FILE: &str = "fence";

/// What is fenced.
#[derive(Debug)]
pub struct Fencing {
    file: PathBuf,
    /// The addresses that were fenced when the agent started: they may be configured or open
    /// somewhere yet.
    former: BTreeSet<IpAddr>,
    written: Option<Claimed>,
    wanted: Claimed,
}

impl Fencing {
    /// Reads what was fenced before.
    pub fn open(state_dir: &std::path::Path) -> Self {
        let file = state_dir.join(CLAIMED_FILE);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let former = text.parse::<Claimed>().unwrap_or_else(|error| {
            tracing::warn!(%error, "the list of fenced addresses is damaged: {error}");
            Claimed::default()
        });
        Self {
            written: (!text.is_empty()).then(|| former.clone()),
            former: former.addresses,
            file,
            wanted: Claimed::default(),
        }
    }

    /// The addresses that were fenced when the agent started.
    pub const fn former(&self) -> &BTreeSet<IpAddr> {
        &self.former
    }

    /// From now on this is claimed. Whether that is news.
    pub fn want(&mut self, claimed: Claimed) -> bool {
        let news = self.wanted != claimed;
        self.wanted = claimed;
        news
    }

    /// Whether there is anything to fence.
    pub fn is_needed(&self) -> bool {
        let written = self.written.as_ref();
        let database = written.is_some_and(|written| written.database);
        !self.wanted.is_empty() || !self.former.is_empty() || database
    }

    /// Writes the list, then loads what is missing of the rules. `None`: all is loaded.
    pub async fn load(&mut self) -> Option<String> {
        if self.written.as_ref() != Some(&self.wanted) {
            let text = self.wanted.to_string();
            let file = self.file.clone();
            let write = move || write_atomic(&file, text.as_bytes(), SECRET);
            match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => self.written = Some(self.wanted.clone()),
                // The rules of this boot matter more than those of the next.
                Ok(Err(error)) => tracing::error!(
                    %error,
                    "the list of fenced addresses cannot be written; a reboot would start \
                     without a fence: {error}"
                ),
                Err(panic) => return Some(format!("writing the list of addresses: {panic}")),
            }
        }
        let addresses = self.wanted.addresses.union(&self.former).copied();
        let claimed = Claimed {
            addresses: addresses.collect(),
            database: self.wanted.database,
        };
        match tokio::task::spawn_blocking(move || load(&claimed)).await {
            Ok(Ok(fenced)) => {
                if !fenced.left_out.is_empty() {
                    let left_out = fenced.left_out.join(" ");
                    tracing::error!(
                        left_out,
                        "these interfaces cannot be fenced against packet sockets: {left_out}"
                    );
                }
                None
            }
            Ok(Err(error)) => Some(describe(&error)),
            Err(panic) => Some(format!("loading the fence: {panic}")),
        }
    }
}
