//! Loads the rules of the fence with `nft`: at boot, at the agent's start, when interfaces change,
//! and when someone flushed them. Never on the holder's path: starting a program takes its time.
//!
//! Guarantees that the part that depends on no interface is loaded even if the other cannot be,
//! and that each part is one transaction: the fence is never half written, and live elements stay.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::str::FromStr;

use thiserror::Error;

use crate::database::{self, DatabaseFence};
use crate::fence::{Fence, FenceError};
use crate::interfaces::Fenced;
use crate::nf::Family;
use crate::rtnl::{Rtnl, RtnlError};
use crate::ruleset::{Desired, Part, TABLE};

/// Where Debian has it.
const NFT: &str = "/usr/sbin/nft";
/// Below this the agent keeps the list of claimed addresses for the next boot.
pub const CLAIMED_FILE: &str = "/var/lib/hamesh-agent/fence";

/// The unit that closes the fence before any interface comes up. After the distribution's own
/// firewall unit, since that begins by flushing all tables.
pub const BOOT_UNIT: &str =
    include_str!("../../../packaging/debian/hamesh-agent.hamesh-fence.service");

/// Why the fence is not loaded, or not all of it.
#[derive(Debug, Error)]
pub enum LoadError {
    /// `nft` could not be started or written to. Nothing was changed.
    #[error("cannot run {NFT}; nothing was changed; is the package nftables installed?")]
    Run(#[source] io::Error),
    /// `nft` refused the text. Nothing of this transaction was changed.
    #[error("{NFT} refused {what}; nothing of it was changed: {said}")]
    Refused {
        /// Which part.
        what: &'static str,
        /// Its own words.
        said: String,
    },
    /// The interfaces could not be listed; the tables without them are loaded.
    #[error("the fence is loaded, but not at the interfaces")]
    Interfaces(#[from] RtnlError),
    /// The kernel could not be asked what is loaded.
    #[error("cannot see what is loaded")]
    Observe(#[from] FenceError),
}

/// What is claimed, one on a line: what the boot unit reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether leading the databases is.
    pub database: bool,
}

/// The line that says so.
const DATABASE: &str = "database";

impl Claimed {
    /// These addresses, and no database.
    pub fn of(addresses: BTreeSet<IpAddr>) -> Self {
        Self {
            addresses,
            database: false,
        }
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.database
    }

    /// How many claims' fences there are.
    pub fn len(&self) -> usize {
        self.addresses.len() + usize::from(self.database)
    }
}

/// A line that is no address.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: `{text}` is no IP address; the agent writes this file, let it do so again")]
pub struct ClaimedError {
    /// Counted from one.
    pub line: usize,
    /// The line as it stands.
    pub text: String,
}

impl FromStr for Claimed {
    type Err = ClaimedError;

    fn from_str(text: &str) -> Result<Self, ClaimedError> {
        let lines = text.lines().enumerate().map(|(n, l)| (n + 1, l.trim()));
        let lines = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
        let mut claimed = Self::default();
        for (line, text) in lines {
            if text == DATABASE {
                claimed.database = true;
                continue;
            }
            let address = text.parse().map_err(|_| ClaimedError {
                line,
                text: text.into(),
            });
            claimed.addresses.insert(address?);
        }
        Ok(claimed)
    }
}

impl std::fmt::Display for Claimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "# Written by hamesh-agent: what is fenced at boot.")?;
        if self.database {
            writeln!(f, "{DATABASE}")?;
        }
        self.addresses
            .iter()
            .try_for_each(|address| writeln!(f, "{address}"))
    }
}

/// Loads the fence for what is claimed: first what needs no interface, then at the interfaces that
/// there are. Live elements stay as they are, so that a fresh one is closed.
///
/// Reports which interfaces are fenced; errors of the second part leave the first one loaded.
pub fn load(claimed: &Claimed) -> Result<Fenced, LoadError> {
    mend_database(claimed.database)?;
    let mut fence = Fence::open()?;
    let mut desired = Desired {
        addresses: claimed.addresses.clone(),
        devices: BTreeSet::new(),
    };
    mend(&mut fence, &desired, Part::Host)?;
    let fenced = Rtnl::open()?.interfaces()?.fenced(&claimed.addresses);
    desired.devices.clone_from(&fenced.devices);
    mend(&mut fence, &desired, Part::Interfaces)?;
    Ok(fenced)
}

/// Loads one part again if anything is wrong with it.
fn mend(fence: &mut Fence, desired: &Desired, part: Part) -> Result<(), LoadError> {
    let observed = fence.observe()?;
    if !desired.damage(&observed).iter().any(|d| d.part() == part) {
        return Ok(());
    }
    let what = match part {
        Part::Host => "the tables without interfaces",
        Part::Interfaces => "the chains at the interfaces",
    };
    nft(&["--file", "-"], &desired.text(part, &observed), what)
}

/// Loads the table of the databases again if anything is wrong with it, or takes it away where
/// nothing is claimed any more.
fn mend_database(claimed: bool) -> Result<(), LoadError> {
    let what = "the table of the databases";
    let there = DatabaseFence::open()?.chains()?;
    match claimed {
        false if there.is_empty() => Ok(()),
        false => nft(&["--file", "-"], &database::removal(), what),
        true => {
            let has_user = database::has_user();
            if there == database::expected(has_user) {
                return Ok(());
            }
            nft(&["--file", "-"], &database::text(has_user), what)
        }
    }
}

/// Takes the whole fence away. Whoever asks for that has made sure that no claimed address is
/// configured here any more.
pub fn unload() -> Result<(), LoadError> {
    let delete = |family: Family| {
        // Declared first: deleting a table that is not there would be an error.
        format!("table {family} {TABLE}\ndelete table {family} {TABLE}\n")
    };
    let text: String = Family::ALL.into_iter().map(delete).collect();
    let text = text + &database::removal();
    nft(&["--file", "-"], &text, "the removal of its tables")
}

/// Has `nft` check a text without loading it.
pub fn check(text: &str) -> Result<(), LoadError> {
    nft(&["--check", "--file", "-"], text, "the text")
}

fn nft(arguments: &[&str], text: &str, what: &'static str) -> Result<(), LoadError> {
    let mut child = Command::new(NFT)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LoadError::Run)?;
    let mut input = child.stdin.take().expect("it is piped");
    // A refusal may close the pipe first: what nft says is worth more than that.
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(LoadError::Run)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(LoadError::Refused { what, said });
    }
    written.map_err(LoadError::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_for_the_next_boot_reads_back_as_it_was() {
        let addresses = ["10.0.0.1", "fd00::1"].map(|a| a.parse().unwrap());
        let mut claimed = Claimed::of(addresses.into());
        assert_eq!(claimed.to_string().parse(), Ok(claimed.clone()));
        claimed.database = true;
        assert_eq!(claimed.to_string().parse(), Ok(claimed));
    }

    #[test]
    fn a_line_that_is_no_address_is_named() {
        let error = "10.0.0.1\n\nnonsense\n".parse::<Claimed>().unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (3, "nonsense"));
    }
}
