//! Starts, restarts, metrics, and what random bytes do to the ports: nothing.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::{LiveCredentials, PrivateKey};
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::metrics_http::{fetch_tls, promtool_complaints};
use hamesh_proto::tls::{self, Alpn, Expect};
use hamesh_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Listeners, Parts, StartError, start};
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::{CommitError, Kept, Ledger};
use crate::records::{EpochRecord, LeaderRecord, keys};
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

#[tokio::test]
async fn a_second_coordinator_points_to_the_leader_and_leads_when_that_one_stops() {
    let site = TestSite::start().await;
    site.running.core.leadership.has_company();
    let (api, leads) = site.second("node-1").await;
    let (mut before, mut after) = (
        site.coordinators(api, &site.admin),
        site.coordinators(api, &site.admin),
    );
    let answer = before.leader(v1::LeaderRequest {}).await;
    let status = answer.expect_err("it stands by");
    let Some(Elsewhere::At(leader)) = Elsewhere::of(&status) else {
        panic!("{status:?}")
    };
    assert_eq!(leader.node.as_str(), "control-1");
    site.running.stop().await;
    let running = tokio::time::timeout(crate::testing::GENEROUS, leads).await;
    let running = running.expect("it leads soon").expect("it starts");
    assert_eq!(running.core.epoch(), 2);
    let answer = after.leader(v1::LeaderRequest {}).await.expect("it leads");
    assert_eq!(answer.into_inner().node, "node-1");
}

#[tokio::test]
async fn a_leader_that_was_succeeded_changes_nothing_and_hears_of_it() {
    let site = TestSite::start().await;
    let core = Arc::clone(&site.running.core);
    let epoch: Kept<EpochRecord> = core
        .ledger
        .read(keys::EPOCH)
        .await
        .expect("read")
        .expect("kept");
    let leader: Kept<LeaderRecord> = core
        .ledger
        .read(keys::LEADER)
        .await
        .expect("read")
        .expect("kept");
    let successor = LeaderRecord {
        term: 2,
        node: "node-1".to_owned(),
        instance: 7,
        run: 7,
        beat: 0,
        resigned: false,
    };
    let later = EpochRecord {
        epoch: 2,
        ..epoch.value.clone()
    };
    // As another process would, whose writes this one's guard does not touch.
    let others = Ledger::new(Arc::clone(core.ledger.store()), core.metrics.events.clone());
    let mut change = core.own_change().replace(&epoch, &later);
    // The leader rewrites its record twice a second: it is read until the change meets it.
    let mut kept = leader;
    while others
        .commit(change.replace(&kept, &successor))
        .await
        .is_err()
    {
        kept = others
            .read(keys::LEADER)
            .await
            .expect("read")
            .expect("kept");
        change = core.own_change().replace(&epoch, &later);
    }
    let refused = core
        .ledger
        .commit(core.own_change().create("/hamesh/v1/x", &later))
        .await;
    assert_eq!(refused, Err(CommitError::Conflict));
    let deposed = core.leadership.deposed();
    tokio::time::timeout(crate::testing::GENEROUS, deposed)
        .await
        .expect("it hears of it");
    assert!(!core.leadership.leads());
}

#[tokio::test]
async fn a_machine_joins_only_by_its_agents_identity_after_an_admin_added_it() {
    let site = TestSite::start().await;
    let yaml = crate::testing::YAML.replace("[control-1]", "[control-1, node-1]");
    let base = site.status().await.desired;
    let applied = v1::ApplySiteRequest { yaml, base };
    site.admin().apply_site(applied).await.expect("applied");
    let (agent, other) = (site.enrol("node-1").await, site.enrol("node-2").await);
    let api = site.running.api;
    let join = |who: &LiveCredentials| {
        let mut client = site.coordinators(api, who);
        async move { client.join(v1::JoinRequest {}).await }
    };
    let refused = join(&agent).await.expect_err("nobody added it");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut admin = site.coordinators(api, &site.admin);
    let add = |node: &str| v1::AddCoordinatorRequest {
        node: node.to_owned(),
    };
    let unnamed = admin
        .add(add("node-2"))
        .await
        .expect_err("not in the document");
    assert_eq!(unnamed.code(), tonic::Code::FailedPrecondition);
    admin.add(add("node-1")).await.expect("added");
    assert!(join(&other).await.is_err());
    let answer = join(&agent).await.expect("it may join").into_inner();
    assert!(answer.ca_pem.contains("PRIVATE KEY"));
    assert_eq!(answer.store_members, "node-1=https://192.168.56.41:7449");
    site.until("a member", |status| {
        let member = v1::CoordinatorPart::Member;
        status.coordinators.len() == 2 && status.coordinators.iter().all(|it| it.part() == member)
    })
    .await;
    assert!(join(&agent).await.is_err(), "what was given is given once");
    let removal = v1::RemoveCoordinatorRequest {
        node: "node-1".to_owned(),
    };
    let removed = admin.remove(removal).await.expect("removed").into_inner();
    assert!(removed.changed);
    let mut session = site.session(&agent).await;
    loop {
        let next = session.next().await.expect("the session goes on");
        if let v1::coordinator_message::Kind::Coordinate(told) = next {
            assert!(!told.wanted);
            break;
        }
    }
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
