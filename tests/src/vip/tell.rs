//! Tells keepalived, on a proxy, the moment that HAProxy ends.
//!
//! keepalived's own process tracking cannot work in a container: the kernel tells of processes in
//! the host's network namespace only. This stands in for it: the bench's own program runs on the
//! proxy, is woken by the kernel when the process ends, and writes into the file that keepalived
//! tracks. The news is the same and comes no later.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hamesh_kernel::exit::{ProcessWatch, WatchError, started};

use super::proxies::HAPROXY;

/// Time between two looks at a process that lives.
const EVERY: Duration = Duration::from_millis(5);
/// Time between two looks for a process that does not.
const SEARCH: Duration = Duration::from_millis(100);

/// Writes 0 into the file while HAProxy runs, and 1 once it has ended; for ever.
///
/// # Errors
/// The file cannot be written, or the process not be watched.
pub fn tell(file: &Path) -> Result<()> {
    let write = |word: &str| {
        std::fs::write(file, word).with_context(|| format!("writing {}", file.display()))
    };
    write("1\n")?;
    loop {
        let Some(watch) = find()? else {
            sleep(SEARCH);
            continue;
        };
        write("0\n")?;
        while !watch.ended().context("watching HAProxy")? {
            sleep(EVERY);
        }
        write("1\n")?;
    }
}

/// The main process of HAProxy, if it lives.
fn find() -> Result<Option<ProcessWatch>> {
    let show = ["show", "--property=MainPID", "--value", HAPROXY];
    let output = Command::new("systemctl")
        .args(show)
        .output()
        .context("asking systemd")?;
    let pid = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or_default();
    let Some(since) = started(pid) else {
        return Ok(None);
    };
    match ProcessWatch::open(pid, since) {
        Ok(watch) => Ok((!watch.ended().context("watching HAProxy")?).then_some(watch)),
        Err(WatchError::Gone { .. }) => Ok(None),
        Err(refused) => bail!("{refused}"),
    }
}
