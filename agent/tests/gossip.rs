//! Gossip between real nodes over real sockets on 127.0.0.0/8.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use chitchat::{
    ChitchatConfig, ChitchatId, DeletionStatus, FailureDetectorConfig, VersionedValue,
    spawn_chitchat,
};
use hamesh_agent::assignment::Assignment;
use hamesh_agent::gossip::mesh::INTERVAL;
use hamesh_agent::gossip::peers::Ignored;
use hamesh_agent::gossip::series::Dropped;
use hamesh_agent::gossip::wire::{Wire, WireTransport};
use hamesh_agent::gossip::{Mesh, PeersView};
use hamesh_agent::metrics::Metrics;
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::facts;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use prost::Message as _;
use support::{Site, node, until};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One node's gossip, without the rest of the agent.
struct Node {
    name: String,
    credentials: LiveCredentials,
    assignment: watch::Sender<Option<Arc<Assignment>>>,
    ring: watch::Sender<Option<KeyRing>>,
    _facts: watch::Sender<Option<v1::SignedFacts>>,
    view: watch::Receiver<Arc<PeersView>>,
    offset: watch::Receiver<Option<hamesh_agent::gossip::clock::Offset>>,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Node {
    fn start(site: &Site, name: &str, ring: &KeyRing, start: u64) -> Self {
        let credentials = LiveCredentials::new(site.credentials(&format!("agent/{name}")));
        let said = said_by(name, start, 1);
        let (facts, own_facts) = watch::channel(Some(facts::sign(&credentials.current(), &said)));
        let assignment = watch::Sender::new(Some(Arc::new(site.assignment(name, 1))));
        let ring = watch::Sender::new(Some(ring.clone()));
        let (view_tx, view) = watch::channel(Arc::default());
        let (offset_tx, offset) = watch::channel(None);
        let metrics = Arc::new(Metrics::new("0").unwrap());
        let mesh = Mesh {
            credentials: credentials.clone(),
            start,
            assignment: assignment.subscribe(),
            ring: ring.subscribe(),
            facts: own_facts,
            view: view_tx,
            offset: offset_tx,
            metrics: Arc::clone(&metrics),
        };
        let task = tokio::spawn(mesh.run());
        let (name, _facts) = (name.to_owned(), facts);
        Self {
            name,
            credentials,
            assignment,
            ring,
            _facts,
            view,
            offset,
            metrics,
            task,
        }
    }

    /// Ok when exactly `alive` others are heard.
    fn hears(&self, alive: usize) -> Result<(), (String, Arc<PeersView>)> {
        let view = self.view.borrow().clone();
        let heard = view.values().filter(|peer| peer.alive).count();
        if heard == alive {
            Ok(())
        } else {
            Err((self.name.clone(), view))
        }
    }

    fn kill(self) -> String {
        self.task.abort();
        self.name
    }

    /// Notes every peer that ever dies from now on.
    fn deaths(&self) -> JoinHandle<Vec<String>> {
        let mut view = self.view.clone();
        tokio::spawn(async move {
            let mut dead = Vec::new();
            while view.changed().await.is_ok() {
                let view = view.borrow_and_update().clone();
                dead.extend(
                    view.iter()
                        .filter(|(_, peer)| !peer.alive)
                        .map(|(n, _)| n.to_string()),
                );
            }
            dead
        })
    }
}

fn said_by(name: &str, start: u64, sequence: u64) -> v1::Facts {
    let node = name.to_owned();
    v1::Facts {
        node,
        started_unix_ms: start,
        sequence,
        ..v1::Facts::default()
    }
}

async fn all_hear(nodes: &[Node], alive: usize) {
    let what = format!("each of {} nodes hears {alive} others", nodes.len());
    until(&what, || {
        nodes.iter().try_for_each(|node| node.hears(alive))
    })
    .await;
}

fn mesh_of(site: &Site, ring: &KeyRing) -> Vec<Node> {
    site.members
        .keys()
        .map(|name| Node::start(site, name.as_str(), ring, 1_000))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_and_a_killed_one_is_missed_by_all() {
    let site = Site::of(13);
    let mut nodes = mesh_of(&site, &KeyRing::generate());
    all_hear(&nodes, 12).await;
    until("each clock is compared with all others", || {
        match nodes
            .iter()
            .find(|node| node.offset.borrow().is_none_or(|of| of.peers < 12))
        {
            Some(node) => Err((node.name.clone(), *node.offset.borrow())),
            None => Ok(()),
        }
    })
    .await;
    let began = Instant::now();
    let killed = nodes.pop().unwrap().kill();
    all_hear(&nodes, 11).await;
    println!(
        "the last of 12 survivors missed {killed} after {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_rotation_kills_nobody() {
    let site = Site::of(4);
    let first = KeyRing::generate();
    let nodes = mesh_of(&site, &first);
    all_hear(&nodes, 3).await;
    let deaths: Vec<_> = nodes.iter().map(Node::deaths).collect();
    let (second, id) = first.with_fresh_key().unwrap();
    let third = second.with_primary(id).unwrap();
    for ring in [&second, &third, &third.with_primary_only()] {
        for node in &nodes {
            node.ring.send_replace(Some(ring.clone()));
            tokio::time::sleep(INTERVAL).await;
        }
    }
    tokio::time::sleep(8 * INTERVAL).await;
    all_hear(&nodes, 3).await;
    for node in nodes {
        node.task.abort();
        drop(node);
    }
    for watching in deaths {
        assert_eq!(
            watching.await.unwrap(),
            Vec::<String>::new(),
            "died of a rotation"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_and_a_new_member_are_taken_up_live_and_a_removed_one_is_no_peer() {
    let mut site = Site::of(3);
    let ring = KeyRing::generate();
    let mut nodes = mesh_of(&site, &ring);
    all_hear(&nodes, 2).await;

    let restarted = nodes.pop().unwrap().kill();
    nodes.push(Node::start(&site, &restarted, &ring, 2_000));
    let of_new_run = |view: &PeersView| {
        view[&node(&restarted)]
            .facts
            .as_ref()
            .is_some_and(|facts| facts.started_unix_ms == 2_000)
    };
    until("the new run is known", || {
        let view = nodes[0].view.borrow().clone();
        if of_new_run(&view) { Ok(()) } else { Err(view) }
    })
    .await;
    all_hear(&nodes, 2).await;

    let joined = Site::of(4);
    site.members
        .insert(node("node-4"), joined.members[&node("node-4")]);
    for member in &nodes {
        let assignment = site.assignment(&member.name, 2);
        member.assignment.send_replace(Some(Arc::new(assignment)));
    }
    nodes.push(Node::start(&site, "node-4", &ring, 1_000));
    all_hear(&nodes, 3).await;

    site.members.remove(&node("node-4"));
    for member in &nodes[..3] {
        let assignment = site.assignment(&member.name, 3);
        member.assignment.send_replace(Some(Arc::new(assignment)));
    }
    all_hear(&nodes[..3], 2).await;
    assert!(!nodes[0].view.borrow().contains_key(&node("node-4")));
    until("what the removed node sends is dropped", || {
        match nodes[0].metrics.gossip.dropped_so_far(Dropped::NotMember) {
            0 => Err("nothing was dropped yet"),
            _ => Ok(()),
        }
    })
    .await;
}

/// A member with the right keys that puts words into another's mouth.
async fn start_liar(site: &Site, ring: &KeyRing, victim: &ChitchatId, forged: &v1::SignedFacts) {
    let members: BTreeMap<_, _> = site.members.clone();
    let address = members[&node("node-3")];
    let name = "thirteen".parse().unwrap();
    let metrics = Arc::new(Metrics::new("0").unwrap());
    let wire = Wire::new(
        name,
        node("node-3"),
        1_000,
        ring.clone(),
        members.clone(),
        metrics,
    );
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new("node-3", 1_000, address),
        cluster_id: "thirteen".to_owned(),
        gossip_interval: INTERVAL,
        listen_addr: address,
        seed_nodes: members.values().map(SocketAddr::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(60),
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let liar = spawn_chitchat(config, vec![], &WireTransport(Arc::new(wire)))
        .await
        .unwrap();
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(forged.encode_to_vec());
    liar.with_chitchat(|chitchat| {
        let value = text.clone();
        let lie = VersionedValue {
            value,
            version: 10_000,
            status: DeletionStatus::Set,
        };
        let lies = [("facts".to_owned(), lie)].into_iter();
        chitchat.reset_node_state_if_update(victim, lies, 10_000, 0);
    })
    .await;
    // Lies on until the test's runtime ends.
    std::mem::forget(liar);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_holds_the_keys_cannot_speak_for_another() {
    let site = Site::of(3);
    let ring = KeyRing::generate();
    let honest = [
        Node::start(&site, "node-1", &ring, 1_000),
        Node::start(&site, "node-2", &ring, 1_000),
    ];
    all_hear(&honest, 1).await;
    // The liar signs with its own, valid certificate what node-2 is to have said.
    let own = site.credentials("agent/node-3");
    let mut lie = said_by("node-2", 1_000, 99);
    lie.role = "liar".to_owned();
    let forged = facts::sign(&own, &lie);
    let victim = ChitchatId::new("node-2", 1_000, site.members[&node("node-2")]);
    start_liar(&site, &ring, &victim, &forged).await;

    until("the lie was heard and ignored", || {
        match honest[0].metrics.gossip.ignored_so_far(Ignored::Unverified) {
            0 => Err(honest[0].view.borrow().clone()),
            _ => Ok(()),
        }
    })
    .await;
    let view = honest[0].view.borrow().clone();
    let told = view[&node("node-2")]
        .facts
        .clone()
        .expect("what node-2 itself said");
    assert_eq!((told.role.as_str(), told.sequence), ("", 1));
    honest[0]
        .hears(1)
        .expect("node-2 lives, and the liar proved nothing of itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_is_not_counted_though_it_still_holds_the_keys() {
    let site = Site::of(3);
    let nodes = mesh_of(&site, &KeyRing::generate());
    all_hear(&nodes, 2).await;
    let serial = nodes[2].credentials.current().serial().to_owned();
    for member in &nodes[..2] {
        member.credentials.set_revoked([serial.clone()].into());
        let assignment = site.assignment(&member.name, 2);
        member.assignment.send_replace(Some(Arc::new(assignment)));
    }
    all_hear(&nodes[..2], 1).await;
    assert!(nodes[0].metrics.gossip.ignored_so_far(Ignored::Revoked) > 0);
}

/// Datagrams that no member sent; every second one looks sealed with the right key.
fn noise(seed: &mut u64, key: u32, buffer: &mut [u8; 600]) -> usize {
    let mut next = || {
        // xorshift64: fast, seeded, good enough for noise.
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    };
    let length = usize::try_from(next() % 600).unwrap();
    for chunk in buffer[..length].chunks_mut(8) {
        let bytes = next().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    if next() % 2 == 0 && length >= 5 {
        buffer[0] = 1;
        buffer[1..5].copy_from_slice(&key.to_be_bytes());
    }
    length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_random_datagrams_are_refused_and_counted_and_harm_nothing() {
    const MILLION: u64 = 1_000_000;
    /// So many may be under way: the kernel drops none, and each one is counted.
    const UNDER_WAY: u64 = 100;
    let site = Site::of(3);
    let ring = KeyRing::generate();
    let nodes = mesh_of(&site, &ring);
    all_hear(&nodes, 2).await;
    let target = site.members[&node("node-1")];
    let metrics = Arc::clone(&nodes[0].metrics);
    let refused = move || {
        Dropped::ALL
            .iter()
            .map(|reason| metrics.gossip.dropped_so_far(*reason))
            .sum::<u64>()
    };
    let (before, counted, key) = (refused(), refused.clone(), ring.primary());
    let seed = u64::from_le_bytes(hamesh_proto::random::bytes()) | 1;
    println!("seed {seed:#x}");
    let flood = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut seed, mut buffer) = (seed, [0; 600]);
        for sent in 0..MILLION {
            let length = noise(&mut seed, key, &mut buffer);
            socket.send_to(&buffer[..length], target).unwrap();
            let began = Instant::now();
            while sent + 1 - (counted() - before) >= UNDER_WAY {
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "{sent} sent, not counted"
                );
                std::thread::yield_now();
            }
        }
    });
    flood.await.unwrap();
    until("every one is counted", || match refused() - before {
        MILLION => Ok(()),
        other => Err(other),
    })
    .await;
    all_hear(&nodes, 2).await;
}
