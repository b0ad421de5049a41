//! What served before hamesh on a node, as far as it stands in the way of a role.
//!
//! Which traces there may be is known by role; how they are looked for is the executor's matter.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::engine::{Command, Resource};
use crate::role::Role;

/// What may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traces {
    /// The unit that holds and moves addresses by itself.
    pub mover: &'static str,
    /// Its configuration.
    pub config: &'static str,
    /// Where files are that programs of the role read beside its own: a folder, and how their
    /// names end.
    pub beside: &'static [(&'static str, &'static str)],
}

/// What was found of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether the mover runs, and starts at boot.
    pub mover: (bool, bool),
    /// Its configuration; `None`: there is none.
    pub config: Option<String>,
    /// The interfaces on which addresses are that hamesh does not hold.
    pub on: BTreeMap<IpAddr, String>,
    /// Files beside those of the role.
    pub beside: Vec<String>,
    /// Tables of nftables that are not of hamesh: "ip filter".
    pub tables: Vec<String>,
    /// What could not be looked at, and why.
    pub unknown: Vec<String>,
}

const PROXY: Traces = Traces {
    mover: "keepalived.service",
    config: "/etc/keepalived/keepalived.conf",
    beside: &[
        ("/etc/haproxy", ".cfg"),
        ("/etc/haproxy/conf.d", ".cfg"),
        ("/etc/systemd/system/haproxy.service.d", ".conf"),
        ("/etc/systemd/system", "/haproxy.service"),
    ],
};

impl Traces {
    /// Those that there may be of a role.
    pub fn of(role: Role) -> Option<&'static Self> {
        match role {
            Role::EdgeProxy | Role::InternalProxy => Some(&PROXY),
            Role::K8sControl | Role::K8sWorker | Role::Database => None,
        }
    }

    /// What stops the mover, and keeps it stopped. Its package and configuration stay: they are
    /// the way back.
    pub fn retired(&self) -> Resource {
        let mover = self.mover;
        let shell = |text: String| vec!["sh".to_owned(), "-c".to_owned(), text];
        Resource::Command(Command {
            name: format!("retire {mover}"),
            argv: ["systemctl", "disable", "--now", mover]
                .map(str::to_owned)
                .to_vec(),
            unless: shell(format!(
                "! systemctl is-active --quiet {mover} && ! systemctl is-enabled --quiet {mover}"
            )),
            // With hamesh elsewhere in the site it would be a second holder.
            undo: Vec::new(),
        })
    }

    /// What stands in the way, for people.
    pub fn in_the_way(&self, found: &Found) -> Vec<String> {
        let mover = self.mover;
        let running = match found.mover {
            (true, true) => Some("runs and starts at boot"),
            (true, false) => Some("runs"),
            (false, true) => Some("starts at boot"),
            (false, false) => None,
        };
        let running = running.map(|is| {
            format!("unit {mover} {is}: it is stopped and disabled last, and its package stays")
        });
        let on = found.on.iter().map(|(ip, interface)| {
            format!("address {ip} is on {interface}, by no doing of hamesh: it is taken over there")
        });
        let beside = found.beside.iter().map(|path| {
            format!("file {path} is not of the role: it stays; see that nothing reads it")
        });
        let tables = found.tables.iter().map(|table| {
            format!("table {table} is not of hamesh: it stays, and packets must pass it, too")
        });
        let unknown = found
            .unknown
            .iter()
            .map(|why| format!("could not look: {why}"));
        running
            .into_iter()
            .chain(on)
            .chain(beside)
            .chain(tables)
            .chain(unknown)
            .collect()
    }

    /// Addresses of the mover that the document does not know: they go with it.
    pub fn unheld(&self, found: &Found, known: &[IpAddr]) -> Vec<String> {
        let named = found.config.iter().flat_map(|text| addresses(text));
        let unheld = named.filter(|ip| !known.contains(ip));
        unheld
            .map(|ip| {
                format!(
                    "{}: address {ip} is none of the role in the document: nobody holds it once {} \
                     is stopped",
                    self.config, self.mover
                )
            })
            .collect()
    }
}

/// The addresses that a configuration of keepalived moves.
fn addresses(text: &str) -> Vec<IpAddr> {
    let code = text
        .lines()
        .map(|line| line.split(['!', '#']).next().unwrap_or_default());
    let code: Vec<String> = code
        .map(|line| line.replace('{', " { ").replace('}', " } "))
        .collect();
    let mut found = Vec::new();
    let (mut within, mut before) = (false, "");
    for word in code.iter().flat_map(|line| line.split_whitespace()) {
        match word {
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => within = true,
            "}" => within = false,
            word if within && !matches!(before, "brd" | "broadcast") => {
                let address: Option<IpAddr> = word.split('/').next().and_then(|ip| ip.parse().ok());
                found.extend(address);
            }
            _ => {}
        }
        before = word;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
vrrp_instance inner {
    advert_int 2
    unicast_peer { 10.0.0.2 }
    virtual_ipaddress {
        10.0.0.100/24 brd 10.0.0.255 dev eth0   # ours
        ! 10.0.0.98
        10.0.0.99
    }
}
";

    #[test]
    fn what_stands_in_the_way_is_told_and_an_address_that_nobody_will_hold() {
        let ip: IpAddr = "10.0.0.100".parse().expect("an address");
        let found = Found {
            mover: (true, true),
            config: Some(CONFIG.to_owned()),
            on: BTreeMap::from([(ip, "eth0".to_owned())]),
            beside: vec!["/etc/haproxy/old.cfg".to_owned()],
            tables: vec!["ip filter".to_owned()],
            unknown: Vec::new(),
        };
        let told = PROXY.in_the_way(&found).join("\n");
        for part in [
            "keepalived.service runs and starts",
            "10.0.0.100 is on eth0",
            "old.cfg",
            "table ip filter",
        ] {
            assert!(told.contains(part), "{told}");
        }
        let unheld = PROXY.unheld(&found, &[ip]);
        assert_eq!(unheld.len(), 1, "{unheld:?}");
        assert!(unheld[0].contains("address 10.0.0.99 "), "{unheld:?}");
        assert_eq!(PROXY.in_the_way(&Found::default()), [""; 0]);
    }
}
