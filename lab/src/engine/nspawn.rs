//! Nodes as systemd-nspawn containers: a whole Debian on the host's kernel, booted in 5 seconds.
//!
//! What a container cannot show: its clock is the host's (so it may not set it), a frozen node's
//! kernel still answers ARP and acknowledges TCP, and sysctls outside its network namespace are the
//! host's. Nodes that need more have a kernel of their own.

use std::ffi::OsString;
use std::path::Path;

use crate::names;
use crate::topology::Node;

/// Beyond nspawn's defaults: networking, locked memory for what must not be swapped out, and
/// debugging. Not the clock and not kernel modules: those are the host's.
const CAPABILITIES: &str = "CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_SYS_PTRACE,CAP_SYSLOG,CAP_BPF";

/// Environment that tells nspawn which control groups to give.
pub const HIERARCHY: &str = "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY";

/// The arguments with which systemd-nspawn boots a node.
pub fn arguments(node: &Node, pool: Option<&Path>) -> Vec<OsString> {
    let namespace = names::namespace_path(&node.namespace());
    let mut arguments = vec![
        "--quiet".to_owned(),
        "--register=no".to_owned(),
        "--keep-unit".to_owned(),
        "--boot".to_owned(),
        "--console=passive".to_owned(),
        format!("--directory={}", names::root_dir(&node.name).display()),
        format!("--machine={}", names::machine(node.index)),
        format!("--hostname={}", node.name),
        format!("--network-namespace-path={}", namespace.display()),
        "--kill-signal=SIGRTMIN+3".to_owned(),
        "--link-journal=no".to_owned(),
        "--resolv-conf=off".to_owned(),
        "--timezone=off".to_owned(),
        format!("--capability={CAPABILITIES}"),
    ];
    if let Some(pool) = pool {
        arguments.push(format!(
            "--bind-ro={}:{}",
            pool.display(),
            names::POOL_IN_NODE
        ));
    }
    arguments.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::small;

    #[test]
    fn a_node_boots_in_its_own_namespace_under_its_own_name() {
        let topology = small();
        let node = topology.node("control-1").expect("the node");
        let arguments = arguments(node, Some(Path::new("/pool")));
        for wanted in [
            "--hostname=control-1",
            "--network-namespace-path=/run/netns/hamesh-lab-node-control-1",
            "--bind-ro=/pool:/srv/hamesh-pool",
        ] {
            assert!(
                arguments.iter().any(|argument| argument == wanted),
                "{wanted}"
            );
        }
    }
}
