//! Tables of nftables: loaded whole, and taken back by themselves unless a way out was seen.
//!
//! ```text
//! nft -c --> arm a timer that undoes it --> load --> a fresh connection to a lifeline
//!                                                      | yes               | no
//!                                          stop the timer, keep it     undo at once
//!                                          for the next boot
//! ```
//! Guarantees: a table that cuts the node off from every coordinator is undone within
//! [`CONFIRMED`], also if this process is killed, or the machine loses its power, in between: the
//! timer is systemd's, and what the next boot loads is written last. Nothing is loaded if no
//! lifeline answers before it: then nobody could tell.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_roles::engine::{Digest, Seen, State, Table};
use tokio::time::{Instant, sleep, timeout};

use super::files::remove as remove_file;
use super::{directories, files};
use crate::apply::program::{self, Ran};
use crate::apply::store::{LoadedTable, Store};
use crate::apply::trouble::Trouble;
use crate::checks::tcp;

/// How long a new table may take to be confirmed before systemd undoes it.
pub const CONFIRMED: Duration = Duration::from_secs(30);
/// For how long a connection is tried after a change: well within [`CONFIRMED`].
const TRIED: Duration = Duration::from_secs(10);
/// How long one connection may take.
const CONNECTED: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
/// How long nft may take: the kernel is asked once.
const NFT: Duration = Duration::from_secs(20);
/// The transient timer and service that undo a table.
const REVERT: &str = "hamesh-firewall-revert";
const TIMER: &str = "hamesh-firewall-revert.timer";

/// Who undoes a table that was not confirmed, should this process not live to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadman {
    /// A transient timer of systemd.
    Timer,
    /// Nobody: for tests, where no systemd is.
    Nobody,
}

/// The kernel's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Where notes are kept.
    pub store: Store,
    /// Who undoes what was not confirmed.
    pub deadman: Deadman,
}

impl Tables {
    /// How a table is now.
    pub async fn look(&self, table: &Table) -> Seen {
        let at_boot = match fs::read_to_string(&table.path) {
            Ok(text) => Some(at_boot(table, &text)),
            Err(error) => match files::absent_or_unknown(&error) {
                Seen::Absent => None,
                unknown => return unknown,
            },
        };
        let listing = match self.listing(table).await {
            Ok(listing) => listing.map(Digest::of),
            Err(trouble) => return Seen::Unknown(trouble.problem),
        };
        let notes = match self.store.tables() {
            Ok(notes) => notes,
            Err(error) => return Seen::Unknown(crate::held::describe(&error)),
        };
        if listing.is_none() && at_boot.is_none() {
            return Seen::Absent;
        }
        let note = notes.get(&name(table));
        let as_loaded = note.filter(|note| Some(&note.listing) == listing.as_ref());
        Seen::Present(State::Table {
            rules: as_loaded.map(|note| note.rules.clone()),
            at_boot,
        })
    }

    /// Loads it, and keeps it if one of `lifelines` is still reached; or if that was seen of these
    /// very rules before.
    ///
    /// # Errors
    /// [`Trouble`]; the table is as it was before, or is within [`CONFIRMED`].
    pub async fn make(&self, table: &Table, lifelines: &[SocketAddr]) -> Result<(), Trouble> {
        self.undo_unconfirmed().await?;
        let new = self.script(table, &script(table, &table.rules))?;
        nft(&["-c", "-f", &new.path()]).await?;
        if self.confirmed(table)? {
            // It may be for want of this very table that nobody is reached.
            nft(&["-f", &new.path()]).await?;
            return self.keep(table).await;
        }
        if !reached(lifelines, CONNECTED).await {
            let problem = format!(
                "{} is not loaded: no coordinator can be reached before it ({}), so nobody could \
                 tell whether one can after it",
                name(table),
                told(lifelines)
            );
            return Err(Trouble::plain(problem));
        }
        self.arm(table).await?;
        if let Err(trouble) = nft(&["-f", &new.path()]).await {
            // The kernel took nothing of it.
            self.disarm().await?;
            return Err(trouble);
        }
        if !reached(lifelines, TRIED).await {
            self.undo_unconfirmed().await?;
            let problem = format!(
                "{} was undone: with it no coordinator was reached within {TRIED:?} ({})",
                name(table),
                told(lifelines)
            );
            return Err(Trouble::plain(problem));
        }
        if !self.armed().await? {
            let problem = format!("{} was undone: confirming it took too long", name(table));
            self.undo_unconfirmed().await?;
            return Err(Trouble::plain(problem));
        }
        self.disarm().await?;
        self.keep(table).await
    }

    /// Whether these very rules were confirmed on this machine, and somebody else changed what the
    /// kernel has.
    fn confirmed(&self, table: &Table) -> Result<bool, Trouble> {
        let notes = self.store.tables();
        let notes = notes.map_err(|error| Trouble::of(name(table), &error))?;
        let note = notes.get(&name(table));
        Ok(note.is_some_and(|note| note.rules == Digest::of(&table.rules)))
    }

    /// Takes it away, now and for the next boot.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn remove(&self, table: &Table) -> Result<(), Trouble> {
        self.undo_unconfirmed().await?;
        let none = self.script(table, &script(table, ""))?;
        nft(&["-f", &none.path()]).await?;
        remove_file(Path::new(&table.path))?;
        let forgotten = self.store.note_table(&name(table), None);
        forgotten.map_err(|error| Trouble::of(name(table), &error))
    }

    /// Undoes a table that was loaded and not confirmed, if there is one. The file that says how
    /// is there exactly as long as that is open.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn undo_unconfirmed(&self) -> Result<(), Trouble> {
        let script = self.store.revert();
        if script.exists() {
            nft(&["-f", &script.to_string_lossy()]).await?;
        }
        self.disarm().await
    }

    /// Has the table as it is now put back in a while, whatever becomes of this process.
    async fn arm(&self, table: &Table) -> Result<(), Trouble> {
        let argv = ["nft", "list", "table", &table.family, &table.name];
        let listed = program::run(&argv, Some(NFT)).await?;
        let before = absent_or(listed)?.unwrap_or_default();
        let path = self.store.revert();
        let text = script(table, &before);
        let written = write_atomic(&path, text.as_bytes(), SECRET);
        written.map_err(|error| Trouble::of(path.display(), &error))?;
        match self.deadman {
            Deadman::Nobody => Ok(()),
            Deadman::Timer => {
                let path = path.to_string_lossy();
                let after = format!("--on-active={}s", CONFIRMED.as_secs());
                let unit = format!("--unit={REVERT}");
                let (collect, exact) = ("--collect", "--timer-property=AccuracySec=100ms");
                let nft = ["/usr/sbin/nft", "-f", &path];
                let mut argv = vec!["systemd-run", "--quiet", collect, exact, &after, &unit];
                argv.extend(nft);
                let ran = program::run(&argv, Some(NFT)).await?;
                ran.well("systemd-run").map(drop)
            }
        }
    }

    /// Whether the table would still be undone: a machine that stood still may be too late.
    async fn armed(&self) -> Result<bool, Trouble> {
        match self.deadman {
            Deadman::Nobody => Ok(true),
            Deadman::Timer => {
                let argv = ["systemctl", "is-active", "--quiet", TIMER];
                Ok(program::run(&argv, Some(NFT)).await?.status.success())
            }
        }
    }

    /// The table stays: nothing undoes it any more.
    async fn disarm(&self) -> Result<(), Trouble> {
        if self.deadman == Deadman::Timer && self.store.revert().exists() {
            let argv = ["systemctl", "stop", "--quiet", TIMER];
            // One that is not there, or has run, is stopped: systemctl says so by an error.
            program::run(&argv, Some(NFT)).await?;
            if self.armed().await? {
                return Err(Trouble::plain(format!("{TIMER} cannot be stopped")));
            }
        }
        remove_file(&self.store.revert())
    }

    /// Notes what the kernel made of it, and keeps it for the next boot.
    async fn keep(&self, table: &Table) -> Result<(), Trouble> {
        let gone = || Trouble::plain(format!("{} was loaded and is gone again", name(table)));
        let listing = self.listing(table).await?.ok_or_else(gone)?;
        let note = LoadedTable {
            rules: Digest::of(&table.rules),
            listing: Digest::of(listing),
        };
        let noted = self.store.note_table(&name(table), Some(note));
        noted.map_err(|error| Trouble::of(name(table), &error))?;
        let path = Path::new(&table.path);
        directories::make_above(path)?;
        let text = script(table, &table.rules);
        let written = write_atomic(path, text.as_bytes(), 0o644);
        written.map_err(|error| Trouble::of(path.display(), &error))
    }

    /// The table as the kernel has it, without counters; `None`: it has none.
    async fn listing(&self, table: &Table) -> Result<Option<String>, Trouble> {
        let argv = [
            "nft",
            "--stateless",
            "list",
            "table",
            &table.family,
            &table.name,
        ];
        absent_or(program::run(&argv, Some(NFT)).await?)
    }

    fn script(&self, table: &Table, text: &str) -> Result<Script, Trouble> {
        let file = format!("{}.{}.nft", table.family, table.name);
        let path = self.store.revert().with_file_name(file);
        let written = write_atomic(&path, text.as_bytes(), SECRET);
        written.map_err(|error: io::Error| Trouble::of(path.display(), &error))?;
        Ok(Script(path))
    }
}

/// A file for nft; gone when it is dropped.
struct Script(PathBuf);

impl Script {
    fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn name(table: &Table) -> String {
    format!("{} {}", table.family, table.name)
}

fn told(lifelines: &[SocketAddr]) -> String {
    let texts: Vec<String> = lifelines.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// In one transaction: whatever there is of the table goes, and these rules come.
fn script(table: &Table, rules: &str) -> String {
    format!("{}{rules}", begins(table))
}

fn begins(table: &Table) -> String {
    let name = name(table);
    format!(
        "# Generated by hamesh; changes are put back.\ntable {name} {{}}\ndelete table {name}\n"
    )
}

/// Names the rules that the next boot loads.
fn at_boot(table: &Table, text: &str) -> Digest {
    Digest::of(text.strip_prefix(&begins(table)).unwrap_or(text))
}

async fn nft(arguments: &[&str]) -> Result<Ran, Trouble> {
    let argv: Vec<&str> = ["nft"].iter().chain(arguments).copied().collect();
    program::run(&argv, Some(NFT)).await?.well("nft")
}

fn absent_or(listed: Ran) -> Result<Option<String>, Trouble> {
    if !listed.status.success() && listed.stderr.contains("No such file or directory") {
        return Ok(None);
    }
    listed.well("nft list").map(|ran| Some(ran.stdout))
}

/// Whether a connection that begins now comes about with one of them.
async fn reached(lifelines: &[SocketAddr], within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        let mut tries = tokio::task::JoinSet::new();
        for address in lifelines {
            tries.spawn(timeout(CONNECTED, tcp::probe(*address)));
        }
        while let Some(tried) = tries.join_next().await {
            if matches!(tried, Ok(Ok(Ok(())))) {
                return true;
            }
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
