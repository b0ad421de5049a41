//! Control groups: where the processes of each part of the lab are found, frozen and ended.
//!
//! Every node gets a group of its own in every hierarchy of the machine, made before its first
//! process: on version 1 hosts nodes would otherwise meet in the hierarchies that systemd does not
//! manage, and neither freezing nor a memory limit would work. Works on version 1, hybrid and
//! version 2 hosts.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::names::PREFIX;
use crate::tool::quote;
use tree::{
    children, create_dir, inherit_cpuset, processes_below, remove_below, share_real_time, write,
};

mod tree;

/// How long a freeze or a kill may take before it counts as failed: a process in the middle of a
/// disk write can be neither.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    path: PathBuf,
    version: Version,
    controllers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Which versions a node is given; named as systemd names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Version 2 alone.
    Unified,
    /// Version 1 for the controllers, version 2 to follow processes.
    Hybrid,
    /// Version 1 alone.
    Legacy,
}

impl Cgroups {
    /// Reads what is mounted on this machine.
    ///
    /// # Errors
    /// No hierarchy that can freeze is mounted.
    pub fn discover() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?)
    }

    fn parse(mounts: &str) -> Result<Self> {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, path, kind, options, ..] = fields[..] else {
                continue;
            };
            let version = match kind {
                "cgroup" => Version::V1,
                "cgroup2" => Version::V2,
                _ => continue,
            };
            let path = PathBuf::from(path);
            if hierarchies.iter().any(|known| known.path == path) {
                continue;
            }
            let controllers = options.split(',').map(ToOwned::to_owned).collect();
            hierarchies.push(Hierarchy {
                path,
                version,
                controllers,
            });
        }
        let cgroups = Self { hierarchies };
        if cgroups.leading().is_none() {
            bail!(
                "no control group hierarchy that can freeze processes is mounted below \
                 /sys/fs/cgroup; the lab needs cgroup v2 or the v1 freezer"
            );
        }
        Ok(cgroups)
    }

    /// What the systemd of a node is to find.
    ///
    /// Version 2 wherever it is mounted, if only beside version 1: a systemd in a container is not
    /// told by version 1 that the last process of a service ended, and waits 90 s before it starts
    /// the service anew.
    pub fn for_nodes(&self) -> Given {
        let is_v2 = |hierarchy: &&Hierarchy| hierarchy.version == Version::V2;
        match self.hierarchies.iter().filter(is_v2).count() {
            0 => Given::Legacy,
            all if all == self.hierarchies.len() => Given::Unified,
            _ => Given::Hybrid,
        }
    }

    /// Makes a group of the lab in every hierarchy, with a memory limit if one is given.
    pub fn create(&self, group: &str, memory_mib: Option<u32>) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let whole = hierarchy.path.join(PREFIX);
            let below = [hierarchy.group(group), hierarchy.leaf(group)];
            for path in [&whole].into_iter().chain(&below) {
                create_dir(path)?;
                if hierarchy.has("cpuset") {
                    inherit_cpuset(&hierarchy.path, path)?;
                }
            }
            if hierarchy.has("cpu") {
                share_real_time(&whole, &below);
            }
            if let Some(mib) = memory_mib {
                hierarchy.limit_memory(group, mib)?;
            }
        }
        Ok(())
    }

    /// A shell command that moves the shell into a group.
    pub fn join(&self, group: &str) -> String {
        let moves: Vec<String> = self
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.leaf(group).join("cgroup.procs"))
            .map(|path| format!("echo $$ > {}", quote(&path.to_string_lossy())))
            .collect();
        moves.join(" && ")
    }

    /// Groups of the lab that exist in any hierarchy.
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self
            .hierarchies
            .iter()
            .flat_map(|hierarchy| children(&hierarchy.path.join(PREFIX)))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        groups.sort();
        groups.dedup();
        groups
    }

    /// Processes of a group and of all below it, in any hierarchy.
    pub fn processes(&self, group: &str) -> Vec<Pid> {
        let mut pids: Vec<Pid> = self
            .hierarchies
            .iter()
            .flat_map(|h| processes_below(&h.group(group)))
            .collect();
        pids.sort();
        pids.dedup();
        pids
    }

    /// The process that is init of the pid namespace that the group's processes live in.
    pub fn init_of(&self, group: &str) -> Option<Pid> {
        self.processes(group).into_iter().find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| is_inner_init(&s))
        })
    }

    /// Stops every process of a group where it stands, or lets all go on.
    pub fn freeze(&self, group: &str, frozen: bool) -> Result<()> {
        let Some(hierarchy) = self.leading() else {
            return Ok(());
        };
        let path = hierarchy.group(group);
        let (file, word) = match (hierarchy.version, frozen) {
            (Version::V1, true) => (path.join("freezer.state"), "FROZEN"),
            (Version::V1, false) => (path.join("freezer.state"), "THAWED"),
            (Version::V2, true) => (path.join("cgroup.freeze"), "1"),
            (Version::V2, false) => (path.join("cgroup.freeze"), "0"),
        };
        let started = Instant::now();
        loop {
            write(&file, word)?;
            if self.is_frozen(group) == frozen {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                bail!("{group} was not {word} after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether a group is frozen as a whole.
    pub fn is_frozen(&self, group: &str) -> bool {
        let Some(hierarchy) = self.leading() else {
            return false;
        };
        let path = hierarchy.group(group);
        let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
        match hierarchy.version {
            Version::V1 => read("freezer.state").trim() == "FROZEN",
            Version::V2 => read("cgroup.events").lines().any(|line| line == "frozen 1"),
        }
    }

    /// Ends every process of a group at one instant: they are frozen, sent SIGKILL, and let go into
    /// it, so that none acts on the end of another. `meanwhile` is run while all stand still.
    pub fn kill(&self, group: &str, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        // A process that cannot be frozen can still be killed, only not at the same instant.
        let _ = self.freeze(group, true);
        let done = meanwhile();
        let started = Instant::now();
        loop {
            let left = self.processes(group);
            for pid in &left {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            let _ = self.freeze(group, false);
            if left.is_empty() {
                return done;
            }
            if started.elapsed() > PATIENCE {
                bail!("processes of {group} outlived SIGKILL: {left:?}");
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Removes the directories of a group whose processes have ended.
    pub fn remove(&self, group: &str) -> Result<()> {
        self.hierarchies
            .iter()
            .try_for_each(|hierarchy| remove_below(&hierarchy.group(group)))
    }

    /// Removes the lab's own directories.
    pub fn remove_all(&self) -> Result<()> {
        self.hierarchies
            .iter()
            .try_for_each(|hierarchy| remove_below(&hierarchy.path.join(PREFIX)))
    }

    /// The hierarchy that freezes.
    fn leading(&self) -> Option<&Hierarchy> {
        let v1 = self
            .hierarchies
            .iter()
            .find(|h| h.version == Version::V1 && h.has("freezer"));
        v1.or_else(|| self.hierarchies.iter().find(|h| h.version == Version::V2))
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.version == Version::V1 && self.controllers.iter().any(|name| name == controller)
    }

    fn group(&self, group: &str) -> PathBuf {
        self.path.join(PREFIX).join(group)
    }

    /// Where processes go. Version 2 forbids processes in a group that has both controllers and
    /// children, hence one level more there.
    fn leaf(&self, group: &str) -> PathBuf {
        match self.version {
            Version::V1 => self.group(group),
            Version::V2 => self.group(group).join("all"),
        }
    }

    fn limit_memory(&self, group: &str, mib: u32) -> Result<()> {
        let bytes = (u64::from(mib) * 1024 * 1024).to_string();
        match self.version {
            Version::V1 if self.has("memory") => {
                write(&self.group(group).join("memory.limit_in_bytes"), &bytes)
            }
            Version::V1 => Ok(()),
            Version::V2 => {
                let offered = fs::read_to_string(self.path.join("cgroup.controllers"));
                if !offered
                    .unwrap_or_default()
                    .split_whitespace()
                    .any(|name| name == "memory")
                {
                    return Ok(()); // A hybrid host: version 1 has the memory controller.
                }
                for path in [self.path.clone(), self.path.join(PREFIX)] {
                    write(&path.join("cgroup.subtree_control"), "+memory")?;
                }
                write(&self.group(group).join("memory.max"), &bytes)
            }
        }
    }
}

/// Whether `/proc/PID/status` is that of process 1 of an inner pid namespace.
fn is_inner_init(status: &str) -> bool {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default();
    let pids: Vec<&str> = line.split_whitespace().collect();
    matches!(pids[..], [_, "1"])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";

    #[test]
    fn a_hybrid_host_freezes_with_version_1() {
        let cgroups = Cgroups::parse(HYBRID).expect("usable");
        assert_eq!(cgroups.for_nodes(), Given::Hybrid);
        assert_eq!(
            cgroups.leading().map(|h| h.path.clone()),
            Some("/sys/fs/cgroup/freezer".into())
        );
        let join = cgroups.join("node-a");
        assert!(
            join.contains("/sys/fs/cgroup/memory/hamesh-lab/node-a/cgroup.procs"),
            "{join}"
        );
        assert!(join.contains("/sys/fs/cgroup/unified/hamesh-lab/node-a/all/cgroup.procs"));
    }

    #[test]
    fn a_version_2_host_gives_nodes_version_2() {
        let cgroups = Cgroups::parse("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0").expect("usable");
        assert_eq!(cgroups.for_nodes(), Given::Unified);
    }

    #[test]
    fn a_host_without_a_freezer_is_refused() {
        let error = Cgroups::parse("cgroup /c/memory cgroup rw,memory 0 0").expect_err("refused");
        assert!(error.to_string().contains("freezer"), "{error}");
    }

    #[test]
    fn only_process_one_of_an_inner_namespace_is_a_nodes_init() {
        assert!(is_inner_init("Name:\tsystemd\nNSpid:\t27220\t1\n"));
        assert!(!is_inner_init("Name:\tsystemd\nNSpid:\t1\n"));
        assert!(!is_inner_init("Name:\tnspawn\nNSpid:\t27203\n"));
        assert!(!is_inner_init("Name:\tsh\nNSpid:\t27230\t18\n"));
        assert!(!is_inner_init(
            "Name:\tinit of a container in a node\nNSpid:\t27230\t18\t1\n"
        ));
        assert!(!is_inner_init("Name:\tmissing\n"));
    }
}
