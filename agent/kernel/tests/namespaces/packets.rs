//! What a closed fence keeps in and out, and what an open one lets through, packet by packet.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hamesh_kernel::fence::Written;
use hamesh_kernel::frames::{Form, announcement};
use hamesh_kernel::packet::{PacketError, PacketSocket, Speaks};

use crate::Test;
use crate::lab::{LONG, Lab, Namespace, Node, VIP4, VIPS, until};

pub const TESTS: &[(&str, Test)] = &[
    (
        "a_closed_fence_is_silent_for_arp_nd_tcp_and_ping_although_the_address_is_there",
        closed_is_silent,
    ),
    (
        "an_element_opens_arp_nd_tcp_and_ping_and_a_give_back_closes_them",
        element_opens,
    ),
    (
        "announcements_of_a_fenced_node_are_dropped_whatever_socket_sends_them",
        announcements_are_dropped,
    ),
    (
        "a_client_that_knows_the_holder_by_heart_still_gets_nothing_from_a_fenced_one",
        known_neighbour_gets_nothing,
    ),
    (
        "a_fenced_node_reaches_the_holder_and_learns_from_its_announcements",
        fenced_node_is_a_client,
    ),
];

fn closed_is_silent() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.configure()?;
    until(
        "unfenced, the node answers",
        || lab.who(VIP4),
        |who| *who == [node.mac],
    )?;
    until(
        "unfenced, arping gets an answer",
        || arping(&lab.hub),
        |yes| *yes,
    )?;
    node.load()?;
    for vip in VIPS {
        ensure!(!lab.answers(node, vip)?, "a fenced node answered for {vip}");
    }
    ensure!(!arping(&lab.hub)?, "arping got an answer");
    ensure!(!pings(&lab.hub, "10.77.0.100")?, "ping got an answer");
    ensure!(!pings(&lab.hub, "fd77::100")?, "ping got an answer");
    Ok(())
}

fn element_opens() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    ensure!(fence.take(&VIPS, Instant::now() + LONG)? == Written::Live);
    for vip in VIPS {
        ensure!(lab.answers(node, vip)?, "a holder is silent for {vip}");
        accepts(&lab.hub, node, vip)?;
    }
    until("arping gets an answer", || arping(&lab.hub), |yes| *yes)?;
    for vip in VIPS {
        let address = vip.to_string();
        until(
            "ping gets an answer",
            || pings(&lab.hub, &address),
            |yes| *yes,
        )?;
    }
    fence.close(&VIPS)?;
    for vip in VIPS {
        ensure!(
            !lab.answers(node, vip)?,
            "answered for {vip} after giving it back"
        );
        ensure!(
            !connects(&lab.hub, node, vip)?,
            "accepted at {vip} after giving it back"
        );
    }
    ensure!(fence.live()?.is_empty(), "{:?}", fence.live()?);
    Ok(())
}

fn known_neighbour_gets_nothing() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.configure()?;
    for vip in VIPS {
        let mac = node.mac;
        lab.hub.run(&format!(
            "ip neigh replace {vip} lladdr {mac} dev br0 nud permanent"
        ))?;
        accepts(&lab.hub, node, vip)?;
    }
    node.load()?;
    for vip in VIPS {
        ensure!(
            !connects(&lab.hub, node, vip)?,
            "a fenced node accepted at {vip}"
        );
        ensure!(
            !pings(&lab.hub, &vip.to_string())?,
            "a fenced node answered at {vip}"
        );
    }
    Ok(())
}

fn announcements_are_dropped() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    let [arp, nd] = [Speaks::Arp, Speaks::Advertisements].map(|s| node.socket(s));
    let (arp, nd) = (arp?, nd?);
    let mut fence = node.fence()?;
    for live in [false, true] {
        if live {
            fence.take(&VIPS, Instant::now() + LONG)?;
        }
        lab.hear()?;
        for form in [Form::Request, Form::Reply] {
            announce(&arp, node, VIP4, form, live)?;
            announce(&nd, node, VIPS[1], form, live)?;
        }
        by_a_socket_for_all_protocols(node)?;
        // The node's own addresses are announced last: what came before them has arrived.
        let own = node.own();
        announce(&arp, node, own[0], Form::Reply, true)?;
        announce(&nd, node, own[1], Form::Reply, true)?;
        let mut heard = Vec::new();
        until(
            "the node's own addresses are heard",
            || lab.hear(),
            |more| {
                heard.extend(more.clone());
                own.iter().all(|own| heard.iter().any(|h| h.ip == *own))
            },
        )?;
        for vip in VIPS {
            let count = heard.iter().filter(|h| h.ip == vip).count();
            // Two forms from each socket of ours, and for IPv4 one from the other program.
            let expected = if vip.is_ipv4() { 3 } else { 2 };
            let expected = if live { expected } else { 0 };
            ensure!(
                count == expected,
                "live {live}: {vip} was heard {count} times: {heard:?}"
            );
        }
    }
    Ok(())
}

fn announce(from: &PacketSocket, node: &Node, ip: IpAddr, form: Form, open: bool) -> Result<()> {
    match from.send(&announcement(ip, node.mac, form, false)) {
        Ok(()) => {}
        // The kernel tells a sender that a filter dropped its frame.
        Err(PacketError::Socket { .. }) if !open => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

/// As other programs do it: one packet socket for everything, a frame put together by hand.
fn by_a_socket_for_all_protocols(node: &Node) -> Result<()> {
    let program = "import socket,sys
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))
s.bind(('eth0',0))
try: s.send(bytes.fromhex(sys.argv[1]))
except OSError: pass";
    let frame = announcement(VIP4, node.mac, Form::Request, false);
    let hex: String = frame.iter().map(|b| format!("{b:02x}")).collect();
    let output = std::process::Command::new("nsenter")
        .arg(format!("--net={}", node.namespace.path()))
        .args(["python3", "-c", program, &hex])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "python3: {said}");
    Ok(())
}

fn fenced_node_is_a_client() -> Result<()> {
    let lab = Lab::new(2)?;
    let [holder, other] = [&lab.nodes[0], &lab.nodes[1]];
    for node in [holder, other] {
        node.load()?;
    }
    holder.configure()?;
    holder.fence()?.take(&VIPS, Instant::now() + LONG)?;
    for vip in VIPS {
        accepts(&other.namespace, holder, vip)?;
    }
    let cases = [
        (VIPS[0], Form::Request, Speaks::Arp),
        (VIPS[0], Form::Reply, Speaks::Arp),
        (VIPS[1], Form::Reply, Speaks::Advertisements),
    ];
    for (vip, form, speaks) in cases {
        let wrong = "02:00:00:00:00:99";
        let replace = format!("ip neigh replace {vip} lladdr {wrong} dev eth0 nud reachable");
        other.namespace.run(&replace)?;
        let announcement = announcement(vip, holder.mac, form, false);
        holder.socket(speaks)?.send(&announcement)?;
        let look = || other.namespace.run(&format!("ip neigh show {vip}"));
        until(
            "the announcement replaces a fresh wrong entry",
            look,
            |seen| seen.contains(&holder.mac.to_string()),
        )?;
    }
    Ok(())
}

fn arping(from: &Namespace) -> Result<bool> {
    let output = from.try_run("arping -q -c 1 -w 2 -I br0 10.77.0.100")?;
    Ok(output.status.success())
}

fn pings(from: &Namespace, address: &str) -> Result<bool> {
    let output = from.try_run(&format!("ping -n -q -c 1 -W 1 {address}"))?;
    Ok(output.status.success())
}

/// Waits until a connection to an address comes about.
pub fn accepts(from: &Namespace, node: &Node, address: IpAddr) -> Result<()> {
    let what = format!("a connection to {address}");
    until(&what, || connects(from, node, address), |yes| *yes)?;
    Ok(())
}

/// Whether a connection to an address comes about. That it does not is proved by one to the node's
/// own address that was begun later and did.
pub fn connects(from: &Namespace, node: &Node, address: IpAddr) -> Result<bool> {
    let listener = node.namespace.within(|| Ok(TcpListener::bind("[::]:0")?))?;
    let port = listener.local_addr()?.port();
    let own = node.own()[usize::from(address.is_ipv6())];
    from.within(|| {
        let claimed = begin(SocketAddr::new(address, port))?;
        TcpStream::connect_timeout(&SocketAddr::new(own, port), Duration::from_secs(10))?;
        // The kernel's first retry comes after a second: a lost first packet stays lost here.
        for _ in 0..20 {
            match claimed.peer_addr() {
                Ok(_) => return Ok(true),
                Err(e) if e.kind() == ErrorKind::NotConnected => {}
                Err(e) => return Err(e.into()),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    })
}

fn begin(to: SocketAddr) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(to),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(e.into()),
        Ok(()) | Err(_) => Ok(socket),
    }
}
