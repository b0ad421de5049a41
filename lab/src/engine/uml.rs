//! Nodes under User-Mode Linux: a kernel of their own, run as processes of the host.
//!
//! Slower to boot than a container, but it has what the host's kernel may lack (DRBD, LVM, netem,
//! an NFS server), and freezing it is a true pause of a whole machine: its kernel answers nobody.
//! Its clock is read from the host's, so when it thaws it has gone on, as in a VM whose hypervisor
//! sets the clock right.
//!
//! The lab gets in over a console cable that is no part of the site: a tap of its own per node, on
//! no bridge, with link-local addresses only and a key made by the lab.

use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use crate::names::{self, CACHE, POOL_IN_NODE, RUN};
use crate::topology::Node;

/// The kernel, as Debian's package names it.
pub const PROGRAM: &str = "linux.uml";
/// On a reboot the kernel executes its own first argument, with its taps still open and so of no
/// use. It is given this script instead, and the lab boots it anew.
pub const REBOOT_MARKER: &str = "#!/bin/sh\nexit 133\n";

/// Memory of a node that names none, in MiB.
const MEMORY_MIB: u32 = 256;
/// The node's end of its console cable.
pub const INSIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The lab's end.
pub const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const SSHD: &str = "\
# The lab's way in. It listens on the console only, so port 22 of the site stays free.
ListenAddress fe80::2%console0
AuthorizedKeysFile /etc/ssh/hamesh-lab.keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PidFile none
StrictModes no
AcceptEnv TERM
";

const CONSOLE_UNIT: &str = "\
[Unit]
Description=Console access for the lab
After=systemd-networkd-wait-online.service
DefaultDependencies=no

[Service]
ExecStartPre=/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D -f /etc/ssh/hamesh-lab.conf
Restart=always
RestartSec=200ms

[Install]
WantedBy=multi-user.target
";

/// Files of the base image that only this engine needs.
pub fn files() -> Vec<(&'static str, String)> {
    let pool = names::pool_dir();
    let fstab = format!(
        "/dev/ubda / ext4 noatime 0 1\nnone {POOL_IN_NODE} hostfs ro,nofail,{} 0 0\n",
        pool.display()
    );
    vec![
        ("etc/fstab", fstab),
        ("etc/ssh/hamesh-lab.conf", SSHD.to_owned()),
        (
            "etc/systemd/system/hamesh-lab-console.service",
            CONSOLE_UNIT.to_owned(),
        ),
    ]
}

/// Files of one node's disk that only this engine needs: its console interface and its key.
pub fn node_files(node: &Node, public_key: &str) -> Vec<(String, String)> {
    let mac = console_mac(node);
    vec![
        (
            "etc/systemd/network/05-console0.link".to_owned(),
            format!("[Match]\nMACAddress={mac}\n\n[Link]\nName=console0\n"),
        ),
        (
            "etc/systemd/network/05-console0.network".to_owned(),
            format!(
                "[Match]\nMACAddress={mac}\n\n[Network]\nLinkLocalAddressing=no\nLLDP=no\n\
                 IPv6AcceptRA=no\n\n[Address]\nAddress={INSIDE}/64\n\
                 DuplicateAddressDetection=none\n"
            ),
        ),
        ("etc/ssh/hamesh-lab.keys".to_owned(), public_key.to_owned()),
    ]
}

/// The private key of the console cable.
pub fn key() -> PathBuf {
    Path::new(CACHE).join("console-key")
}

/// The lab's end of a node's console cable.
pub fn console_port(node: &Node) -> String {
    format!("k{}", node.index)
}

/// Where the kernel keeps its management socket.
pub fn umid_dir() -> PathBuf {
    Path::new(RUN).join("uml")
}

/// Hardware address of the console interface.
fn console_mac(node: &Node) -> String {
    format!(
        "02:68:61:ff:{:02x}:{:02x}",
        node.index >> 8,
        node.index & 0xff
    )
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

/// The command that runs a program in a node over its console cable.
pub fn enter(node: &Node, command: &[String], terminal: bool) -> Vec<String> {
    let namespace = names::namespace_path(names::FABRIC);
    let words: Vec<String> = command
        .iter()
        .map(|word| crate::tool::quote(word))
        .collect();
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ConnectTimeout=5",
        "BatchMode=yes",
    ];
    let mut all = vec![
        "nsenter".to_owned(),
        format!("--net={}", namespace.display()),
        "ssh".to_owned(),
        "-F".to_owned(),
        "none".to_owned(),
        if terminal { "-t" } else { "-T" }.to_owned(),
        "-i".to_owned(),
        key().display().to_string(),
    ];
    all.extend(
        options
            .iter()
            .flat_map(|option| ["-o".to_owned(), (*option).to_owned()]),
    );
    all.push(format!("root@{INSIDE}%{}", console_port(node)));
    all.push("--".to_owned());
    all.push(words.join(" "));
    all
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

    #[test]
    fn a_commands_words_are_kept_apart_on_the_other_side() {
        let topology = small();
        let node = topology.node("nas-1").expect("the node");
        let command = ["sh".to_owned(), "-c".to_owned(), "echo 'a b'".to_owned()];
        let words = enter(node, &command, false);
        assert_eq!(
            words.last().map(String::as_str),
            Some(r"sh -c 'echo '\''a b'\'''")
        );
    }
}
