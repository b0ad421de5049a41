//! The VIP bench sees what it is there to see: two holders, by either way of looking, on a small
//! network of namespaces. Needs root.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hamesh_kernel::load::{self, Claimed};
use hamesh_tests::vip::client::{self, Pulse};
use hamesh_tests::vip::holding::{overlap, stretches};
use hamesh_tests::vip::{arp, inside, listener, probes};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 100);
/// How long things are watched.
const WATCHED: Duration = Duration::from_millis(600);

/// A client and two hosts on a bridge, gone when dropped.
struct Segment {
    names: [String; 4],
}

impl Segment {
    fn new(test: &str) -> Result<Self> {
        let name = |part| format!("hamesh-vip-{test}-{}-{part}", std::process::id());
        let segment = Self {
            names: ["hub", "client", "one", "other"].map(name),
        };
        for name in &segment.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let hub = &segment.names[0];
        ip(&["-n", hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", hub, "link", "set", "br0", "up"])?;
        for (number, name) in segment.names.iter().enumerate().skip(1) {
            let (port, address) = (format!("p{number}"), format!("10.78.0.{number}/24"));
            let pair = ["type", "veth", "peer", "name", "eth0", "netns", name];
            ip(&[&["-n", hub, "link", "add", &port], &pair[..]].concat())?;
            ip(&["-n", hub, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", name, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", name, "link", "set", "eth0", "up"])?;
        }
        Ok(segment)
    }

    fn path(&self, part: usize) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.names[part])
    }

    fn add_vip(&self, part: usize) -> Result<()> {
        let vip = format!("{VIP}/32");
        ip(&[
            "-n",
            &self.names[part],
            "address",
            "add",
            &vip,
            "dev",
            "eth0",
        ])
    }

    /// Loads a fence in a host, without a live element.
    fn fence(&self, part: usize) -> Result<()> {
        let path = self.path(part);
        let load = move || -> Result<()> {
            inside::enter(&path)?;
            load::load(&Claimed::of([IpAddr::V4(VIP)].into())).context("the fence")?;
            Ok(())
        };
        spawn(load).join().expect("the test itself has no panics")
    }

    /// How long both hosts had the address, by looking into them and by asking.
    fn two_holders(&self) -> Result<(Duration, Duration)> {
        let origin = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let looks = [2, 3].map(|part| {
            let (path, stop) = (self.path(part), Arc::clone(&stop));
            spawn(move || inside::look(&path, VIP.into(), origin, &stop))
        });
        let (path, flag) = (self.path(1), Arc::clone(&stop));
        let asking = spawn(move || listener::ask(&path, None, VIP, origin, &flag));
        sleep(WATCHED);
        stop.store(true, Ordering::Relaxed);
        let [one, other] = looks.map(|look| look.join().expect("no panic"));
        let questions = asking.join().expect("no panic")?;
        ensure!(questions.len() > 3, "only {} questions", questions.len());
        let (one, other) = (stretches(&one?), stretches(&other?));
        let by_looking = overlap(&one, &other, Duration::ZERO);
        Ok((by_looking, arp::both(&questions, Duration::ZERO)))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {words:?}: {said}");
    Ok(())
}

#[test]
fn one_holder_is_not_taken_for_two() -> Result<()> {
    let segment = Segment::new("one")?;
    segment.add_vip(2)?;
    assert_eq!(
        inside::once(&segment.path(2), &[VIP.into()])?,
        [IpAddr::V4(VIP)]
    );
    assert!(inside::once(&segment.path(3), &[VIP.into()])?.is_empty());
    assert_eq!(segment.two_holders()?, (Duration::ZERO, Duration::ZERO));
    Ok(())
}

#[test]
fn two_holders_are_seen_by_looking_and_by_asking() -> Result<()> {
    let segment = Segment::new("two")?;
    segment.add_vip(2)?;
    segment.add_vip(3)?;
    let (by_looking, by_asking) = segment.two_holders()?;
    let least = WATCHED / 4;
    assert!(
        by_looking > least && by_asking > least,
        "{by_looking:?}, {by_asking:?}"
    );
    Ok(())
}

#[test]
fn a_fenced_address_has_no_holder_though_it_is_configured() -> Result<()> {
    let segment = Segment::new("fence")?;
    segment.add_vip(2)?;
    segment.add_vip(3)?;
    segment.fence(3)?;
    assert!(inside::once(&segment.path(3), &[VIP.into()])?.is_empty());
    assert_eq!(segment.two_holders()?, (Duration::ZERO, Duration::ZERO));
    Ok(())
}

#[test]
fn an_address_without_a_service_is_connected_to_by_nobody() -> Result<()> {
    let segment = Segment::new("silent")?;
    let (path, stop) = (segment.path(1), Arc::new(AtomicBool::new(false)));
    let (pulse, flag) = (Arc::new(Pulse::default()), Arc::clone(&stop));
    let target = SocketAddr::new(VIP.into(), 80);
    let prober = spawn(move || client::probe(&path, target, Instant::now(), (&pulse, &flag)));
    sleep(WATCHED);
    stop.store(true, Ordering::Relaxed);
    let probes = prober.join().expect("no panic")?;
    let window = Duration::ZERO..WATCHED;
    assert!(probes.len() > 3, "only {} probes", probes.len());
    assert!(!probes::outage(&probes, &window).ended);
    assert_eq!(probes::longest_wait(&probes, &window), probes::GIVE_UP);
    Ok(())
}
