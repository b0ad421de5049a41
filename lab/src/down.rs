//! Takes everything down, found by what exists on the machine.
//!
//! Nothing here trusts a record of what `up` did: processes are those in the lab's control groups
//! and namespaces, mounts those below its directories, namespaces those with its prefix. So it
//! works the same after the lab was killed half way, and again after itself was.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroups;
use crate::host;
use crate::image::{remove_tree, remove_unfinished};
use crate::names::{self, CACHE, RUN, STATE};

/// Where nspawn keeps a directory per machine.
const NSPAWN_RUN: &str = "/run/systemd/nspawn";

/// Removes the lab: processes, mounts, namespaces with their links and firewall rules, control
/// groups, disks; puts the host's settings back. With `purge` the cache goes too.
pub fn down(cgroups: &Cgroups, purge: bool) -> Result<()> {
    // The cables go first: a node that is switched off says no good-bye.
    if names::namespace_path(names::FABRIC).exists() {
        end_processes_in(names::FABRIC)?;
        host::delete_namespace(names::FABRIC)?;
    }
    for group in cgroups.groups() {
        cgroups.kill(&group, || Ok(()))?;
    }
    for namespace in host::namespaces() {
        end_processes_in(&namespace)?;
        host::delete_namespace(&namespace)?;
    }
    remove_nspawn_leftovers()?;
    for dir in [STATE, RUN, CACHE] {
        for mount in mounts_below(Path::new(dir))? {
            umount2(&mount, MntFlags::MNT_DETACH)
                .with_context(|| format!("unmounting {}", mount.display()))?;
        }
    }
    host::release_namespaces()?;
    cgroups.remove_all()?;
    host::restore_settings()?;
    remove_tree(Path::new(STATE))?;
    remove_tree(Path::new(RUN))?;
    remove_unfinished()?;
    if purge {
        remove_tree(Path::new(CACHE))?;
    }
    Ok(())
}

/// Mount points at or below a directory, innermost first.
pub fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mount table")?;
    Ok(mount_points(&text, dir))
}

fn mount_points(mountinfo: &str, dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    found
}

/// The kernel writes blanks and backslashes in paths as octal numbers.
fn unescape(field: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    escapes
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| {
            text.replace(code, plain)
        })
}

/// Ends the processes that stand in a namespace of the lab without being in its groups: commands
/// that a user entered it with.
fn end_processes_in(namespace: &str) -> Result<()> {
    let path = names::namespace_path(namespace);
    let Ok(wanted) = fs::metadata(&path) else {
        return Ok(());
    };
    let own = nix::unistd::getpid();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let inside = fs::metadata(entry.path().join("ns/net"))
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()));
        if inside && Pid::from_raw(pid) != own {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// An nspawn that was killed leaves the directory through which it would pass mounts, and its
/// locks: one by the machine's name, one by device and inode of its root.
fn remove_nspawn_leftovers() -> Result<()> {
    for dir in ["propagate", "unix-export", "locks"] {
        let dir = Path::new(NSPAWN_RUN).join(dir);
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(names::PREFIX) {
                let path = entry.path();
                let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }
    for root in mounts_below(Path::new(STATE))? {
        if let Ok(root) = fs::metadata(&root) {
            let lock = format!("locks/inode-{}:{}", root.dev(), root.ino());
            let _ = fs::remove_file(Path::new(NSPAWN_RUN).join(lock));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw shared:1 - ext4 /dev/sda rw
44 22 0:39 / /var/lib/hamesh-lab/nodes/a/root rw - overlay a rw
45 44 0:40 / /var/lib/hamesh-lab/nodes/a/root/srv/with\\040blank rw - tmpfs t rw
46 22 0:41 / /var/lib/hamesh-laboratory rw - tmpfs t rw
";

    #[test]
    fn mounts_are_given_innermost_first_and_only_those_below() {
        assert_eq!(
            mount_points(MOUNTS, Path::new("/var/lib/hamesh-lab")),
            [
                PathBuf::from("/var/lib/hamesh-lab/nodes/a/root/srv/with blank"),
                PathBuf::from("/var/lib/hamesh-lab/nodes/a/root"),
            ]
        );
    }
}
