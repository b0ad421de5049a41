//! The sealed transport itself, at its bounds, on 127.0.0.0/8.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::Transport as _;
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use hamesh_agent::gossip::frame::{MAX_DATAGRAM, MAX_PART};
use hamesh_agent::gossip::series::Dropped;
use hamesh_agent::gossip::wire::{Wire, WireTransport};
use hamesh_agent::metrics::Metrics;
use hamesh_proto::seal::KeyRing;
use support::{Site, node};

/// A message of exactly this many bytes.
fn message_of(length: usize) -> ChitchatMessage {
    // Magic number, version, Syn, empty digest, then the length and bytes of the cluster's name.
    let mut bytes = ChitchatMessage::BadCluster.serialize_to_vec();
    bytes[3] = 0;
    bytes.extend([0, 0]);
    let name = u16::try_from(length - bytes.len() - 2).unwrap();
    bytes.extend(name.to_le_bytes());
    bytes.resize(length, b'x');
    let message = ChitchatMessage::deserialize(&mut bytes.as_slice()).unwrap();
    assert_eq!(message.serialized_len(), length);
    message
}

#[tokio::test]
async fn the_largest_message_of_chitchat_makes_the_round_trip_to_the_byte() {
    let site = Site::of(2);
    let ring = KeyRing::generate();
    let metrics = Arc::new(Metrics::new("0").unwrap());
    let mut sockets = Vec::new();
    for (name, address) in &site.members {
        let (members, metrics) = (site.members.clone(), Arc::clone(&metrics));
        let site = "thirteen".parse().unwrap();
        let wire = Wire::new(site, name.clone(), 1, ring.clone(), members, metrics);
        sockets.push(WireTransport(Arc::new(wire)).open(*address).await.unwrap());
    }
    let addresses: Vec<SocketAddr> = site.members.values().copied().collect();
    let (mut second, mut first) = (sockets.pop().unwrap(), sockets.pop().unwrap());
    // chitchat counts one byte for a header of four: its largest delta makes three bytes more
    // than a datagram holds.
    for length in [100, MAX_PART, MAX_PART + 1, MAX_DATAGRAM, MAX_DATAGRAM + 3] {
        first.send(addresses[1], message_of(length)).await.unwrap();
        let arrived = tokio::time::timeout(Duration::from_secs(30), second.recv()).await;
        let (from, message) = arrived.expect("it arrives").unwrap();
        assert_eq!(
            (from, message),
            (addresses[0], message_of(length)),
            "{length} bytes"
        );
        second.send(from, message_of(length)).await.unwrap();
        let back = tokio::time::timeout(Duration::from_secs(30), first.recv()).await;
        assert_eq!(back.expect("it comes back").unwrap().1, message_of(length));
    }
    let lost: u64 = Dropped::ALL
        .iter()
        .map(|why| metrics.gossip.dropped_so_far(*why))
        .sum();
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn a_recorded_datagram_is_refused_from_its_own_address_and_from_another() {
    let site = Site::of(2);
    let ring = KeyRing::generate();
    let wire = |name: &str| {
        let metrics = Arc::new(Metrics::new("0").unwrap());
        let (members, site) = (site.members.clone(), "thirteen".parse().unwrap());
        Wire::new(site, node(name), 1, ring.clone(), members, metrics)
    };
    let (sender, receiver) = (wire("node-1"), wire("node-2"));
    let own = site.members[&node("node-1")];
    let elsewhere = site.members[&node("node-2")];
    let recorded = sender.seal(b"hello").unwrap().remove(0);
    assert_eq!(
        receiver.open(elsewhere, &recorded),
        Err(Dropped::WrongAddress)
    );
    assert_eq!(receiver.open(own, &recorded), Ok(Some(b"hello".to_vec())));
    assert_eq!(receiver.open(own, &recorded), Err(Dropped::Replayed));
    let mut changed = sender.seal(b"hello").unwrap().remove(0);
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(receiver.open(own, &changed), Err(Dropped::Unauthenticated));
}
