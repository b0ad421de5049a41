//! A site that shell scripts built (`lab/plain/site.sh`) is taken over while it serves.
//!
//! | module | about |
//! |---|---|
//! | [`under_load`] | nothing is felt of hamesh beside it, and little of the take-over |
//! | [`interrupted`] | whoever is killed meanwhile, it goes on |
//! | [`databases`] | a cluster that was built by hand (`lab/plain/database.sh`) is only looked at |

pub mod databases;
pub mod interrupted;
pub mod under_load;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::World;
use crate::lab::Lab;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// Its document: what hamesh is to make of it.
const SITE: &str = "lab/sites/plain.yaml";
/// Builds it.
const SCRIPT: &str = "lab/plain/site.sh";
/// The proxies in the order in which they are taken over, those that stand by first.
const INNER: [&str; 2] = ["haproxy-int-2", "haproxy-int-1"];
const OUTER: [&str; 2] = ["haproxy-ext-2", "haproxy-ext-1"];
const PAGE: &str = "https://192.168.30.130/";
const WEB: [&str; 3] = ["node-1", "node-2", "node-3"];

/// Boots the machines and has the script build the site on them.
pub fn build(lab: &Lab) -> Result<()> {
    lab.must(["up", SITE, "--bare"])?;
    let pem = certificate()?;
    let run = |node: &str, words: &str| -> Result<()> {
        lab.must(["push", node, SCRIPT, "/root/site.sh"])?;
        let script = format!("bash /root/site.sh {words}");
        lab.sh(node, &script).map(drop)
    };
    for node in WEB {
        run(node, "web")?;
    }
    // The better of each pair comes up first and holds.
    for (n, node) in ["101", "100"].into_iter().zip(INNER.iter().rev()) {
        run(node, &format!("internal {n}"))?;
    }
    for (n, node) in ["101", "100"].into_iter().zip(OUTER.iter().rev()) {
        lab.sh(node, &format!("cat > /root/www.pem <<'END'\n{pem}END"))?;
        run(node, &format!("edge {n}"))?;
    }
    until("the site serves as its scripts built it", PATIENCE, || {
        let page = [
            "client",
            "--",
            "curl",
            "-sfkm",
            "2",
            "-o",
            "/dev/null",
            PAGE,
        ];
        lab.must(page).map(drop)
    })
}

/// A certificate that somebody made by hand, and its key.
fn certificate() -> Result<String> {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
                 -subj /CN=www.thirteen.test -keyout /dev/stdout -out /dev/stdout";
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .output();
    let output = output.context("cannot run openssl (package openssl)")?;
    ensure!(
        output.status.success(),
        "openssl ended with {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs hamesh beside it, as `hamesh-lab up` does on any site.
fn enrol(world: &World) -> Result<()> {
    world.site.lab.must(["up", SITE]).map(drop)
}

/// What a proxy serves with: its files and addresses, and how its services are.
fn state(site: &Site, node: &str) -> Result<String> {
    let look = "find /etc/haproxy /etc/keepalived /etc/nftables.conf -type f | sort | \
                xargs sha256sum; \
                ip -4 -o address | awk '{ print $2, $4 }'; \
                systemctl show -p ActiveState -p InvocationID haproxy keepalived; \
                systemctl is-enabled haproxy keepalived || :";
    site.sh(node, look)
}

/// Fails unless keepalived is off on a proxy, now and at boot.
fn retired(site: &Site, node: &str) -> Result<()> {
    let is = "systemctl is-active keepalived || :; systemctl is-enabled keepalived || :";
    let is = site.sh(node, is)?;
    ensure!(is == "inactive\ndisabled\n", "keepalived on {node} is {is}");
    Ok(())
}

/// Waits until exactly one of a pair holds a claim, and the address is on that one alone.
fn held_once(site: &Site, claim: &str, ip: &str, nodes: [&str; 2]) -> Result<()> {
    until(&format!("one of {nodes:?} holds {claim}"), PATIENCE, || {
        let mut on = Vec::new();
        for node in nodes {
            let addresses = site.sh(node, "ip -4 -o address")?;
            if addresses.contains(&format!(" {ip}/")) {
                on.push(node);
            }
        }
        let [only] = on.as_slice() else {
            anyhow::bail!("{ip} is on {on:?}");
        };
        let part = site.part(only, claim)?;
        ensure!(crate::site::holds(&part), "{only} is {part}");
        Ok(())
    })
}
