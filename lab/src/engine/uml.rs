//! Nodes under User-Mode Linux: a kernel of their own, run as processes of the host.
//!
//! Slower to boot than a container, but it has what the host's kernel may lack (DRBD, LVM, netem,
//! an NFS server), and freezing it is a true pause of a whole machine: its kernel answers nobody.
//! Its clock is read from the host's, so when it thaws it has gone on, as in a VM whose hypervisor
//! sets the clock right.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::engine::console::{console_mac, console_port};
use crate::names::{self, POOL_IN_NODE, RUN};
use crate::topology::Node;

/// The kernel, as Debian's package names it.
pub const PROGRAM: &str = "linux.uml";
/// On a reboot the kernel executes its own first argument, with its taps still open and so of no
/// use. It is given this script instead, and the lab boots it anew.
pub const REBOOT_MARKER: &str = "#!/bin/sh\nexit 133\n";

/// Memory of a node that names none, in MiB.
const MEMORY_MIB: u32 = 256;
/// Files of the base image that only this engine needs.
pub fn files() -> Vec<(&'static str, String)> {
    let pool = names::pool_dir();
    let fstab = format!(
        "/dev/ubda / ext4 noatime 0 1\nnone {POOL_IN_NODE} hostfs ro,nofail,{} 0 0\n",
        pool.display()
    );
    vec![("etc/fstab", fstab)]
}

/// Where the kernel keeps its management socket.
pub fn umid_dir() -> PathBuf {
    Path::new(RUN).join("uml")
}

/// The arguments with which a node's kernel starts.
pub fn arguments(node: &Node) -> Vec<OsString> {
    let disk = names::disk_image(&node.name);
    let mut arguments = vec![
        format!("mem={}M", node.memory_mib.unwrap_or(MEMORY_MIB)),
        format!("uml_dir={}/", umid_dir().display()),
        format!("umid={}", node.name),
        format!("ubd0={}", disk.display()),
        "root=/dev/ubda".to_owned(),
        "rw".to_owned(),
        "con=null".to_owned(),
        "con0=null,fd:1".to_owned(),
        "ssl=null".to_owned(),
        "quiet".to_owned(),
        "systemd.show_status=0".to_owned(),
    ];
    let ports = node
        .nics
        .iter()
        .map(|nic| (nic.port.clone(), nic.mac.clone()));
    let console = std::iter::once((console_port(node), console_mac(node)));
    for (slot, (port, mac)) in ports.chain(console).enumerate() {
        // Without gro a stream crawls at 3 Mbit/s.
        arguments.push(format!(
            "vec{slot}:transport=tap,ifname={port},depth=128,gro=1,mac={mac}"
        ));
    }
    arguments.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::small;

    #[test]
    fn a_kernel_gets_its_interfaces_in_order_and_the_console_last() {
        let topology = small();
        let node = topology.node("nas-1").expect("the node");
        let arguments = arguments(node);
        let vec: Vec<_> = arguments
            .iter()
            .filter_map(|argument| argument.to_str())
            .filter(|argument| argument.starts_with("vec"))
            .collect();
        assert_eq!(
            vec,
            [
                "vec0:transport=tap,ifname=n2-0,depth=128,gro=1,mac=02:68:61:00:02:00",
                "vec1:transport=tap,ifname=k2,depth=128,gro=1,mac=02:68:61:ff:00:02",
            ]
        );
        assert!(arguments.iter().any(|argument| argument == "mem=512M"));
    }

    #[test]
    fn a_reboot_ends_with_the_status_that_boots_again() {
        let status = crate::engine::REBOOT;
        assert!(REBOOT_MARKER.ends_with(&format!("exit {status}\n")));
    }
}
