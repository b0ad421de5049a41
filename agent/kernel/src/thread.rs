//! Makes the calling thread fit to hold a lease: its memory stays, and it runs before others.
//!
//! Guarantees that nothing here stops the agent: what the system refuses is reported, and the
//! lease still holds its promises without it; only renewals may come late under load.

use std::fmt;
use std::hint::black_box;
use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use thread_priority::{
    Error as PriorityError, RealtimeThreadSchedulePolicy, ScheduleParams, ThreadPriority,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Above every ordinary program, below the kernel's own real-time threads (50).
pub const PRIORITY: i32 = 10;
/// What the holder's path may use of its stack without a page fault.
const STACK: usize = 128 * 1024;

/// What the system granted.
#[derive(Debug)]
pub struct Fitness {
    /// All memory of the process stays in memory once it was touched.
    pub memory: Result<(), Refusal>,
    /// The calling thread runs under SCHED_FIFO.
    pub priority: Result<(), Refusal>,
}

/// What the system refused, and what to do about it.
#[derive(Debug)]
pub struct Refusal {
    /// What the kernel said.
    pub source: io::Error,
    advice: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.source, self.advice)
    }
}

impl fmt::Display for Fitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.memory {
            Ok(()) => f.write_str("memory locked, ")?,
            Err(e) => write!(f, "memory NOT locked ({e}), ")?,
        }
        match &self.priority {
            Ok(()) => write!(f, "SCHED_FIFO {PRIORITY}"),
            Err(e) => write!(f, "no raised priority ({e})"),
        }
    }
}

/// Does for the calling thread what the system allows, and says what it did not.
pub fn make_fit() -> Fitness {
    // Only what is touched: all stacks of all threads at full size would cost tens of megabytes.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let memory = mlockall(flags).map_err(|e| Refusal {
        source: e.into(),
        advice: "give the unit CAP_IPC_LOCK or LimitMEMLOCK=infinity",
    });
    touch_stack();
    Fitness {
        memory,
        priority: raise_priority(),
    }
}

/// Lets the calling thread run before every ordinary one.
///
/// # Errors
/// [`Refusal`]: it runs as before.
pub fn raise_priority() -> Result<(), Refusal> {
    let priority = ThreadPriority::from_posix(ScheduleParams {
        sched_priority: PRIORITY,
    });
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let raised = set_thread_priority_and_policy(thread_native_id(), priority, fifo);
    raised.map_err(|e| Refusal {
        source: match e {
            PriorityError::OS(number) => io::Error::from_raw_os_error(number),
            other => io::Error::other(format!("{other:?}")),
        },
        advice: "give the unit CAP_SYS_NICE; under cgroup v1 also set its cpu.rt_runtime_us",
    })
}

#[inline(never)]
fn touch_stack() {
    let stack = [1_u8; STACK];
    black_box(&stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_said_with_what_to_do() {
        let refusal = Refusal {
            source: io::Error::from_raw_os_error(1),
            advice: "give it CAP_SYS_NICE",
        };
        let fitness = Fitness {
            memory: Ok(()),
            priority: Err(refusal),
        };
        let said = fitness.to_string();
        assert!(
            said.starts_with("memory locked, no raised priority ("),
            "{said}"
        );
        assert!(said.ends_with("give it CAP_SYS_NICE)"), "{said}");
    }

    #[test]
    fn a_thread_that_was_granted_priority_runs_under_it() {
        std::thread::spawn(|| {
            let fitness = make_fit();
            let policy = thread_priority::thread_schedule_policy().unwrap();
            let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
            assert_eq!(fitness.priority.is_ok(), policy == fifo, "{fitness}");
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find(|l| l.starts_with("VmLck:")).unwrap();
            let nothing = locked.split_ascii_whitespace().nth(1) == Some("0");
            assert_eq!(fitness.memory.is_ok(), !nothing, "{fitness}: {locked}");
            rustix::mm::munlockall().unwrap();
        })
        .join()
        .unwrap();
    }
}
