//! Each rule of the fence by itself: without any, everything passes; with one alone, what it is
//! there for does not. So none of them is dead weight, although together they overlap.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use hamesh_kernel::frames::{Form, announcement};
use hamesh_kernel::packet::Speaks;
use hamesh_kernel::ruleset::{Desired, Observed, Part};

use crate::Test;
use crate::lab::{Lab, Node, VIP4, VIP6, VIPS, claimed, until};
use crate::packets::connects;

pub const TESTS: &[(&str, Test)] = &[("every_rule_alone_stops_what_it_is_there_for", every_rule)];

/// What a node can do with an address that it must not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    AnswersArp,
    AnswersDiscovery,
    AcceptsV4,
    AcceptsV6,
    AnnouncesV4,
    AnnouncesV6,
    ProbesV6,
}

const ALL: [Deed; 7] = [
    Deed::AnswersArp,
    Deed::AnswersDiscovery,
    Deed::AcceptsV4,
    Deed::AcceptsV6,
    Deed::AnnouncesV4,
    Deed::AnnouncesV6,
    Deed::ProbesV6,
];

/// What each rule stops when it is alone, by its chain and its place in it.
fn purpose(chain: &str, place: usize) -> &'static [Deed] {
    use Deed::{
        AcceptsV4, AcceptsV6, AnnouncesV4, AnnouncesV6, AnswersArp, AnswersDiscovery, ProbesV6,
    };
    match (chain, place) {
        ("inet prerouting" | "inet input" | "inet output", 0) => &[AcceptsV4],
        ("inet prerouting" | "inet input", 1) => &[AcceptsV6],
        ("inet output", 1) => &[AnswersDiscovery, AcceptsV6],
        ("inet input" | "inet output", 2) => &[AnswersDiscovery],
        ("arp input" | "arp output", 0) => &[AnswersArp],
        ("netdev egress", 0) => &[AnswersArp, AnnouncesV4],
        ("netdev egress", 1) => &[AcceptsV4],
        ("netdev egress", 2) => &[AnswersDiscovery, AcceptsV6, AnnouncesV6],
        ("netdev egress", 3) => &[AnswersDiscovery, AnnouncesV6],
        ("netdev egress", 4) => &[ProbesV6],
        _ => &[],
    }
}

struct Rule {
    /// As `nft` wants it: family, table, chain.
    at: String,
    chain: String,
    place: usize,
    text: String,
}

fn every_rule() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.configure()?;
    for vip in VIPS {
        let entry = format!(
            "ip neigh replace {vip} lladdr {} dev br0 nud permanent",
            node.mac
        );
        lab.hub.run(&entry)?;
    }
    lab.hub.run("nft add table netdev watch")?;
    lab.hub.run(
        "nft add chain netdev watch seen { type filter hook ingress device port1 priority 0 ; }",
    )?;
    let probe = "icmpv6 type nd-neighbor-solicit ip6 saddr :: counter";
    lab.hub
        .run(&format!("nft add rule netdev watch seen {probe}"))?;
    node.load()?;
    let rules = rules(&lab)?;
    ensure!(rules.len() > 10, "only {} rules", rules.len());
    alone(node, None)?;
    for deed in ALL {
        let what = format!("without a rule, {deed:?}");
        until(&what, || succeeds(&lab, node, deed), |yes| *yes)?;
    }
    for rule in &rules {
        alone(node, Some(rule))?;
        let stopped = purpose(&rule.chain, rule.place);
        let what = format!("{} {}: {}", rule.chain, rule.place, rule.text);
        ensure!(!stopped.is_empty(), "no purpose is stated for {what}");
        for deed in stopped {
            ensure!(
                !succeeds(&lab, node, *deed)?,
                "{deed:?} succeeds with {what}"
            );
        }
    }
    Ok(())
}

/// The rules of the text, each with the chain that it stands in.
fn rules(lab: &Lab) -> Result<Vec<Rule>> {
    let devices = lab.nodes[0]
        .rtnl()?
        .interfaces()?
        .fenced(&claimed().addresses)
        .devices;
    let addresses: BTreeSet<_> = VIPS.into();
    let desired = Desired { addresses, devices };
    let text = Part::ALL
        .map(|part| desired.text(part, &Observed::default()))
        .concat();
    let (mut family, mut chain, mut place) = ("", "", 0);
    let mut rules = Vec::new();
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["table", name, ..] => family = name,
            ["chain", name, "{"] => (chain, place) = (name, 0),
            [.., "drop"] => {
                let short = chain.split('_').next().context("no name")?;
                rules.push(Rule {
                    at: format!("{family} hamesh_fence {chain}"),
                    chain: format!("{family} {short}"),
                    place,
                    text: line.to_owned(),
                });
                place += 1;
            }
            _ => {}
        }
    }
    Ok(rules)
}

fn alone(node: &Node, rule: Option<&Rule>) -> Result<()> {
    for family in ["inet", "arp", "netdev"] {
        node.namespace
            .run(&format!("nft flush table {family} hamesh_fence"))?;
    }
    if let Some(Rule { at, text, .. }) = rule {
        node.namespace.run(&format!("nft add rule {at} {text}"))?;
    }
    Ok(())
}

fn succeeds(lab: &Lab, node: &Node, deed: Deed) -> Result<bool> {
    match deed {
        Deed::AnswersArp => lab.answers(node, VIP4),
        Deed::AnswersDiscovery => lab.answers(node, VIP6),
        Deed::AcceptsV4 => connects(&lab.hub, node, VIP4),
        Deed::AcceptsV6 => connects(&lab.hub, node, VIP6),
        Deed::AnnouncesV4 => announces(lab, node, 0, Speaks::Arp),
        Deed::AnnouncesV6 => announces(lab, node, 1, Speaks::Advertisements),
        Deed::ProbesV6 => probes(lab, node),
    }
}

fn announces(lab: &Lab, node: &Node, version: usize, speaks: Speaks) -> Result<bool> {
    let socket = node.socket(speaks)?;
    lab.hear()?;
    let frame = |ip| announcement(ip, node.mac, Form::Reply, false);
    // The kernel may tell the sender that it dropped the frame; what counts is what is heard.
    let _ = socket.send(&frame(VIPS[version]));
    let own = node.own()[version];
    socket.send(&frame(own))?;
    let mut heard = Vec::new();
    until(
        "the node's own address is heard",
        || lab.hear(),
        |more| {
            heard.extend(more.clone());
            heard.iter().any(|h| h.ip == own)
        },
    )?;
    Ok(heard.iter().any(|h| h.ip == VIPS[version]))
}

/// Whether duplicate address detection for an address added by hand is heard.
fn probes(lab: &Lab, node: &Node) -> Result<bool> {
    let before = probes_seen(lab)?;
    node.namespace.run("ip addr del fd77::100/128 dev eth0")?;
    node.namespace.run("ip addr add fd77::100/128 dev eth0")?;
    let tentative = || node.namespace.run("ip -6 addr show dev eth0 tentative");
    until(
        "duplicate address detection ends",
        tentative,
        String::is_empty,
    )?;
    Ok(probes_seen(lab)? != before)
}

fn probes_seen(lab: &Lab) -> Result<String> {
    lab.hub.run("nft list chain netdev watch seen")
}
