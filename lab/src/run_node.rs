//! The process that a node's life hangs on: power on, boot, reboot when the node asks, power off.
//!
//! It runs in the node's own control group. Each boot starts with fresh interfaces, as a machine
//! that was off has forgotten its addresses, neighbours and firewall rules.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use hamesh_roles::Engine;
use nix::sched::{CloneFlags, setns};
use nix::sys::personality::{self, Persona};

use crate::cgroup::Given;
use crate::engine::{REBOOT, nspawn, qemu, uml};
use crate::image::write_file;
use crate::lab::Lab;
use crate::names;
use crate::topology::Node;
use crate::{disk, host, own_kernel};

/// Runs a node until it is off.
pub fn run(lab: &Lab, node: &Node) -> Result<()> {
    loop {
        let status = match node.engine {
            Engine::Nspawn => boot_container(lab, node)?,
            Engine::Uml => boot_kernel(lab, node, user_mode_linux(node)?)?,
            Engine::Qemu => boot_kernel(lab, node, emulator(node)?)?,
        };
        if status != Some(REBOOT) {
            return Ok(());
        }
    }
}

fn boot_container(lab: &Lab, node: &Node) -> Result<Option<i32>> {
    host::plug_node(&lab.topology, node)?;
    disk::mount(node)?;
    let pool = names::pool_dir();
    let mut command = Command::new("systemd-nspawn");
    match lab.cgroups.for_nodes() {
        Given::Unified => command.env(nspawn::HIERARCHY, "1"),
        Given::Hybrid => command.env_remove(nspawn::HIERARCHY),
        Given::Legacy => command.env(nspawn::HIERARCHY, "0"),
    };
    let status = command
        .args(nspawn::arguments(
            node,
            pool.exists().then_some(pool.as_path()),
        ))
        .stdin(Stdio::null())
        .status()
        .context("starting systemd-nspawn")?;
    host::unplug_node(node)?;
    Ok(status.code())
}

fn boot_kernel(lab: &Lab, node: &Node, mut command: Command) -> Result<Option<i32>> {
    host::plug_node(&lab.topology, node)?;
    host::plug_console(node)?;
    let path = names::namespace_path(names::FABRIC);
    let fabric = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    setns(fabric, CloneFlags::CLONE_NEWNET).context("entering the fabric")?;
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting {shown}"))?;
    host::unplug_node(node)?;
    Ok(status.code())
}

fn user_mode_linux(node: &Node) -> Result<Command> {
    let marker = names::node_dir(&node.name).join("reboot");
    write_file(&names::node_dir(&node.name), "reboot", uml::REBOOT_MARKER)?;
    // It maps its guest at fixed addresses.
    personality::set(Persona::ADDR_NO_RANDOMIZE).context("fixing the address space")?;
    let mut command = Command::new(uml::PROGRAM);
    command
        .arg0(marker)
        .args(uml::arguments(node))
        // The machine's memory is a file here; on a disk it would be written back all the time.
        .env("TMPDIR", "/dev/shm");
    Ok(command)
}

fn emulator(node: &Node) -> Result<Command> {
    let mut command = Command::new(qemu::PROGRAM);
    command.args(qemu::arguments(node, &own_kernel::stock_kernel()?));
    Ok(command)
}
