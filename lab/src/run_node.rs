//! The process that a node's life hangs on: power on, boot, reboot when the node asks, power off.
//!
//! It runs in the node's own control group. Each boot starts with fresh interfaces, as a machine
//! that was off has forgotten its addresses, neighbours and firewall rules.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use hamesh_roles::Engine;

use crate::engine::{nspawn, uml};
use crate::lab::Lab;
use crate::names;
use crate::topology::Node;
use crate::{disk, host};

/// Runs a node until it is off.
pub fn run(lab: &Lab, node: &Node) -> Result<()> {
    match node.engine {
        Engine::Nspawn => while boot_container(lab, node)? == Some(nspawn::REBOOT) {},
        Engine::Uml => boot_kernel(lab, node)?,
    }
    host::unplug_node(node)
}

fn boot_container(lab: &Lab, node: &Node) -> Result<Option<i32>> {
    host::plug_node(&lab.topology, node)?;
    disk::mount(node)?;
    let pool = names::pool_dir();
    let unified = if lab.cgroups.unified() { "1" } else { "0" };
    let status = Command::new("systemd-nspawn")
        .args(nspawn::arguments(
            node,
            pool.exists().then_some(pool.as_path()),
        ))
        .env(nspawn::HIERARCHY, unified)
        .stdin(Stdio::null())
        .status()
        .context("starting systemd-nspawn")?;
    host::unplug_node(node)?;
    Ok(status.code())
}

fn boot_kernel(lab: &Lab, node: &Node) -> Result<()> {
    host::plug_node(&lab.topology, node)?;
    host::plug_console(node)?;
    let namespace = names::namespace_path(names::FABRIC);
    Command::new("nsenter")
        .arg(format!("--net={}", namespace.display()))
        .args(["setarch", "-R"])
        .args(uml::arguments(node))
        // The machine's memory is a file here; on a disk it would be written back all the time.
        .env("TMPDIR", "/dev/shm")
        .stdin(Stdio::null())
        .status()
        .context("starting linux.uml")?;
    Ok(())
}
