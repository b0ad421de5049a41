//! The leader in the lab: brought up, grown by the agents' document, weighed, and taken down.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hamesh_proto::token::EnrolmentToken;
use serde_json::Value;

use super::layout::{AGENTS_CIDR, COORDINATOR, COORDINATOR_ADDRESS, NETWORK, SITE_FILE, name};
use crate::lab::Lab;
use crate::vip::idle::{Look, look};
use crate::vip::record::Weight;

/// The unit of the coordinator, and that of its etcd.
const UNITS: [&str; 2] = ["hamesh-coordinator", "hamesh-store"];
/// Where the document is on the coordinator's VM.
const DOCUMENT: &str = "/root/scale.yaml";

/// One leader, taken down when dropped.
#[derive(Debug)]
pub struct Leader<'a>(&'a Lab);

/// Both daemons at one moment.
#[derive(Debug)]
pub struct Scales {
    at: Instant,
    looks: [Look; 2],
    dropped: u64,
}

/// Both daemons between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights {
    /// The coordinator.
    pub leader: Weight,
    /// Its etcd.
    pub store: Weight,
    /// Datagrams that found no room in a socket.
    pub dropped: u64,
    /// How long it was.
    pub seconds: f64,
}

impl<'a> Leader<'a> {
    /// Brings a fresh one up, that knows the way to the agents' addresses.
    ///
    /// # Errors
    /// The lab cannot.
    pub fn up(lab: &'a Lab) -> Result<Self> {
        let leader = Self(lab);
        lab.must(["up", SITE_FILE])?;
        // The only agent that gossips would call all the others dead.
        leader.sh("systemctl stop hamesh-agent")?;
        ip(
            &client(),
            &["route", "replace", "local", AGENTS_CIDR, "dev", "lo"],
        )?;
        let via = own_address(&client())?;
        let node = format!("hamesh-lab-node-{COORDINATOR}");
        ip(&node, &["route", "replace", AGENTS_CIDR, "via", &via])?;
        Ok(leader)
    }

    /// The agents' network namespace.
    pub fn namespace() -> PathBuf {
        PathBuf::from("/run/netns").join(client())
    }

    /// Has connections to the leader that are made from now on come from this address.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn dial_from(address: Ipv4Addr) -> Result<()> {
        let (to, from) = (COORDINATOR_ADDRESS.to_string(), address.to_string());
        let route = ["route", "replace", &to, "dev", "eth0", "src", &from];
        ip(&client(), &route)
    }

    /// Applies a document.
    ///
    /// # Errors
    /// The coordinator does not take it.
    pub fn apply(&self, document: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new().context("a file for the document")?;
        std::io::Write::write_all(&mut file, document.as_bytes()).context("the document")?;
        let path = file.path().display().to_string();
        self.0.must(["push", COORDINATOR, &path, DOCUMENT])?;
        self.sh(&format!("coordctl apply --file {DOCUMENT} --yes"))?;
        Ok(())
    }

    /// Makes a token for each of so many agents.
    ///
    /// # Errors
    /// The coordinator does not.
    pub fn tokens(&self, agents: u32) -> Result<Vec<EnrolmentToken>> {
        let names: Vec<String> = (0..agents).map(name).collect();
        let script = format!(
            "for node in {}; do coordctl token create $node --output json; done",
            names.join(" ")
        );
        let text = self.sh(&script)?;
        let made = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let tokens = made.map(|made| {
            let made = made.context("reading what `coordctl token create` printed")?;
            let token = made["token"].as_str().context("no token was printed")?;
            token.parse().context("a token that cannot be read")
        });
        let tokens: Vec<EnrolmentToken> = tokens.collect::<Result<_>>()?;
        ensure!(tokens.len() == names.len(), "not every agent has a token");
        Ok(tokens)
    }

    /// Weighs both daemons now.
    ///
    /// # Errors
    /// They do not run.
    pub fn weigh(&self) -> Result<Scales> {
        let looks = UNITS.map(|unit| look(self.0, COORDINATOR, unit));
        let at = Instant::now();
        let [leader, store] = looks;
        let dropped = receive_errors(&self.sh("cat /proc/net/snmp")?)?;
        Ok(Scales {
            at,
            looks: [leader?, store?],
            dropped,
        })
    }

    fn sh(&self, script: &str) -> Result<String> {
        self.0.sh(COORDINATOR, script)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.must(["down"]) {
            eprintln!("the lab is not down; `hamesh-lab down` does it: {error:#}");
        }
    }
}

impl Scales {
    /// What came since an earlier moment.
    pub fn since(&self, before: &Self) -> Weights {
        let time: Duration = self.at - before.at;
        let [leader, store] = [0, 1].map(|i| self.looks[i].since(&before.looks[i], time));
        Weights {
            leader,
            store,
            dropped: self.dropped.saturating_sub(before.dropped),
            seconds: time.as_secs_f64(),
        }
    }
}

fn client() -> String {
    format!("hamesh-lab-client-{NETWORK}")
}

/// The address of a client of the lab.
fn own_address(namespace: &str) -> Result<String> {
    let text = output(
        namespace,
        &["-4", "-json", "address", "show", "dev", "eth0"],
    )?;
    let links: Value = serde_json::from_str(&text).context("reading addresses")?;
    let address = links[0]["addr_info"][0]["local"].as_str();
    Ok(address
        .context("the lab's client has no address")?
        .to_owned())
}

fn ip(namespace: &str, words: &[&str]) -> Result<()> {
    output(namespace, words).map(drop)
}

fn output(namespace: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    let output = command.args(["-netns", namespace]).args(words).output();
    let output = output.context("running ip (Debian's iproute2)")?;
    ensure!(
        output.status.success(),
        "ip -netns {namespace} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// UDP datagrams that found no room in a socket, of `/proc/net/snmp`.
fn receive_errors(snmp: &str) -> Result<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).context("no `Udp:` in /proc/net/snmp")?;
    let mut columns = names.split(' ').zip(values.split(' '));
    let found = columns.find(|(name, _)| *name == "RcvbufErrors");
    let (_, value) = found.context("no `RcvbufErrors` in /proc/net/snmp")?;
    value.parse().context("a count in /proc/net/snmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_datagrams_are_read_by_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams \
                    RcvbufErrors\nUdp: 10 2 7 20 5\nUdpLite: InDatagrams\nUdpLite: 0\n";
        assert_eq!(receive_errors(snmp).expect("a count"), 5);
        assert!(receive_errors("Ip: 1\n").is_err());
    }

    #[test]
    fn the_names_of_namespaces_are_those_of_the_lab() {
        let path = crate::tidy::root().join(SITE_FILE);
        let here = std::fs::read_to_string(path).expect("the site file");
        assert!(here.contains(&format!("{NETWORK}: ")) && here.contains(COORDINATOR));
    }
}
