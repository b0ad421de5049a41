//! The firewall of an edge lets in what it says, and nothing else: with real packets, in both
//! families, each refusal seen to be the firewall's own.

use std::fs;

use anyhow::{Result, ensure};

use crate::files::Files;
use crate::network::{Daemon, Namespace, Network, eventually};
use crate::support::desired;

/// Answers on every port that a rule is about, and on two more.
const LISTENERS: &str = "defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend all
    bind 0.0.0.0:22,0.0.0.0:80,0.0.0.0:443,0.0.0.0:7446,0.0.0.0:8404,0.0.0.0:9100,0.0.0.0:5000
    bind :::22 v6only
    bind :::80 v6only
    bind :::443 v6only
    bind :::7446 v6only
    bind :::8404 v6only
    bind :::9100 v6only
    bind :::5000 v6only
    http-request return status 200
";

/// The site "six": IPv6 inside, both families outside.
struct Stage {
    files: Files,
    network: Network,
    _listeners: [Daemon; 2],
}

impl Stage {
    fn new() -> Result<Self> {
        let (files, network) = (Files::new()?, Network::new()?);
        let outer = [("edge", "192.168.30.1/24"), ("edge", "fd00:30::1/64")];
        network.outer.addresses(&outer)?;
        network.edge.addresses(&[
            ("untrust", "192.168.30.131/24"),
            ("untrust", "192.168.30.130/32"),
            ("untrust", "fd00:30::131/64"),
            ("untrust", "fd00:30::130/128"),
            ("trust", "fd00:56::10/64"),
        ])?;
        let inner = [("trust", "fd00:56::21/64"), ("trust", "fd00:56::20/128")];
        network.inner.addresses(&inner)?;
        network.inner.ip("route add fd00:30::/64 via fd00:56::10")?;
        network
            .outer
            .ip("route add fd00:56::/64 via fd00:30::131")?;
        // Were the firewall not there, the edge would be a router between the sides.
        let forward = "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
        network.edge.run("sh", &["-c", forward])?;
        let config = files.folder().join("listeners.cfg");
        fs::write(&config, LISTENERS)?;
        let listeners = [
            network.edge.haproxy(&config)?,
            network.inner.haproxy(&config)?,
        ];
        for port in [22, 5000] {
            for from in [&network.outer, &network.inner] {
                from.is_answered(&format!("http://[fd00:56::10]:{port}/"), &["200"])?;
            }
        }
        Ok(Self {
            files,
            network,
            _listeners: listeners,
        })
    }

    fn load(&self) -> Result<()> {
        let desired = desired("six", "edge", "");
        self.network.edge.load(&desired, self.files.folder())
    }
}

fn each(from: &Namespace, host: &str, ports: &[u16], wanted: bool) -> Result<()> {
    for port in ports {
        let url = format!("http://{host}:{port}/");
        if wanted {
            from.is_answered(&url, &["200"])?;
        } else {
            ensure!(!from.reaches(&url), "{url} is reached");
        }
    }
    Ok(())
}

#[test]
fn from_outside_only_the_web_is_reached_and_only_at_outer_addresses() -> Result<()> {
    let stage = Stage::new()?;
    let (outer, inner_url) = (&stage.network.outer, "http://[fd00:56::21]:80/");
    outer.is_answered(inner_url, &["200"])?;
    stage.load()?;
    for host in [
        "192.168.30.130",
        "192.168.30.131",
        "[fd00:30::130]",
        "[fd00:30::131]",
    ] {
        each(outer, host, &[80, 443], true)?;
        each(outer, host, &[22, 8404], false)?;
    }
    ensure!(stage.network.edge.counted("refused")? > 0);
    each(outer, "[fd00:56::10]", &[22, 80, 8404], false)?;
    ensure!(stage.network.edge.counted("not here")? > 0);
    ensure!(!outer.reaches(inner_url), "the edge forwards");
    ensure!(stage.network.edge.counted("between the sides")? > 0);
    Ok(())
}

#[test]
fn from_inside_hamesh_and_its_operators_reach_the_edge_and_nothing_else_does() -> Result<()> {
    let stage = Stage::new()?;
    let inner = &stage.network.inner;
    inner.is_answered("http://[fd00:30::130]:80/", &["200"])?;
    stage.load()?;
    each(inner, "[fd00:56::10]", &[22, 7446, 8404, 9100], true)?;
    each(inner, "[fd00:56::10]", &[80, 443, 5000], false)?;
    each(inner, "[fd00:30::130]", &[80, 443], false)?;
    Ok(())
}

#[test]
fn who_pretends_to_be_inside_is_refused_and_neighbours_and_echoes_are_heard() -> Result<()> {
    let stage = Stage::new()?;
    stage.load()?;
    let (outer, edge) = (&stage.network.outer, &stage.network.edge);
    outer.addresses(&[("edge", "fd00:56::99/128")])?;
    eventually("a forged packet is counted", || {
        let ping = ["-c", "1", "-W", "1", "-I", "fd00:56::99", "fd00:30::131"];
        ensure!(outer.run("ping", &ping).is_err(), "it is answered");
        ensure!(edge.counted("not from there")? > 0);
        Ok(())
    })?;
    for address in ["192.168.30.130", "fd00:30::130", "fe80"] {
        let address = match address {
            "fe80" => link_local(edge)?,
            given => given.to_owned(),
        };
        outer.run("ip", &["neighbour", "flush", "dev", "edge"])?;
        // The outer side's own address of the link may be on trial still.
        eventually("an echo", || {
            let echo = outer.run("ping", &["-c", "1", "-W", "2", &address]);
            echo.map(drop)
        })?;
    }
    // The edge's own answers come back, and an address that another has is found to be so.
    edge.run("ping", &["-c", "1", "-W", "5", "fd00:30::1"])?;
    outer.ip("address add fd00:30::131/64 dev edge")?;
    eventually("the duplicate is found", || {
        let told = outer.run("ip", &["-6", "address", "show", "dev", "edge"])?;
        ensure!(told.contains("dadfailed"), "{told}");
        Ok(())
    })
}

/// Of the edge's outer interface, as the outer side writes it.
fn link_local(edge: &Namespace) -> Result<String> {
    let mut address = String::new();
    eventually("an address of the link", || {
        let told = edge.run("ip", &["-6", "-o", "address", "show", "dev", "untrust"])?;
        let mut words = told.split([' ', '/']);
        let found = words.find(|word| word.starts_with("fe80:"));
        ensure!(found.is_some() && !told.contains("tentative"), "{told}");
        address = format!("{}%edge", found.unwrap_or_default());
        Ok(())
    })?;
    Ok(address)
}
