//! The lab that is up: its site, and what can be done to one node.
//!
//! Whether a node runs is read from the machine each time (its control group, its init), never from
//! a record.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hamesh_roles::{Engine, Site};
use nix::unistd::Pid;
use serde::Serialize;

use crate::cgroup::Cgroups;
use crate::engine::qemu;
use crate::enter::Entry;
use crate::names;
use crate::tool::quote;
use crate::topology::{Node, Topology};
use crate::{disk, host, own_kernel, qmp};

/// How long a node may take to boot or to shut down before that counts as failed: an emulated one
/// takes minutes on a busy host.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(100);

/// A site on this machine.
#[derive(Debug)]
pub struct Lab {
    /// What it is made of.
    pub topology: Topology,
    /// Where its processes are.
    pub cgroups: Cgroups,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Off.
    Stopped,
    /// Booting or shutting down.
    Changing,
    /// Booted; every unit is well.
    Running,
    /// Booted; some unit has failed.
    Degraded,
    /// Stopped where it stood.
    Frozen,
}

impl Lab {
    /// The lab that is up on this machine.
    pub fn open() -> Result<Self> {
        host::require_root()?;
        let path = names::site_file();
        let Ok(text) = fs::read_to_string(&path) else {
            bail!("no lab is up on this machine; `./lab/up` brings one up");
        };
        Self::of(&text, &path)
    }

    /// The lab of a site file's text.
    pub fn of(text: &str, path: &Path) -> Result<Self> {
        let site = Site::parse(text).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(
                "{} is not a valid site:\n{}",
                path.display(),
                lines.join("\n")
            )
        })?;
        Ok(Self {
            topology: Topology::of(&site)?,
            cgroups: Cgroups::discover()?,
        })
    }

    /// How a node is.
    pub fn state(&self, node: &Node) -> State {
        let group = names::node_group(&node.name);
        if self.cgroups.processes(&group).is_empty() {
            return State::Stopped;
        }
        if self.cgroups.is_frozen(&group) {
            return State::Frozen;
        }
        match self.system_state(node, false).as_deref() {
            Some("running") => State::Running,
            Some("degraded" | "maintenance") => State::Degraded,
            Some(_) | None => State::Changing,
        }
    }

    /// Whether any process of a node is left.
    pub fn is_on(&self, node: &Node) -> bool {
        !self
            .cgroups
            .processes(&names::node_group(&node.name))
            .is_empty()
    }

    /// Process 1 of an nspawn node.
    pub fn init(&self, node: &Node) -> Option<Pid> {
        self.cgroups.init_of(&names::node_group(&node.name))
    }

    /// Switches a node on, unless it is; `wait_booted` waits for it.
    pub fn power_on(&self, node: &Node) -> Result<()> {
        if self.is_on(node) {
            return Ok(());
        }
        let group = names::node_group(&node.name);
        self.cgroups.create(&group, self.memory_limit(node))?;
        let log = names::console_log(&node.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let own = std::env::current_exe().context("finding this program")?;
        let run = format!(
            "{} run-node {}",
            quote(&own.to_string_lossy()),
            quote(&node.name)
        );
        let script = format!("{} && exec setsid {run}", self.cgroups.join(&group));
        Command::new("sh")
            .args(["-c", &script])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the console log")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", node.name))?;
        Ok(())
    }

    /// The memory limit of a node's control group. A kernel of its own brings its own.
    fn memory_limit(&self, node: &Node) -> Option<u32> {
        match node.engine {
            Engine::Nspawn => node.memory_mib,
            Engine::Uml | Engine::Qemu => None,
        }
    }

    /// Waits until a node has booted, and says how well.
    pub fn wait_booted(&self, node: &Node) -> Result<State> {
        let started = Instant::now();
        let mut seen_on = false;
        loop {
            let on = self.is_on(node);
            if seen_on && !on {
                bail!(
                    "{} went down while booting:\n{}",
                    node.name,
                    console_tail(&node.name)
                );
            }
            seen_on |= on;
            match self.system_state(node, true).as_deref() {
                Some("running") => return Ok(State::Running),
                Some("degraded") => return Ok(State::Degraded),
                Some(_) | None => {}
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} has not booted after {} s; its console ends:\n{}",
                    node.name,
                    PATIENCE.as_secs(),
                    console_tail(&node.name)
                );
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// What a node's systemd says of itself; nothing if it cannot be asked yet.
    fn system_state(&self, node: &Node, wait: bool) -> Option<String> {
        match node.engine {
            Engine::Nspawn => {
                let init = self.init(node)?;
                let socket = format!("/proc/{init}/root/run/systemd/private");
                Path::new(&socket).exists().then_some(())?;
            }
            Engine::Uml | Engine::Qemu => {}
        }
        let mut command = vec!["systemctl".to_owned(), "is-system-running".to_owned()];
        if wait {
            command.push("--wait".to_owned());
        }
        let output = Entry::node(self, node, &command, false)
            .ok()?
            .output()
            .ok()?;
        let word = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!word.is_empty()).then_some(word)
    }

    /// Shuts a node down in order.
    pub fn stop(&self, node: &Node) -> Result<()> {
        if !self.is_on(node) {
            return Ok(());
        }
        self.thaw(node)?;
        let halt = ["systemctl", "poweroff", "--no-block"].map(ToOwned::to_owned);
        let output = Entry::node(self, node, &halt, false)?.output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(
                "{} refused to shut down ({words}); `kill` cuts its power",
                node.name
            );
        }
        let started = Instant::now();
        while self.is_on(node) {
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} is still on; `kill {}` cuts its power",
                    node.name,
                    node.name
                );
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Cuts a node's power: its cables go dead and all its processes end at one instant, so that no
    /// connection is closed politely.
    pub fn kill(&self, node: &Node) -> Result<()> {
        let group = names::node_group(&node.name);
        self.cgroups.kill(&group, || host::pull_cables(node))?;
        host::unplug_node(node)
    }

    /// Takes the carrier from a node's interfaces, or brings it back. A boot brings it back too.
    pub fn carrier(&self, node: &Node, there: bool) -> Result<()> {
        if !self.is_on(node) {
            bail!("{} is off; it has no cables", node.name);
        }
        host::set_carrier(node, there)
    }

    /// Stops a node where it stands.
    pub fn freeze(&self, node: &Node) -> Result<()> {
        if !self.is_on(node) {
            bail!("{} is off; nothing to freeze", node.name);
        }
        match node.engine {
            Engine::Nspawn | Engine::Uml => {}
            // First, so that the machine's clocks stand still, which the freezer alone does not do.
            Engine::Qemu => qmp::stop(&qemu::socket(node))?,
        }
        self.cgroups.freeze(&names::node_group(&node.name), true)
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, node: &Node) -> Result<()> {
        if !self.is_on(node) {
            bail!(
                "{} is off; `hamesh-lab start {}` boots it",
                node.name,
                node.name
            );
        }
        self.cgroups.freeze(&names::node_group(&node.name), false)?;
        match node.engine {
            Engine::Nspawn | Engine::Uml => Ok(()),
            Engine::Qemu => qmp::resume(&qemu::socket(node)),
        }
    }

    /// Takes the disk of a node that is off: it starts as a machine on which nothing was done yet.
    pub fn wipe(&self, node: &Node) -> Result<()> {
        if self.is_on(node) {
            bail!(
                "{0} is on, and its disk was not touched; `hamesh-lab kill {0}` first",
                node.name
            );
        }
        disk::unmount(node)?;
        // What was installed is noted beside the disk, and goes with it.
        let all = names::node_dir(&node.name);
        fs::remove_dir_all(&all).with_context(|| format!("removing {}", all.display()))
    }

    /// Makes a node's disk ready for a boot.
    pub fn prepare_disk(&self, node: &Node) -> Result<()> {
        match node.engine {
            Engine::Nspawn => disk::prepare(&self.topology, node),
            Engine::Uml | Engine::Qemu => own_kernel::prepare_disk(&self.topology, node),
        }
    }
}

/// The last lines of a node's console.
pub fn console_tail(node: &str) -> String {
    let text = fs::read(names::console_log(node)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
