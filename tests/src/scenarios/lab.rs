//! The lab itself: its ways in, and that it goes on where it was and leaves nothing behind.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};

use super::{THIRTEEN, World};
use crate::site::traces::Traces;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// Bringing up what is up changes nothing.
pub fn up_again(world: &World) -> Result<()> {
    let runs = |site: &Site| -> Result<Vec<u64>> {
        site.nodes
            .iter()
            .map(|n| Ok(site.agent(n)?.started_unix_ms))
            .collect()
    };
    let before = runs(&world.site)?;
    world.site.lab.must(["up", THIRTEEN])?;
    ensure!(runs(&world.site)? == before, "an agent was restarted");
    Ok(())
}

/// The site's addresses are in namespaces of the lab, not on the machine itself.
pub fn not_on_the_host(_: &World) -> Result<()> {
    let own = std::fs::read_to_string("/proc/net/fib_trie").context("this machine's routes")?;
    for network in ["192.168.56.", "192.168.30."] {
        ensure!(
            !own.contains(network),
            "{network}0 is known to this machine itself"
        );
    }
    Ok(())
}

/// A port of the site on this machine's loopback carries what is sent, both ways, until it ends.
pub fn forwarded(world: &World) -> Result<()> {
    let site = &world.site;
    // Answers with what it was sent, on a port that is no daemon's.
    site.sh(
        "node-1",
        "systemd-run -q --unit=echo perl -MIO::Socket::INET -e '
            my $listener = IO::Socket::INET->new(LocalPort => 7777, Listen => 1) or die;
            while (my $near = $listener->accept) {
                my $all = do { local $/; <$near> };
                print $near $all; close $near
            }'",
    )?;
    let target = format!("{}:7777", site.lab.address("node-1")?);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    site.lab.must(["forward", &format!("{port}:{target}")])?;
    let payload: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let answer = until("the payload comes back", PATIENCE, || {
        let answer = exchange(port, &payload)?;
        ensure!(!answer.is_empty(), "the connection was closed");
        Ok(answer)
    })?;
    ensure!(
        answer == payload,
        "{} bytes became {} others",
        payload.len(),
        answer.len()
    );
    site.lab.must(["forward", "--end", &port.to_string()])?;
    let closed = TcpStream::connect(("127.0.0.1", port));
    ensure!(closed.is_err(), "the port is still open");
    site.sh("node-1", "systemctl stop echo").map(drop)
}

fn exchange(port: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let mut near = TcpStream::connect(("127.0.0.1", port))?;
    near.write_all(payload)?;
    near.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    near.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A person's shell on a node has a terminal and ends with the status of its last command.
pub fn shell(world: &World) -> Result<()> {
    let typed = "test -t 0 && echo on a terminal of $(hostname)\nexit 7\n";
    let lab = &world.site.lab;
    let (status, screen) = lab.on_terminal(&["shell", "node-1"], "root@node-1", typed)?;
    ensure!(
        screen.contains("on a terminal of node-1"),
        "the screen shows {screen:?}"
    );
    ensure!(status.code() == Some(7), "it ended with {status}");
    Ok(())
}

/// After `down`, the machine is as it was before; also when the lab was killed on its way up.
pub fn down(world: &World) -> Result<()> {
    let lab = &world.site.lab;
    lab.must(["down"])?;
    nothing_left(world)?;
    for delay in ["1", "3"] {
        let killed = lab.killed_after(delay, &["up", THIRTEEN])?;
        ensure!(
            killed.code().is_none(),
            "the lab was up before it could be killed: {killed}"
        );
        lab.must(["down"])?;
        nothing_left(world).with_context(|| format!("killed {delay} s on its way up"))?;
    }
    Ok(())
}

/// Waits until the machine is as it was.
pub(super) fn nothing_left(world: &World) -> Result<()> {
    until("nothing of the lab is left", PATIENCE, || {
        let left = Traces::look()?.beyond(&world.before);
        ensure!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        Ok(())
    })
}
