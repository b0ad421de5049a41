//! Brings a port of the site to this machine's loopback.
//!
//! A relay listens in the host's namespace, then moves itself to the client that stands on the
//! target's network: its listening socket stays where it was opened, its connections start there.
//! So no route or address of the site ever exists on the host.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use crate::cli::Forward;
use crate::lab::Lab;
use crate::names;
use crate::tool::quote;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What the relay says on its output once it listens.
const READY: &str = "ready";

/// Starts a relay in the background, and returns when it listens.
pub fn start(lab: &Lab, forward: Forward) -> Result<()> {
    network_namespace(lab, forward)?;
    let group = names::forward_group(forward.port);
    if !lab.cgroups.processes(&group).is_empty() {
        bail!(
            "port {0} is forwarded already; `forward --end {0}` ends that",
            forward.port
        );
    }
    lab.cgroups.create(&group, None)?;
    let own = std::env::current_exe().context("finding this program")?;
    let own = quote(&own.to_string_lossy());
    let script = format!(
        "{} && exec setsid {own} relay {forward}",
        lab.cgroups.join(&group)
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the relay")?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output)
            .read_line(&mut said)
            .context("waiting for the relay")?;
    }
    if said.trim() == READY {
        return Ok(());
    }
    let output = child.wait_with_output().context("waiting for the relay")?;
    bail!(
        "the relay did not start: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

/// The same, unless the port leads there already.
pub fn ensure(lab: &Lab, forward: Forward) -> Result<()> {
    let group = names::forward_group(forward.port);
    let leads_there = |pid: &Pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let wanted = forward.to_string();
        words
            .split(|byte| *byte == 0)
            .any(|word| word == wanted.as_bytes())
    };
    match lab.cgroups.processes(&group).iter().any(leads_there) {
        true => Ok(()),
        false => start(lab, forward),
    }
}

/// Ends a relay.
pub fn end(lab: &Lab, port: u16) -> Result<()> {
    let group = names::forward_group(port);
    if lab.cgroups.processes(&group).is_empty() {
        bail!("port {port} is not forwarded");
    }
    lab.cgroups.kill(&group, || Ok(()))?;
    lab.cgroups.remove(&group)
}

/// The relay itself; ends only when it is killed.
pub fn relay(lab: &Lab, forward: Forward) -> Result<()> {
    let namespace = network_namespace(lab, forward)?;
    let here = (Ipv4Addr::LOCALHOST, forward.port);
    let listener = TcpListener::bind(here)
        .with_context(|| format!("listening on 127.0.0.1:{}", forward.port))?;
    let path = names::namespace_path(&namespace);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).context("entering the client's network")?;
    println!("{READY}");
    for connection in listener.incoming() {
        // One that broke before it was accepted is no reason to end the others.
        let Ok(connection) = connection else { continue };
        std::thread::spawn(move || carry(connection, forward.target));
    }
    Ok(())
}

fn network_namespace(lab: &Lab, forward: Forward) -> Result<String> {
    let address = forward.target.ip();
    let network = lab
        .topology
        .network_of(address)
        .with_context(|| format!("{address} is in no network of site {}", lab.topology.site))?;
    Ok(network.clients[0].namespace.clone())
}

/// Carries one connection both ways, until both sides have closed. Whoever dialled sees a target
/// that cannot be reached as a connection that closes at once.
fn carry(near: TcpStream, target: SocketAddr) {
    let Ok(far) = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT) else {
        return;
    };
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    let back = std::thread::spawn(move || pass(far_too, near_too));
    pass(near, far);
    let _ = back.join();
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Either side may break off; the other then learns it by the end of the stream.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
