//! Addresses, events, announcements and the watch for duplicates against a real kernel.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hamesh_kernel::device::Mac;
use hamesh_kernel::duplicates::{Finding, Watch};
use hamesh_kernel::frames::{Form, announcement, probe_v4};
use hamesh_kernel::interfaces::Address;
use hamesh_kernel::packet::{PacketError, PacketSocket, Speaks};
use hamesh_kernel::rtnl::{Event, Monitor};

use crate::Test;
use crate::lab::{LONG, Lab, Node, VIP4, VIP6, VIPS, until};

pub const TESTS: &[(&str, Test)] = &[
    (
        "an_address_is_added_at_its_network_listed_and_removed",
        addresses,
    ),
    ("links_down_renamed_and_gone_are_heard_of", link_events),
    ("a_socket_on_a_gone_interface_says_so", gone_interface),
    (
        "announcements_are_what_tcpdump_says_they_are",
        decoded_by_tcpdump,
    ),
    (
        "two_nodes_that_answer_for_one_address_are_found",
        duplicate_is_found,
    ),
    ("a_holder_hears_a_rival_announce", rival_is_heard),
];

fn addresses() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut rtnl = node.rtnl()?;
    for vip in VIPS {
        let interfaces = rtnl.interfaces()?;
        let (index, link) = interfaces.home(vip).context("no home")?;
        ensure!(
            (index, link.name.as_str()) == (node.index, "eth0"),
            "{link:?}"
        );
        ensure!(
            link.mac == Some(node.mac) && link.up && link.pair,
            "{link:?}"
        );
        rtnl.add(vip, index)?;
        rtnl.add(vip, index)?;
        let interfaces = rtnl.interfaces()?;
        let all: Vec<Address> = interfaces.carrying(vip).copied().collect();
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        ensure!(
            all == [Address {
                index,
                ip: vip,
                prefix
            }],
            "{all:?}"
        );
    }
    let shown = node.namespace.run("ip -6 addr show dev eth0")?;
    let line = shown.lines().find(|l| l.contains("fd77::100/128"));
    let line = line.with_context(|| shown.clone())?;
    ensure!(
        line.contains("deprecated") && line.contains("nodad"),
        "{line}"
    );
    ensure!(
        !line.contains("tentative"),
        "duplicate address detection holds it up: {line}"
    );
    for vip in VIPS {
        let interfaces = rtnl.interfaces()?;
        let address = *interfaces.carrying(vip).next().context("it is there")?;
        ensure!(rtnl.remove(address)?);
        ensure!(!rtnl.remove(address)?, "removed twice");
        ensure!(rtnl.interfaces()?.carrying(vip).next().is_none());
    }
    ensure!(
        rtnl.add(VIP4, 4711).is_err(),
        "an interface that is not there"
    );
    Ok(())
}

fn link_events() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut monitor = node.namespace.within(|| Ok(Monitor::open()?))?;
    let mut expect = |what: &str, wanted: &dyn Fn(&Event) -> bool| {
        let seen = until(
            what,
            || Ok(monitor.events()?),
            |seen| seen.iter().any(wanted),
        );
        seen.map(drop)
    };
    let own = node.index;
    lab.hub.run("ip link set port1 down")?;
    expect(
        "the wire is pulled",
        &|e| matches!(e, Event::Link { index, link } if *index == own && link.up && !link.carrier),
    )?;
    lab.hub.run("ip link set port1 up")?;
    expect(
        "the wire is back",
        &|e| matches!(e, Event::Link { index, link } if *index == own && link.carrier),
    )?;
    node.namespace.run("ip addr add 10.77.0.100/32 dev eth0")?;
    expect(
        "an address added by hand",
        &|e| matches!(e, Event::Address(a) if a.ip == VIP4 && a.index == own),
    )?;
    node.namespace.run("ip addr del 10.77.0.100/32 dev eth0")?;
    expect(
        "it is gone",
        &|e| matches!(e, Event::AddressGone(a) if a.ip == VIP4),
    )?;
    node.namespace.run("ip link set eth0 down")?;
    expect(
        "the link is down",
        &|e| matches!(e, Event::Link { link, .. } if !link.up),
    )?;
    node.namespace.run("ip link set eth0 name untrust")?;
    expect(
        "it is renamed",
        &|e| matches!(e, Event::Link { index, link } if *index == own && link.name == "untrust"),
    )?;
    node.namespace.run("ip link delete untrust")?;
    expect("it is gone", &|e| *e == Event::LinkGone { index: own })
}

fn gone_interface() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let socket = node.socket(Speaks::Arp)?;
    node.namespace.run("ip link delete eth0")?;
    let sent = socket.send(&probe_v4([10, 77, 0, 1].into(), node.mac));
    ensure!(matches!(sent, Err(PacketError::Socket { .. })), "{sent:?}");
    let index = node.index;
    let opened = node
        .namespace
        .within(|| Ok(PacketSocket::open(index, Speaks::Arp)));
    let opened = opened?;
    ensure!(
        matches!(opened, Err(PacketError::NoInterface { .. })),
        "{opened:?}"
    );
    Ok(())
}

fn decoded_by_tcpdump() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut tcpdump = Command::new("nsenter")
        .arg(format!("--net={}", lab.hub.path()))
        .args(["tcpdump", "-lnvi", "br0", "-c", "3", "ether src"])
        .arg(node.mac.to_string())
        .args(["and", "(host 10.77.0.100 or icmp6[icmp6type] == 136)"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let errors = BufReader::new(tcpdump.stderr.take().context("it is piped")?);
    let mut ready = errors.lines();
    let listening = ready
        .by_ref()
        .find(|l| l.as_ref().map_or(true, |l| l.contains("listening")));
    listening.context("tcpdump ended")??;
    let arp = node.socket(Speaks::Arp)?;
    arp.send(&announcement(VIP4, node.mac, Form::Request, false))?;
    arp.send(&announcement(VIP4, node.mac, Form::Reply, false))?;
    let nd = node.socket(Speaks::Advertisements)?;
    nd.send(&announcement(VIP6, node.mac, Form::Reply, false))?;
    let output = tcpdump.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mac = node.mac;
    for expected in [
        "Request who-has 10.77.0.100 tell 10.77.0.100".to_owned(),
        format!("Reply 10.77.0.100 is-at {mac}"),
        "fd77::100 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement".to_owned(),
        "tgt is fd77::100, Flags [override]".to_owned(),
        format!("destination link-address option (2), length 8 (1): {mac}"),
    ] {
        ensure!(said.contains(&expected), "no `{expected}` in:\n{said}");
    }
    Ok(())
}

fn duplicate_is_found() -> Result<()> {
    let lab = Lab::new(3)?;
    let [one, two, watcher] = [&lab.nodes[0], &lab.nodes[1], &lab.nodes[2]];
    let socket = watcher.socket(Speaks::Arp)?;
    let mut watch = Watch::new(watcher.mac);
    one.configure()?;
    let look = |watch: &mut Watch| -> Result<(Vec<Finding>, Vec<Mac>)> {
        let IpAddr::V4(v4) = VIP4 else {
            unreachable!("it is an IPv4 address")
        };
        watch.asks(VIP4, Instant::now());
        socket.send(&probe_v4(v4, watcher.mac))?;
        let mut found = Vec::new();
        for _ in 0..4 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            for heard in socket.heard()? {
                found.extend(watch.hears(&heard, Instant::now()));
            }
        }
        Ok((found, watch.answers(VIP4).into_iter().collect()))
    };
    let (found, _) = until(
        "one answers",
        || look(&mut watch),
        |(_, who)| *who == [one.mac],
    )?;
    ensure!(found.is_empty(), "{found:?}");
    two.configure()?;
    let macs = [one.mac, two.mac].into();
    let duplicate = Finding::Duplicate { ip: VIP4, macs };
    until(
        "both are found",
        || look(&mut watch),
        |(found, _)| found.contains(&duplicate),
    )?;
    two.load()?;
    let quiet = || look(&mut watch);
    until("one answers again", quiet, |(found, who)| {
        found.is_empty() && *who == [one.mac]
    })?;
    Ok(())
}

fn rival_is_heard() -> Result<()> {
    let lab = Lab::new(2)?;
    let [holder, rival] = [&lab.nodes[0], &lab.nodes[1]];
    holder.load()?;
    holder.fence()?.take(&VIPS, Instant::now() + LONG)?;
    for (vip, speaks) in [(VIP4, Speaks::Arp), (VIP6, Speaks::Advertisements)] {
        let ears = holder.socket(speaks)?;
        let mut watch = Watch::new(holder.mac);
        watch.holds([vip].into());
        announce(rival, vip, speaks)?;
        let mac = rival.mac;
        let heard = || {
            let now = Instant::now();
            let heard = ears.heard()?;
            Ok(heard
                .iter()
                .flat_map(|h| watch.hears(h, now))
                .collect::<Vec<_>>())
        };
        until("the rival is heard", heard, |found| {
            found.contains(&Finding::Rival { ip: vip, mac })
        })?;
    }
    Ok(())
}

fn announce(node: &Node, vip: IpAddr, speaks: Speaks) -> Result<()> {
    let frame = announcement(vip, node.mac, Form::Reply, false);
    Ok(node.socket(speaks)?.send(&frame)?)
}
