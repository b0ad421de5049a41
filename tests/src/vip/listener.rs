//! Asks the segment for the address's hardware address, again and again, from the second client.
//!
//! The questions tell nothing of who asks (RFC 5227), so that nobody's neighbour cache changes but
//! that of the namespace asked from, in which nothing else is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hamesh_kernel::frames::probe_v4;
use hamesh_kernel::packet::{PacketSocket, Speaks};
use hamesh_kernel::rtnl::Rtnl;

use super::arp::{self, EVERY, Question};
use super::inside;

/// Asks until told to stop, with a VLAN's tag if one is given; answers are heard with any.
///
/// # Errors
/// The namespace has no interface with a hardware address, or a packet socket is refused.
pub fn ask(
    namespace: &Path,
    vlan: Option<u16>,
    address: Ipv4Addr,
    origin: Instant,
    stop: &AtomicBool,
) -> Result<Vec<Question>> {
    inside::enter(namespace)?;
    let seen = Rtnl::open().and_then(|mut links| links.interfaces());
    let seen = seen.context("listing the client's interfaces")?;
    let (index, _) = seen
        .home(IpAddr::V4(address))
        .with_context(|| format!("the client has no interface towards {address}"))?;
    let socket = PacketSocket::open(index, Speaks::Arp).context("opening a packet socket")?;
    let mut questions: Vec<Question> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        questions.push(Question {
            at: origin.elapsed(),
            ..Question::default()
        });
        let asker = arp::asker(questions.len() - 1);
        let question = arp::tagged(&probe_v4(address, asker), vlan);
        socket.send(&question).context("asking")?;
        let next = Instant::now() + EVERY;
        sleep(next.saturating_duration_since(Instant::now()));
        for heard in socket.heard().context("listening")? {
            if heard.ip == IpAddr::V4(address) {
                arp::note(&mut questions, &heard);
            }
        }
    }
    sleep(Duration::from_millis(50));
    for heard in socket.heard().context("listening")? {
        if heard.ip == IpAddr::V4(address) {
            arp::note(&mut questions, &heard);
        }
    }
    Ok(questions)
}
