//! Starts, restarts, metrics, and what random bytes do to the ports: nothing.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::PrivateKey;
use hamesh_proto::metrics_http::{fetch_tls, promtool_complaints};
use hamesh_proto::tls::{self, Alpn, Expect};
use hamesh_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Listeners, Parts, StartError, start};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::MemoryStore;
use crate::testing::TestSite;

#[tokio::test]
async fn a_restart_changes_nothing_but_the_epoch() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let before = site.status().await;
    assert_eq!(before.epoch, 1);
    let site = site.restart().await;
    let after = site.status().await;
    assert_eq!((after.epoch, after.desired), (2, before.desired));
    assert_eq!(
        site.session(&agent).await.assignment().await.id,
        before.desired
    );
    assert!(!site.dirs().bootstrap().exists());
}

#[tokio::test]
async fn an_emptied_store_is_not_filled_with_the_sites_first_day() {
    let site = TestSite::start().await;
    let dirs = site.dirs();
    let parts = Parts {
        config: Config::load(&dirs).expect("a configuration"),
        dirs,
        store: Arc::new(MemoryStore::new()),
        etcd: None,
        store_expires_unix_ms: 0,
        clock: Clock::system(),
        agents_valid: hamesh_proto::ca::NODE_VALID,
        listeners: Listeners {
            api: crate::testing::listener().await,
            enrolment: crate::testing::listener().await,
            metrics: crate::testing::listener().await,
            leases: crate::testing::datagrams(),
        },
    };
    let Err(error) = start(parts).await else {
        panic!("started on an empty store")
    };
    assert!(matches!(error, StartError::Emptied { .. }), "{error}");
}

#[tokio::test]
async fn a_coordinator_that_slept_past_its_expiry_starts_with_a_new_identity() {
    let site = TestSite::start().await;
    let before = site.running.core.live.current().serial().to_owned();
    site.clock
        .advance(hamesh_proto::ca::NODE_VALID - Duration::from_secs(600));
    let site = site.restart().await;
    assert_ne!(site.running.core.live.current().serial(), before);
}

async fn metrics(site: &TestSite) -> String {
    let (status, body) = fetch_tls(
        site.running.metrics,
        &site.admin,
        Expect::Coordinator,
        "/metrics",
    )
    .await
    .expect("a page");
    assert!(status.is_success(), "{status}");
    String::from_utf8(body.to_vec()).expect("text")
}

/// Bytes that follow from the seed.
fn noise(seed: &[u8; 32], round: usize, length: usize) -> Vec<u8> {
    let block = |n: usize| {
        let text = format!("{}/{round}/{n}", hamesh_proto::hex::encode(seed));
        ring::digest::digest(&ring::digest::SHA256, text.as_bytes())
            .as_ref()
            .to_vec()
    };
    (0..).flat_map(block).take(length).collect()
}

#[tokio::test]
async fn the_metrics_are_as_promtool_wants_them() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let _session = site.session(&agent).await;
    let _refused = site
        .enrol_with("node-1", "nonsense", &PrivateKey::generate())
        .await;
    site.until("alive", |status| {
        status.nodes[1].state() == v1::NodeState::Alive
    })
    .await;
    let text = metrics(&site).await;
    for expected in [
        "hamesh_coordinator_sessions 1",
        "hamesh_coordinator_node_state{node=\"node-1\",state=\"alive\"} 1",
        "hamesh_coordinator_enrolments_total{result=\"enrolled\"} 1",
        "hamesh_coordinator_enrolments_total{result=\"malformed\"} 1",
        "hamesh_coordinator_desired_generation 1",
        "hamesh_coordinator_events_total{kind=\"node.enrolled\"} 1",
        "hamesh_coordinator_store_request_seconds_count{operation=\"transact\"}",
        "hamesh_coordinator_certificate_expiry_seconds{node=\"node-1\"}",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    let said = promtool_complaints(&text).expect("promtool (package prometheus) runs");
    assert!(said.is_empty(), "{said}");
}

#[tokio::test]
async fn an_agent_may_not_read_the_coordinators_metrics() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let page = fetch_tls(
        site.running.metrics,
        &agent,
        Expect::Coordinator,
        "/metrics",
    )
    .await;
    assert_eq!(page.expect("an answer").0.as_u16(), 403);
}

#[tokio::test]
async fn random_bytes_on_every_port_harm_nothing_else() {
    let site = TestSite::start().await;
    let seed: [u8; 32] = hamesh_proto::random::bytes();
    println!("seed: {seed:?}");
    let running = &site.running;
    for round in 0..120 {
        let port = [running.api, running.enrolment, running.metrics][round % 3];
        let bytes = noise(&seed, round, 1 + round * 37);
        let mut stream = TcpStream::connect(port).await.expect("it listens");
        // It may be closed in the middle of our nonsense.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(crate::testing::GENEROUS, stream.read_to_end(&mut answer))
            .await
            .expect("it is closed");
    }
    let agent = site.enrol("node-1").await;
    site.session(&agent).await.assignment().await;
    let text = metrics(&site).await;
    let line =
        "hamesh_coordinator_rejected_handshakes_total{listener=\"api\",reason=\"failed\"} 40";
    assert!(text.contains(line), "{text}");
}

/// Behind a good handshake too: frames and messages that are none.
#[tokio::test]
async fn random_grpc_messages_of_an_agent_harm_nobody_else() {
    let site = TestSite::start().await;
    let (hostile, honest) = (site.enrol("node-1").await, site.enrol("node-2").await);
    let mut session = site.session(&honest).await;
    session.assignment().await;
    let seed: [u8; 32] = hamesh_proto::random::bytes();
    println!("seed: {seed:?}");
    for round in 0..60 {
        let config = tls::client_config(&hostile, Expect::Coordinator, Alpn::H2);
        let connected = tls::connect(site.running.api, config).await;
        let mut stream = connected.expect("a good handshake");
        let bytes = noise(&seed, round, 1 + round * 53);
        if round % 2 == 0 {
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        }
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
    }
    let facts = v1::Facts {
        node: "node-2".to_owned(),
        sequence: 7,
        ..v1::Facts::default()
    };
    session
        .say(v1::agent_message::Kind::Facts(facts.clone()))
        .await;
    site.until("told", |status| {
        status.nodes[2].facts == Some(facts.clone())
    })
    .await;
}
