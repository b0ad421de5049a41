//! What a human does to claims on the node itself, with the agent running or not, and without any
//! coordinator: break glass, and the fence's loading and removal.
//!
//! Guarantees: what is opened by hand is noted in `/run` before it is opened, so that the agent
//! neither closes it nor asks for it; and it is said aloud, in the journal and by the agent.
//!
//! Everything here blocks; it runs in a process of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hamesh_kernel::database::DatabaseFence;
use hamesh_kernel::fence::{Fence, Written};
use hamesh_kernel::load::{Claimed, load, unload};
use hamesh_kernel::rtnl::Rtnl;
use hamesh_kernel::vips::Vips;
use hamesh_proto::ids::ClaimId;

use super::fencing::CLAIMED_FILE;
use super::holder::BREAK_GLASS_FOR;
use super::run_dir::RunDir;
use crate::assignment::{Assignment, Claim};
use crate::state::{StateDir, StateError};

/// How long a claim that was just opened is announced from here; the agent goes on if it runs.
const ANNOUNCED_FOR: Duration = Duration::from_millis(1100);
/// Where systemd's journal listens, see systemd.journal-fields(7) and its native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Why a claim is not opened without a word of assurance.
pub const DANGER: &str = "\
nothing was changed. Break glass answers to no lease: if another node holds the claim, both answer \
for its addresses, connections break at random, and data behind them can be damaged. Make sure \
that no other node holds it (`coordctl explain CLAIM`, `ip addr` on each member, or power them \
off), then say so with --i-made-sure-that-no-other-node-holds-it";

/// Opens a claim on this node.
///
/// # Errors
/// For people.
pub fn open(state: &StateDir, run: &RunDir, claim: &ClaimId) -> Result<()> {
    let assignment = state.assignment()?;
    let known = known(assignment.as_ref(), claim)?;
    run.set_opened_by_hand(claim, true)
        .context("cannot note it below /run; nothing was changed")?;
    say_aloud(
        claim,
        "BREAK GLASS: opened by hand on this node, answering to nobody",
    );
    let fenced = load(&claimed(state, assignment.as_ref()));
    if let Err(error) = fenced {
        eprintln!("the fence cannot be loaded ({error}): going on without it");
        return open_unfenced(&known.addresses);
    }
    let deadline = Instant::now() + BREAK_GLASS_FOR;
    if claim.is_database() {
        return opened_until(DatabaseFence::open()?.take(deadline)?);
    }
    let mut vips = Vips::open()?;
    opened_until(vips.take(&known.addresses, deadline)?)?;
    let until = Instant::now() + ANNOUNCED_FOR;
    while let Some(due) = vips.announcement_due().filter(|due| *due < until) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        vips.announce(Instant::now())?;
    }
    Ok(())
}

fn opened_until(written: Written) -> Result<()> {
    match written {
        Written::Live => Ok(()),
        Written::Lapsed | Written::TooLate => bail!("the kernel closed the fence at once"),
    }
}

/// Closes what was opened by hand. False: it was not.
///
/// # Errors
/// For people.
pub fn close(state: &StateDir, run: &RunDir, claim: &ClaimId) -> Result<bool> {
    let news = run
        .set_opened_by_hand(claim, false)
        .context("cannot note it below /run; nothing was changed")?;
    if news {
        let assignment = state.assignment()?;
        let known = known(assignment.as_ref(), claim)?;
        match claim.is_database() {
            true => DatabaseFence::open()?.close()?,
            false => Vips::open()?.give_back(&known.addresses)?,
        }
        say_aloud(claim, "break glass is over: closed again by hand");
    }
    Ok(news)
}

/// The claims that were opened by hand here.
pub fn opened(run: &RunDir) -> BTreeSet<ClaimId> {
    run.opened_by_hand()
}

/// Loads the fence for the addresses that are on disk: at boot, before any interface is up.
///
/// # Errors
/// For people.
pub fn load_fence(state_dir: &Path) -> Result<usize> {
    let claimed = listed(state_dir)?;
    load(&claimed)?;
    Ok(claimed.len())
}

/// Takes every claimed address and the fence away: the agent is being removed.
///
/// # Errors
/// For people. The fence stays for as long as an address could not be removed.
pub fn clear_fence(state: &StateDir) -> Result<()> {
    let _lock = match state.lock() {
        Err(StateError::Locked { .. }) => bail!(
            "the agent is running; nothing was changed. Stop it first: systemctl stop hamesh-agent"
        ),
        locked => locked?,
    };
    let claimed = listed(state.path())?;
    if claimed.is_empty() {
        return Ok(());
    }
    let mut rtnl = Rtnl::open()?;
    let addresses: Vec<IpAddr> = claimed.addresses.into_iter().collect();
    // Not loaded is as good as closed, once the addresses are gone.
    let closed = Fence::open().and_then(|mut fence| fence.close(&addresses));
    for ip in &addresses {
        let there: Vec<_> = rtnl.interfaces()?.carrying(*ip).copied().collect();
        for address in there {
            rtnl.remove(address)?;
        }
    }
    if let Err(error) = closed {
        tracing::debug!(%error, "the fence was not there to be closed");
    }
    Ok(unload()?)
}

/// The last resort: nothing fences the addresses, and nothing closes them but a human.
fn open_unfenced(addresses: &[IpAddr]) -> Result<()> {
    let mut rtnl = Rtnl::open()?;
    let interfaces = rtnl.interfaces()?;
    for ip in addresses {
        let (index, _) = interfaces
            .home(*ip)
            .with_context(|| format!("no interface of this node is in the network of {ip}"))?;
        rtnl.add(*ip, index)?;
    }
    Ok(())
}

fn known<'a>(assignment: Option<&'a Assignment>, claim: &ClaimId) -> Result<&'a Claim> {
    let assignment = assignment
        .context("this node has no assignment yet, so it has no claims; nothing was changed")?;
    let found = assignment.claims.iter().find(|known| known.id == *claim);
    let known: Vec<&str> = assignment.claims.iter().map(|c| c.id.as_str()).collect();
    found.with_context(|| {
        let known = known.join(" ");
        format!("this node has no part in {claim}, but in: {known}; nothing was changed")
    })
}

fn claimed(state: &StateDir, assignment: Option<&Assignment>) -> Claimed {
    let mut claimed = listed(state.path()).unwrap_or_default();
    for claim in assignment.iter().flat_map(|assignment| &assignment.claims) {
        claimed.database |= claim.id.is_database();
        claimed.addresses.extend(&claim.addresses);
    }
    claimed
}

fn listed(state_dir: &Path) -> Result<Claimed> {
    let path = state_dir.join(CLAIMED_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claimed::default()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    text.parse()
        .with_context(|| format!("{} is damaged", path.display()))
}

/// Into the journal at the level of an error, whether the agent runs or not.
fn say_aloud(claim: &ClaimId, what: &str) {
    let line = format!("{claim}: {what}");
    eprintln!("{line}");
    let entry =
        format!("PRIORITY=3\nSYSLOG_IDENTIFIER=hamesh-agent\nCLAIM={claim}\nMESSAGE={line}\n");
    let said = UnixDatagram::unbound().and_then(|s| s.send_to(entry.as_bytes(), JOURNAL));
    if let Err(error) = said {
        eprintln!("the journal could not be told ({error})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_part_in_the_claim_opens_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("made");
        let run = RunDir::open(&directory.path().join("run")).expect("made");
        let claim: ClaimId = "vip/edge".parse().expect("a claim");
        let error = open(&state, &run, &claim).expect_err("refused");
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        assert_eq!(opened(&run), BTreeSet::new());
    }

    #[test]
    fn nothing_is_to_be_fenced_before_the_first_claim_and_a_damaged_list_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(listed(directory.path()).expect("empty"), Claimed::default());
        std::fs::write(directory.path().join(CLAIMED_FILE), "nonsense").expect("written");
        let error = listed(directory.path()).expect_err("damaged");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
