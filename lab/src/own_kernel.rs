//! The disks and keys of nodes with a kernel of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hamesh_roles::Engine;

use crate::disk;
use crate::engine::{console, has_own_kernel, qemu, uml};
use crate::image::{self, write_file};
use crate::names;
use crate::tool::Tool;
use crate::topology::{Node, Topology};

/// Size of a node's disk; sparse, so only what is written takes room.
const DISK: &str = "4G";
/// Size of the disk that holds the package pool: always the same, since a machine that is up does
/// not see a disk grow.
const POOL_DISK: &str = "2G";
/// Where Debian's package keeps the modules of User-Mode Linux.
const UML_MODULES: &str = "/usr/lib/uml/modules";

/// Makes the key of the lab's console, if some node has one and there is no key.
pub fn ensure_key(topology: &Topology) -> Result<()> {
    let key = console::key();
    let mut engines = topology.nodes.iter().map(|node| node.engine);
    if engines.any(has_own_kernel) && !key.exists() {
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
    let public = console::key().with_extension("pub");
    let public =
        fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
    for (path, content) in console::node_files(node, &public) {
        write_file(&upper, &path, &content)?;
    }
    match node.engine {
        Engine::Uml => copy_uml_modules(&upper)?,
        // QEMU's are in the base image, with their kernel.
        Engine::Nspawn | Engine::Qemu => {}
    }
    let root = names::root_dir(&node.name);
    disk::overlay(&image::path(node.engine), node, &root)?;
    let filled = fill(&root, &image);
    disk::unmount(node)?;
    filled?;
    // All of it is in the image now.
    for dir in [upper, names::work_dir(&node.name)] {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(())
}

fn copy_uml_modules(upper: &Path) -> Result<()> {
    let modules = upper.join("usr/lib/modules");
    fs::create_dir_all(&modules).with_context(|| format!("creating {}", modules.display()))?;
    Tool::new("cp", ["-a", &format!("{UML_MODULES}/.")])
        .arg(&modules)
        .run()?;
    Ok(())
}

fn fill(root: &Path, image: &Path) -> Result<()> {
    let half = image.with_extension("half");
    let _ = fs::remove_file(&half);
    make_ext4(root, &half, &["-L", "root"], DISK)?;
    fs::rename(&half, image).with_context(|| format!("naming {}", image.display()))
}

/// Makes the disk with the package pool that QEMU's nodes read, if there are such nodes and the
/// pool is newer. A disk that exists is written over in place: machines that are up have it open.
pub fn ensure_pool_disk(topology: &Topology, refilled: bool) -> Result<()> {
    if !topology.runs(Engine::Qemu) || (qemu::pool_image().exists() && !refilled) {
        return Ok(());
    }
    let options = ["-F", "-L", "pool", "-O", "^has_journal"];
    make_ext4(&names::pool_dir(), &qemu::pool_image(), &options, POOL_DISK)
}

fn make_ext4(from: &Path, image: &Path, options: &[&str], size: &str) -> Result<()> {
    Tool::new("mkfs.ext4", ["-q", "-E", "lazy_itable_init=1", "-d"])
        .arg(from)
        .args(options)
        .arg(image)
        .arg(size)
        .run()?;
    Ok(())
}

/// The kernel in QEMU's base image; the newest, if Debian's package brought several.
pub fn stock_kernel() -> Result<PathBuf> {
    let boot = image::path(Engine::Qemu).join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("reading {}", boot.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("vmlinuz-"))
    };
    let newest = paths.filter(named).max();
    newest.with_context(|| format!("no kernel in {}", boot.display()))
}

/// Refuses early what would only fail at boot, and makes the directories of control sockets.
pub fn check(topology: &Topology) -> Result<()> {
    let mut engines = topology.nodes.iter().map(|node| node.engine);
    if let Some(engine) = engines.find(|engine| has_own_kernel(*engine)) {
        if !Path::new("/dev/net/tun").exists() {
            bail!("nodes with `engine: {engine}` need /dev/net/tun, which this machine lacks");
        }
        for dir in [uml::umid_dir(), qemu::socket_dir()] {
            fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        }
    }
    Ok(())
}
