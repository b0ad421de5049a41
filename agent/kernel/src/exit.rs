//! Hears of a process's end at once, by a pidfd: no polling, and no mistaking of a later process
//! with the same number once it is open.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

/// Why a process cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// It has ended already, or the number was given to another since: look for the process again.
    #[error("process {pid} is gone")]
    Gone {
        /// The number that was asked for.
        pid: u32,
    },
    /// The kernel refused.
    #[error("cannot watch process {pid}")]
    Refused {
        /// The number that was asked for.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A watched process.
#[derive(Debug)]
pub struct ProcessWatch {
    pid: u32,
    process: OwnedFd,
}

impl AsFd for ProcessWatch {
    /// Readable from the moment at which the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// For runtimes that wait on numbers.
impl AsRawFd for ProcessWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.process.as_raw_fd()
    }
}

impl ProcessWatch {
    /// Watches the process that has this number and was started at this time, as
    /// [`started`] gave it when the process was found.
    pub fn open(pid: u32, started_at: u64) -> Result<Self, WatchError> {
        let gone = WatchError::Gone { pid };
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else {
            return Err(gone);
        };
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(rustix::io::Errno::SRCH) => return Err(gone),
            Err(e) => {
                let source = e.into();
                return Err(WatchError::Refused { pid, source });
            }
        };
        // Asked after opening: from here on the number cannot mean another process unnoticed.
        if started(pid) != Some(started_at) {
            return Err(gone);
        }
        Ok(Self { pid, process })
    }

    /// Whether it has ended; does not wait. A zombie has ended.
    pub fn ended(&self) -> Result<bool, WatchError> {
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut fds, Some(&now)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(WatchError::Refused {
                pid: self.pid,
                source: e.into(),
            }),
        }
    }
}

/// When a process was started, in the kernel's ticks since boot. None where there is no such one.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    start_field(&stat)
}

/// The 22nd field. The second is a name in parentheses that may hold anything.
fn start_field(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_before_it_is_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let watch = ProcessWatch::open(child.id(), started(child.id()).unwrap()).unwrap();
        assert!(!watch.ended().unwrap());
        child.kill().unwrap();
        poll(&mut [PollFd::new(&watch, PollFlags::IN)], None).unwrap();
        assert!(watch.ended().unwrap());
        child.wait().unwrap();
        let again = ProcessWatch::open(child.id(), 0);
        assert!(matches!(again, Err(WatchError::Gone { .. })), "{again:?}");
    }

    #[test]
    fn another_process_of_the_same_number_is_not_taken_for_it() {
        let own = std::process::id();
        let other = started(own).unwrap() + 1;
        assert!(matches!(
            ProcessWatch::open(own, other),
            Err(WatchError::Gone { .. })
        ));
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) 1) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(start_field(stat), Some(4711));
    }
}
