//! Directories of control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use super::{PATIENCE, PAUSE};

/// Makes a group's directory.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}

/// A version 1 cpuset takes no process before it is told its processors and memory nodes.
pub fn inherit_cpuset(root: &Path, path: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let from = root.join(name);
        let value =
            fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
        write(&path.join(name), value.trim())?;
    }
    write(&path.join("cgroup.clone_children"), "1")
}

/// What real-time threads of one group may use, of each tenth of a second, in µs: many times what a
/// holder of claims needs. Thirteen nodes leave room for a second lab.
const REAL_TIME: u32 = 5_000;

/// Nodes boot side by side: the whole must have its new share before a part asks for its own.
static SHARING: Mutex<()> = Mutex::new(());

/// Lets programs of one more version 1 group ask for real-time priority, which it refuses while
/// this is zero. The `whole` gets as much as all groups in it; `below` is the new one, outermost
/// first. Where the machine has given all away already a node goes without: its agent says so.
pub fn share_real_time(whole: &Path, below: &[PathBuf]) {
    let _one_at_a_time = SHARING.lock();
    if below.iter().all(|path| real_time(path) > 0) {
        return;
    }
    if allow_real_time(whole, real_time(whole) + REAL_TIME) {
        for path in below {
            allow_real_time(path, REAL_TIME);
        }
    }
}

fn real_time(path: &Path) -> u32 {
    let text = fs::read_to_string(path.join("cpu.rt_runtime_us")).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// Short periods, so that a thread that used its share up does not wait for long.
fn allow_real_time(path: &Path, us: u32) -> bool {
    [("period", 100_000), ("runtime", us)]
        .into_iter()
        .all(|(name, us)| write(&path.join(format!("cpu.rt_{name}_us")), &us.to_string()).is_ok())
}

/// Writes one of the kernel's files.
pub fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing `{text}` to {}", path.display()))
}

/// Groups directly below one.
pub fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// Processes of a group and of all below it.
pub fn processes_below(path: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own: Vec<Pid> = own
        .lines()
        .filter_map(|line| line.parse().ok())
        .map(Pid::from_raw)
        .collect();
    own.into_iter()
        .chain(
            children(path)
                .iter()
                .flat_map(|child| processes_below(child)),
        )
        .collect()
}

/// Removes a tree of groups, leaves first. A group stays busy for a moment after its last process.
pub fn remove_below(path: &Path) -> Result<()> {
    for child in children(path) {
        remove_below(&child)?;
    }
    let started = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
