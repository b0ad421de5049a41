//! Waits for a process's end without a thread of its own.

use std::io;

use hamesh_kernel::exit::{ProcessWatch, WatchError, started};
use tokio::io::unix::AsyncFd;

/// A process that is watched.
#[derive(Debug)]
pub struct ProcessEnd {
    /// Its number.
    pub pid: u32,
    process: AsyncFd<ProcessWatch>,
}

impl ProcessEnd {
    /// Watches the process that has this number now.
    ///
    /// # Errors
    /// [`WatchError`]: it is gone, or cannot be watched.
    #[expect(
        deprecated,
        reason = "the new constructor is unsafe for the sake of types that do not own their \
                  descriptor; this one does"
    )]
    pub fn watch(pid: u32) -> Result<Self, WatchError> {
        let started = started(pid).ok_or(WatchError::Gone { pid })?;
        let process = ProcessWatch::open(pid, started)?;
        let process =
            AsyncFd::new(process).map_err(|source| WatchError::Refused { pid, source })?;
        Ok(Self { pid, process })
    }

    /// Until it has ended. A zombie has ended.
    ///
    /// # Errors
    /// The runtime's own.
    pub async fn wait(&self) -> io::Result<()> {
        // What is readable once stays so: nothing is ever read from it.
        self.process.readable().await?.retain_ready();
        Ok(())
    }
}
