//! Directories of control groups.

use std::fs;
use std::path::{Path, PathBuf};
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
