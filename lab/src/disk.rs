//! The disk of an nspawn node: an overlay on the base image, kept over power cuts and restarts.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use hamesh_roles::Engine;

use crate::down::mounts_below;
use crate::files::node_files;
use crate::image::{self, write_file};
use crate::names;
use crate::tool::Tool;
use crate::topology::{Node, Topology};

/// Makes a node's disk if it has none, and refreshes the files that the site decides.
pub fn prepare(topology: &Topology, node: &Node) -> Result<()> {
    for dir in [
        names::upper_dir(&node.name),
        names::work_dir(&node.name),
        names::root_dir(&node.name),
    ] {
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let upper = names::upper_dir(&node.name);
    for file in node_files(topology, node) {
        write_file(&upper, &file.path, &file.content)?;
    }
    let machine_id = upper.join("etc/machine-id");
    if !machine_id.exists() {
        let drawn = fs::read_to_string("/proc/sys/kernel/random/uuid")
            .context("drawing a machine id")?
            .replace('-', "");
        fs::write(&machine_id, drawn)
            .with_context(|| format!("writing {}", machine_id.display()))?;
    }
    Ok(())
}

/// Mounts a node's file system, unless it is.
pub fn mount(node: &Node) -> Result<()> {
    let root = names::root_dir(&node.name);
    if mounts_below(&root)?.contains(&root) {
        return Ok(());
    }
    overlay(&image::path(Engine::Nspawn), node, &root)
}

/// Mounts a base image with a node's changes on top.
pub fn overlay(base: &Path, node: &Node, root: &Path) -> Result<()> {
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        base.display(),
        names::upper_dir(&node.name).display(),
        names::work_dir(&node.name).display()
    );
    let source = names::node_namespace(&node.name);
    Tool::new("mount", ["-t", "overlay", &source, "-o", &options])
        .arg(root)
        .run()?;
    Ok(())
}

/// Unmounts a node's file system, if it is mounted.
pub fn unmount(node: &Node) -> Result<()> {
    let root = names::root_dir(&node.name);
    if mounts_below(&root)?.contains(&root) {
        Tool::new("umount", [&root]).run()?;
    }
    Ok(())
}
