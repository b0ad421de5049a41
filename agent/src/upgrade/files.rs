//! The notes between the agent and the unit that upgrades, in the agent's state directory.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `upgrade-order.json` | the agent | do this; `hamesh-upgrade.path` waits for it |
//! | `upgrade-running.json` | the unit, by renaming | this is being done |
//! | `upgrade-result.json` | the unit | this came of it |
//!
//! Guarantees: the order is out of the way before anything is done, so that nothing does it twice;
//! the result is there before the note of what is being done goes. That note is locked by the unit:
//! one that a power cut left behind is not taken for something that goes on.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

use hamesh_proto::v1;
use hamesh_proto::version::PackageVersion;
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError};

const ORDER: &str = "upgrade-order.json";
const RUNNING: &str = "upgrade-running.json";
const RESULT: &str = "upgrade-result.json";

/// The most digits of an order's name.
const LONGEST_ID: usize = 64;
/// The most lines of an outcome, and the most characters of each: one message takes them all.
pub(super) const LINES: usize = 20;
const LINE: usize = 400;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names it.
    pub id: String,
    /// The version that the packages are to have.
    pub version: String,
}

/// Held while an order is carried out.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order's name.
    pub id: String,
    /// Why it was not done, in one line.
    pub problem: Option<String>,
    /// The last lines of whatever failed.
    pub said: Vec<String>,
}

impl TryFrom<v1::UpgradeOrder> for Order {
    /// The order's name, and what is wrong with it.
    type Error = (String, String);

    fn try_from(wire: v1::UpgradeOrder) -> Result<Self, Self::Error> {
        let v1::UpgradeOrder { order: id, version } = wire;
        let digits = id.bytes().all(|c| c.is_ascii_hexdigit());
        if id.is_empty() || id.len() > LONGEST_ID || !digits {
            let id = id.chars().take(LONGEST_ID).collect();
            return Err((id, "the order has no name".to_owned()));
        }
        match version.parse::<PackageVersion>() {
            Ok(version) => {
                let version = version.to_string();
                Ok(Self { id, version })
            }
            Err(error) => Err((id, error.to_string())),
        }
    }
}

impl From<Outcome> for v1::UpgradeOutcome {
    fn from(outcome: Outcome) -> Self {
        let clipped = |line: String| line.chars().take(LINE).collect();
        Self {
            order: outcome.id,
            problem: outcome.problem.map(clipped).unwrap_or_default(),
            said: outcome.said.into_iter().take(LINES).map(clipped).collect(),
        }
    }
}

/// Writes an order down, unless it was already, whatever became of it; `true`: it is new.
///
/// # Errors
/// [`StateError::Write`].
pub fn keep(state: &StateDir, order: &Order) -> Result<bool, StateError> {
    let known = [read(state, ORDER), read(state, RUNNING)];
    let mut known = known.into_iter().flatten().map(|known: Order| known.id);
    let done = outcome(state).is_some_and(|done| done.id == order.id);
    if done || known.any(|id| id == order.id) {
        return Ok(false);
    }
    state.write(ORDER, order)?;
    Ok(true)
}

/// What became of the newest order that ended.
pub fn outcome(state: &StateDir) -> Option<Outcome> {
    read(state, RESULT)
}

/// Whether an order waits for the unit.
pub fn waits(state: &StateDir) -> bool {
    path(state, ORDER).exists()
}

/// Whether an order is being carried out.
pub fn under_way(state: &StateDir) -> bool {
    let Ok(note) = File::open(path(state, RUNNING)) else {
        return false;
    };
    match note.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        Ok(()) | Err(TryLockError::Error(_)) => false,
    }
}

/// Takes the order out of the way; `None`: there is none. It is being carried out until the lock
/// is dropped.
///
/// # Errors
/// The system's own, and what is no order: that one is gone then, too.
pub fn begin(state: &StateDir) -> io::Result<Option<(Order, Lock)>> {
    let (order, running) = (path(state, ORDER), path(state, RUNNING));
    match fs::rename(&order, &running) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let note = File::open(&running)?;
    // The agent may just be looking, for an instant.
    note.lock()?;
    match state.read(RUNNING) {
        Ok(order) => Ok(order.map(|order| (order, Lock(note)))),
        Err(error) => {
            fs::remove_file(&running)?;
            Err(io::Error::other(error))
        }
    }
}

/// Writes down what came of it.
///
/// # Errors
/// [`StateError::Write`]; the note of what is being done stays then.
pub fn end(state: &StateDir, outcome: &Outcome) -> Result<(), StateError> {
    state.write(RESULT, outcome)?;
    let path = path(state, RUNNING);
    fs::remove_file(&path).map_err(|source| StateError::Write { path, source })
}

fn path(state: &StateDir, name: &str) -> PathBuf {
    state.path().join(name)
}

/// A note that cannot be read says nothing: the coordinator's patience ends, and it orders anew.
fn read<T: serde::de::DeserializeOwned>(state: &StateDir, name: &str) -> Option<T> {
    state.read(name).unwrap_or_default()
}
