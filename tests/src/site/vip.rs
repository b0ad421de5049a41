//! A virtual address that two nodes share: who holds it by their own word, and who answers for it.
//!
//! Whether an address answers, and how many answer, is asked from outside: by ARP from the client's
//! network.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::wait::until;
use super::{PATIENCE, Site, holds};

/// A claim with one IPv4 address, and its two members.
#[derive(Debug, Clone, Copy)]
pub struct Shared {
    /// The claim.
    pub claim: &'static str,
    /// Its address.
    pub ip: &'static str,
    /// The network of the client that asks for it.
    pub network: &'static str,
    /// Who may hold it.
    pub members: [&'static str; 2],
}

impl Shared {
    /// Waits until one member holds, the other stands by, and one answers: holder and other.
    pub fn settled(&self, site: &Site) -> Result<(&'static str, &'static str)> {
        let found = self.one_holds(site)?;
        self.one_answers(site)?;
        Ok(found)
    }

    /// The same by the members' own word alone, for an address that the client cannot ask for.
    pub fn one_holds(&self, site: &Site) -> Result<(&'static str, &'static str)> {
        let [a, b] = self.members;
        until("one holds and the other stands by", PATIENCE, || {
            let parts = (self.part(site, a)?, self.part(site, b)?);
            match (parts.0.as_str(), parts.1.as_str()) {
                ("holding", "standby") => Ok((a, b)),
                ("standby", "holding") => Ok((b, a)),
                _ => anyhow::bail!("{a} is {}, {b} is {}", parts.0, parts.1),
            }
        })
    }

    /// Waits until a node holds it and alone answers.
    pub fn until_held_by(&self, site: &Site, node: &str) -> Result<()> {
        until(&format!("{node} holds {}", self.claim), PATIENCE, || {
            self.held_by(site, node)
        })
    }

    /// Fails unless a node holds it and alone answers.
    pub fn held_by(&self, site: &Site, node: &str) -> Result<()> {
        let part = self.part(site, node)?;
        ensure!(holds(&part), "{node} is {part}");
        let answers = self.answers(site)?;
        ensure!(answers.len() == 1, "answered by {answers:?}");
        let own = site.sh(node, "ip -o link")?;
        let own = own.to_lowercase();
        ensure!(
            answers.iter().all(|mac| own.contains(mac)),
            "answered by {answers:?}, which is not {node}"
        );
        Ok(())
    }

    /// Waits until a node stands by.
    pub fn until_standby(&self, site: &Site, node: &str) -> Result<()> {
        until(&format!("{node} stands by"), PATIENCE, || {
            let part = self.part(site, node)?;
            ensure!(part == "standby", "{part}");
            Ok(())
        })
    }

    /// Waits until it is answered for; by one.
    pub fn one_answers(&self, site: &Site) -> Result<()> {
        until("the address answers", PATIENCE, || {
            let answers = self.answers(site)?;
            ensure!(!answers.is_empty(), "nobody answers");
            Ok(answers)
        })
        .and_then(|answers| {
            ensure!(answers.len() == 1, "answered by {answers:?}");
            Ok(())
        })
    }

    /// The hardware addresses that answer a few questions of the client.
    pub fn answers(&self, site: &Site) -> Result<BTreeSet<String>> {
        let ip = self.ip;
        let script = format!(
            "dev=$(ip -o route get {ip} | sed 's/.* dev \\([^ ]*\\).*/\\1/'); \
             arping -c 2 -w 1 -I \"$dev\" {ip} || true"
        );
        let client = [
            "client",
            "--network",
            self.network,
            "--",
            "sh",
            "-c",
            &script,
        ];
        let said = site.lab.must(client)?;
        let mac = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_lowercase());
        Ok(said.lines().filter_map(mac).collect())
    }

    /// A node's part in the claim, by its own word; `gone` when its agent does not answer.
    pub fn part(&self, site: &Site, node: &str) -> Result<String> {
        site.part(node, self.claim)
    }
}
