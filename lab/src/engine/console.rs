//! The way into a node with a kernel of its own: a console cable that is no part of the site.
//!
//! A tap of its own per node, on no bridge, with link-local addresses only, where an sshd of the
//! lab listens with a key made by the lab. A test that cuts the site's networks can still look.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use crate::names::{self, CACHE};
use crate::topology::Node;

/// The node's end of its console cable.
pub const INSIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The lab's end.
pub const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The exit status by which ssh says that it did not get through.
pub const LOST: i32 = 255;

const SSHD: &str = "\
# The lab's way in. It listens on the console only, so port 22 of the site stays free.
ListenAddress fe80::2%console0
AuthorizedKeysFile /etc/ssh/hamesh-lab.keys
PermitRootLogin prohibit-password
PasswordAuthentication no
HostKey /etc/ssh/ssh_host_ed25519_key
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
ExecStartPre=/bin/sh -c 'until ip address show to fe80::2 | grep -q .; do sleep 0.1; done'
ExecStart=/usr/sbin/sshd -D -f /etc/ssh/hamesh-lab.conf
Restart=always
RestartSec=200ms

[Install]
WantedBy=multi-user.target
";

/// Files of the base image that the console needs.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("etc/ssh/hamesh-lab.conf", SSHD.to_owned()),
        (
            "etc/systemd/system/hamesh-lab-console.service",
            CONSOLE_UNIT.to_owned(),
        ),
    ]
}

/// Files of one node's disk that the console needs: its interface and its key.
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

/// Hardware address of the console interface.
pub fn console_mac(node: &Node) -> String {
    format!(
        "02:68:61:ff:{:02x}:{:02x}",
        node.index >> 8,
        node.index & 0xff
    )
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
        "ConnectTimeout=20",
        "BatchMode=yes",
        // The default, made to withstand quantum computers, takes an emulated one half a second.
        "KexAlgorithms=curve25519-sha256",
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
