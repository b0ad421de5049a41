//! What the lab does to the machine it runs on: namespaces, links, settings.
//!
//! Settings of the host that must change are written down in [`names::RUN`] before they are
//! changed, and `down` puts them back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use hamesh_roles::Engine;

use crate::down::mounts_below;
use crate::engine::{console, has_own_kernel};
use crate::names::{self, FABRIC};
use crate::tool::Tool;
use crate::topology::{Node, Topology};
use crate::wiring;

/// Each booted systemd holds a few dozen inotify instances; the kernel's default of 128 for root
/// is used up by the fifth node.
const SETTINGS: [(&str, u64); 2] = [
    ("fs/inotify/max_user_instances", 8192),
    ("fs/inotify/max_user_watches", 524_288),
];

/// Programs from Debian packages that the lab cannot do without, beyond Debian's essential ones.
pub const PACKAGES: [&str; 11] = [
    "apt-utils",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "mmdebstrap",
    "nftables",
    "procps",
    "systemd-container",
];

/// The same for an engine.
pub const fn engine_packages(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Nspawn => &[],
        Engine::Uml => &["e2fsprogs", "openssh-client", "user-mode-linux"],
        Engine::Qemu => &["e2fsprogs", "openssh-client", "qemu-system-x86"],
    }
}

/// Refuses to go on for anyone but root.
pub fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab makes namespaces, mounts and control groups: run it as root");
    }
    Ok(())
}

/// The lock that `up` and `down` hold, so that only one of them works at a time.
pub fn lock() -> Result<File> {
    fs::create_dir_all(names::CACHE).with_context(|| format!("creating {}", names::CACHE))?;
    let path = Path::new(names::CACHE).join("lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("another `hamesh-lab up` or `down` is at work; nothing was changed");
    }
    Ok(file)
}

/// Installs the Debian packages that are missing, and says which they were.
pub fn install_packages(wanted: &[&str]) -> Result<Vec<String>> {
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| {
            let query = Tool::new("dpkg-query", ["-W", "-f", "${Status}", name]).output();
            !query.is_ok_and(|out| out.stdout.ends_with(b"ok installed"))
        })
        .map(|name| (*name).to_owned())
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let install = || {
        let arguments = ["install", "-y", "-q", "--no-install-recommends"];
        Tool::new(
            "apt-get",
            arguments
                .iter()
                .copied()
                .chain(missing.iter().map(String::as_str)),
        )
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
    };
    if install().is_err() {
        Tool::new("apt-get", ["update", "-q"]).run()?;
        install()?;
    }
    Ok(missing)
}

/// Raises the kernel settings that are too low, remembering what they were.
pub fn raise_settings() -> Result<()> {
    fs::create_dir_all(names::RUN).with_context(|| format!("creating {}", names::RUN))?;
    for (name, wanted) in SETTINGS {
        let path = setting_path(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let before: u64 = text
            .trim()
            .parse()
            .with_context(|| format!("{name} is `{text}`"))?;
        if before >= wanted {
            continue;
        }
        let memory = remembered_path(name);
        if !memory.exists() {
            fs::write(&memory, before.to_string())
                .with_context(|| format!("writing {}", memory.display()))?;
        }
        fs::write(&path, wanted.to_string()).with_context(|| format!("setting {name}"))?;
    }
    Ok(())
}

/// Puts the kernel settings back.
pub fn restore_settings() -> Result<()> {
    for (name, _) in SETTINGS {
        let memory = remembered_path(name);
        if let Ok(before) = fs::read_to_string(&memory) {
            fs::write(setting_path(name), before).with_context(|| format!("restoring {name}"))?;
            fs::remove_file(&memory).with_context(|| format!("removing {}", memory.display()))?;
        }
    }
    Ok(())
}

fn setting_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn remembered_path(name: &str) -> PathBuf {
    Path::new(names::RUN).join(format!("setting-{}", name.replace('/', ".")))
}

/// Named network namespaces of the lab that exist.
pub fn namespaces() -> Vec<String> {
    let entries = fs::read_dir(names::NETNS).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| names::is_ours(name))
        .collect();
    found.sort();
    found
}

/// Makes a network namespace if there is none of this name.
pub fn ensure_namespace(name: &str) -> Result<()> {
    if !names::namespace_path(name).exists() {
        // `ip` mounts the directory onto itself for the first namespace of a machine.
        if mounts_below(Path::new(names::NETNS))?.is_empty() {
            fs::write(netns_mount_memory(), "").context("remembering the namespaces' mount")?;
        }
        Tool::new("ip", ["netns", "add", name]).run()?;
    }
    Ok(())
}

/// Removes a network namespace, if it exists.
pub fn delete_namespace(name: &str) -> Result<()> {
    if names::namespace_path(name).exists() {
        Tool::new("ip", ["netns", "delete", name]).run()?;
    }
    Ok(())
}

/// Undoes the mount that the first of the lab's namespaces brought, if no other is left.
pub fn release_namespaces() -> Result<()> {
    let memory = netns_mount_memory();
    let empty = fs::read_dir(names::NETNS).is_ok_and(|mut entries| entries.next().is_none());
    if memory.exists() && empty {
        for mount in mounts_below(Path::new(names::NETNS))? {
            Tool::new("umount", [&mount]).run()?;
        }
    }
    Ok(())
}

fn netns_mount_memory() -> PathBuf {
    Path::new(names::RUN).join("made-netns-mount")
}

/// Runs a batch of `ip` commands in a namespace.
pub fn ip_batch(namespace: &str, batch: String) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let shown = batch.clone();
    Tool::new("ip", ["-n", namespace, "-batch", "-"])
        .stdin(batch)
        .run()
        .with_context(|| format!("wiring {namespace} with\n{shown}"))?;
    Ok(())
}

/// Names of the links in a namespace.
pub fn links(namespace: &str) -> Result<BTreeSet<String>> {
    let text = Tool::new("ip", ["-n", namespace, "-json", "link", "show"]).run()?;
    let links: Vec<Value> = serde_json::from_str(&text).context("reading the list of links")?;
    Ok(links
        .iter()
        .filter_map(|link| Some(link.get("ifname")?.as_str()?.to_owned()))
        .collect())
}

/// Makes the bridges and the clients, whatever of them is missing.
pub fn build_fabric(topology: &Topology) -> Result<()> {
    ensure_namespace(FABRIC)?;
    ip_batch(FABRIC, wiring::bridges(topology, &links(FABRIC)?))?;
    for network in &topology.networks {
        for client in &network.clients {
            ensure_namespace(&client.namespace)?;
            let existing = links(FABRIC)?;
            ip_batch(FABRIC, wiring::plug_client(network, client, &existing))?;
            ip_batch(&client.namespace, wiring::client_address(network, client))?;
        }
    }
    Ok(())
}

/// Lays the console cable of a node with a kernel of its own: on no bridge, link-local addresses
/// only.
pub fn plug_console(node: &Node) -> Result<()> {
    if links(FABRIC)?.contains(&console::console_port(node)) {
        return Ok(());
    }
    ip_batch(FABRIC, wiring::plug_console(node))
}

/// Gives a node fresh interfaces, as a machine that powers on has.
pub fn plug_node(topology: &Topology, node: &Node) -> Result<()> {
    unplug_node(node)?;
    if !has_own_kernel(node.engine) {
        ensure_namespace(&node.namespace())?;
    }
    ip_batch(FABRIC, wiring::plug_node(topology, node))
}

/// Pulls a node's cables and forgets its interfaces, addresses and firewall rules.
pub fn unplug_node(node: &Node) -> Result<()> {
    pull_cables(node)?;
    delete_namespace(&node.namespace())
}

/// Takes the carrier from a node's interfaces, or brings it back.
pub fn set_carrier(node: &Node, there: bool) -> Result<()> {
    ip_batch(FABRIC, wiring::carrier(node, there))
}

/// Pulls a node's cables.
pub fn pull_cables(node: &Node) -> Result<()> {
    if !names::namespace_path(FABRIC).exists() {
        return Ok(());
    }
    ip_batch(FABRIC, wiring::unplug_node(node, &links(FABRIC)?))
}

/// Loads rules into the fabric's firewall, all or nothing.
pub fn load_rules(rules: String) -> Result<()> {
    let path = names::namespace_path(FABRIC);
    let namespace = format!("--net={}", path.display());
    Tool::new("nsenter", [namespace.as_str(), "nft", "-f", "-"])
        .stdin(rules)
        .run()?;
    Ok(())
}
