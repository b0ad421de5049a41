//! Every name and path that the lab creates, in one place.
//!
//! All of them begin with [`PREFIX`], so that `down` finds what a killed lab left behind by looking
//! at the machine, not at a record of what was intended.

use std::path::PathBuf;

/// First part of the name of everything the lab makes.
pub const PREFIX: &str = "hamesh-lab";
/// Disks of the nodes, the site in use, the faults in force. Removed by `down`.
pub const STATE: &str = "/var/lib/hamesh-lab";
/// Remembered host settings and sockets. Removed by `down`.
pub const RUN: &str = "/run/hamesh-lab";
/// Base images and the package pool. Kept by `down`, removed by `down --purge`.
pub const CACHE: &str = "/var/cache/hamesh-lab";
/// Where a node sees the package pool.
pub const POOL_IN_NODE: &str = "/srv/hamesh-pool";
/// Where `ip` keeps named network namespaces.
pub const NETNS: &str = "/run/netns";

const NODE_GROUP: &str = "node-";

/// The namespace that holds the bridges: the site's switches.
pub const FABRIC: &str = PREFIX;

/// Network namespace of a node.
pub fn node_namespace(node: &str) -> String {
    format!("{PREFIX}-node-{node}")
}

/// One of the two clients of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// The one that is meant where nothing else is said.
    First,
    /// The other.
    Second,
}

impl Seat {
    /// What commands and faults call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "client",
            Self::Second => "client2",
        }
    }
}

/// Network namespace of a client on a network.
pub fn client_namespace(seat: Seat, network: &str) -> String {
    format!("{PREFIX}-{}-{network}", seat.name())
}

/// Path of a named network namespace.
pub fn namespace_path(namespace: &str) -> PathBuf {
    PathBuf::from(NETNS).join(namespace)
}

/// Whether a network namespace is one of the lab's.
pub fn is_ours(namespace: &str) -> bool {
    namespace == PREFIX || namespace.starts_with("hamesh-lab-")
}

/// Name under which nspawn keeps a node's lock and propagation directory: by index, because a
/// machine name is at most 64 bytes long and a node's name may have 63.
pub fn machine(index: usize) -> String {
    format!("{PREFIX}-{index}")
}

/// Control group of a node's processes, below the lab's own.
pub fn node_group(node: &str) -> String {
    format!("{NODE_GROUP}{node}")
}

/// Control group of the relay of a forwarded port.
pub fn forward_group(port: u16) -> String {
    format!("forward-{port}")
}

/// Control group of commands run from a client.
pub const CLIENT_GROUP: &str = "client";
/// Control group of long work on the host (image building).
pub const WORK_GROUP: &str = "work";

/// Where everything of one node lies.
pub fn node_dir(node: &str) -> PathBuf {
    PathBuf::from(STATE).join("nodes").join(node)
}

/// The changed part of an nspawn node's file system.
pub fn upper_dir(node: &str) -> PathBuf {
    node_dir(node).join("upper")
}

/// Work directory that overlayfs asks for.
pub fn work_dir(node: &str) -> PathBuf {
    node_dir(node).join("work")
}

/// Mount point of a node's whole file system.
pub fn root_dir(node: &str) -> PathBuf {
    node_dir(node).join("root")
}

/// What the node printed on its console, all boots.
pub fn console_log(node: &str) -> PathBuf {
    node_dir(node).join("console.log")
}

/// The disk of a node with a kernel of its own.
pub fn disk_image(node: &str) -> PathBuf {
    node_dir(node).join("disk.ext4")
}

/// The site that is up.
pub fn site_file() -> PathBuf {
    PathBuf::from(STATE).join("site.yaml")
}

/// The faults in force.
pub fn faults_file() -> PathBuf {
    PathBuf::from(STATE).join("faults.json")
}

/// The local apt repository of the nodes.
pub fn pool_dir() -> PathBuf {
    PathBuf::from(CACHE).join("pool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labs_own_namespaces_are_taken_for_the_labs() {
        assert!(is_ours(FABRIC));
        assert!(is_ours(&node_namespace("node-1")));
        assert!(is_ours(&client_namespace(Seat::Second, "untrust")));
        assert!(!is_ours("hamesh-laboratory"));
        assert!(!is_ours("somebody-else"));
    }

    #[test]
    fn a_machine_name_fits_however_long_the_nodes_name_is() {
        assert!(machine(199).len() <= 64);
    }
}
