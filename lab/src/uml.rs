//! The disks and keys of User-Mode Linux nodes.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use hamesh_roles::Engine;

use crate::disk;
use crate::engine::uml;
use crate::image::{self, write_file};
use crate::names;
use crate::tool::Tool;
use crate::topology::{Node, Topology};

/// Size of a node's disk; sparse, so only what is written takes room.
const DISK: &str = "4G";
/// Where Debian's package keeps the modules of its kernel.
const MODULES: &str = "/usr/lib/uml/modules";

/// Makes the key of the lab's console, if there is none.
pub fn ensure_key() -> Result<()> {
    let key = uml::key();
    if !key.exists() {
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", names::PREFIX, "-f"];
        Tool::new("ssh-keygen", arguments).arg(&key).run()?;
    }
    Ok(())
}

/// Makes a node's disk: the base image and the node's files, as an ext4 image. An existing disk is
/// kept as it is.
pub fn prepare_disk(topology: &Topology, node: &Node) -> Result<()> {
    let image = names::disk_image(&node.name);
    if image.exists() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(names::upper_dir(&node.name));
    disk::prepare(topology, node)?;
    let upper = names::upper_dir(&node.name);
    let public = uml::key().with_extension("pub");
    let public =
        fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
    for (path, content) in uml::node_files(node, &public) {
        write_file(&upper, &path, &content)?;
    }
    let modules = upper.join("usr/lib/modules");
    fs::create_dir_all(&modules).with_context(|| format!("creating {}", modules.display()))?;
    Tool::new("cp", ["-a", &format!("{MODULES}/.")])
        .arg(&modules)
        .run()?;
    let root = names::root_dir(&node.name);
    disk::overlay(&image::path(Engine::Uml), node, &root)?;
    let filled = fill(&root, &image);
    disk::unmount(node)?;
    filled?;
    // All of it is in the image now.
    for dir in [upper, names::work_dir(&node.name)] {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(())
}

fn fill(root: &Path, image: &Path) -> Result<()> {
    let half = image.with_extension("half");
    let _ = fs::remove_file(&half);
    Tool::new(
        "mkfs.ext4",
        ["-q", "-L", "root", "-E", "lazy_itable_init=1", "-d"],
    )
    .arg(root)
    .arg(&half)
    .arg(DISK)
    .run()?;
    fs::rename(&half, image).with_context(|| format!("naming {}", image.display()))
}

/// Refuses early what would only fail at boot.
pub fn check(topology: &Topology) -> Result<()> {
    let uml = topology.nodes.iter().any(|node| node.engine == Engine::Uml);
    if uml && !Path::new("/dev/net/tun").exists() {
        bail!("nodes with `engine: uml` need /dev/net/tun, which this machine lacks");
    }
    if uml {
        fs::create_dir_all(uml::umid_dir()).context("creating the run directory")?;
    }
    Ok(())
}
