//! A service's main process, followed through its restarts.
//!
//! ```text
//!            found at the first look
//! Unasked --------------------------> Alive (passes) <---- has lived long enough ----+
//!    |                                   |                                           |
//!    | not running, or unknown           | the kernel tells its end; systemd tells   |
//!    v                                   v another state                             |
//! Absent (fails) <-----------------------+---- its end ---- Young (fails) -----------+
//!    |                                                         ^
//!    +---------------- systemd tells a new process ------------+
//! ```
//! Guarantees: the end of a process is told at once, by the kernel (a pidfd), before systemd knows.
//! One that is new must live for a while first, so that a service that crashes in a loop does not
//! come and go with it. When systemd cannot be asked, a process that is watched goes on to count.

use std::time::Duration;

use hamesh_kernel::exit::WatchError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Outcome;
use super::exit::ProcessEnd;

/// What systemd says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// Not asked yet.
    Unasked,
    /// It runs, and this is its main process.
    Running {
        /// Its number.
        pid: u32,
    },
    /// It does not, in words.
    NotRunning(String),
    /// Systemd could not be asked, in words.
    Unknown(String),
}

/// Tells each change until nobody listens, or nobody asks systemd any more.
pub async fn follow<F: Future<Output = bool>>(
    mut unit: watch::Receiver<UnitState>,
    settling: Duration,
    tell: impl Fn(Outcome) -> F,
) {
    let mut seen = Seen::Unasked;
    let mut told = None;
    unit.mark_changed();
    loop {
        let outcome = seen.outcome();
        if outcome.is_some() && outcome != told {
            told.clone_from(&outcome);
            if let Some(outcome) = outcome
                && !tell(outcome).await
            {
                return;
            }
        }
        tokio::select! {
            changed = unit.changed() => {
                if changed.is_err() {
                    return;
                }
                let state = unit.borrow_and_update().clone();
                seen = seen.look(state, settling);
            }
            next = seen.next() => seen = next,
        }
    }
}

/// What is seen of the service.
#[derive(Debug)]
enum Seen {
    Unasked,
    Absent(String),
    Young(ProcessEnd, Instant),
    Alive(ProcessEnd),
}

impl Seen {
    /// `None`: nothing is known yet.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Seen::Unasked => None,
            Seen::Absent(why) => Some(Err(why.clone())),
            Seen::Young(watched, _) => {
                let pid = watched.pid;
                Some(Err(format!("main process {pid} was started just now")))
            }
            Seen::Alive(_) => Some(Ok(())),
        }
    }

    /// What systemd's word makes of it.
    fn look(self, state: UnitState, settling: Duration) -> Self {
        match (self, state) {
            (seen, UnitState::Unasked) => seen,
            (seen @ (Seen::Young(..) | Seen::Alive(_)), UnitState::Unknown(_)) => seen,
            (Seen::Unasked | Seen::Absent(_), UnitState::Unknown(why)) => Seen::Absent(why),
            (_, UnitState::NotRunning(why)) => Seen::Absent(why),
            (Seen::Alive(watched), UnitState::Running { pid }) if watched.pid == pid => {
                Seen::Alive(watched)
            }
            (Seen::Young(watched, at), UnitState::Running { pid }) if watched.pid == pid => {
                Seen::Young(watched, at)
            }
            (seen, UnitState::Running { pid }) => match (watch(pid), seen) {
                (Err(why), _) => Seen::Absent(why),
                (Ok(watched), Seen::Unasked) => Seen::Alive(watched),
                (Ok(watched), Seen::Absent(_) | Seen::Young(..) | Seen::Alive(_)) => {
                    Seen::Young(watched, Instant::now() + settling)
                }
            },
        }
    }

    /// Waits for what comes by itself: the end of the process, or that it has lived long enough.
    /// Takes nothing along, so that dropping the wait loses nothing.
    async fn next(&mut self) -> Self {
        match self {
            Seen::Unasked | Seen::Absent(_) => std::future::pending().await,
            Seen::Alive(watched) => ended(watched).await,
            Seen::Young(watched, at) => {
                let at = *at;
                tokio::select! {
                    biased;
                    seen = ended(watched) => return seen,
                    () = sleep_until(at) => {}
                }
                match std::mem::replace(self, Seen::Unasked) {
                    Seen::Young(watched, _) => Seen::Alive(watched),
                    seen @ (Seen::Unasked | Seen::Absent(_) | Seen::Alive(_)) => seen,
                }
            }
        }
    }
}

async fn ended(watched: &ProcessEnd) -> Seen {
    let pid = watched.pid;
    match watched.wait().await {
        Ok(()) => Seen::Absent(format!("main process {pid} ended")),
        Err(error) => Seen::Absent(format!("main process {pid} cannot be watched: {error}")),
    }
}

fn watch(pid: u32) -> Result<ProcessEnd, String> {
    ProcessEnd::watch(pid).map_err(|error| match &error {
        WatchError::Gone { .. } => error.to_string(),
        WatchError::Refused { source, .. } => format!("{error}: {source}"),
    })
}
