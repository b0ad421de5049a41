//! Agents over real mutual TLS: what they are told, what they may say, and how sessions end.

use std::time::Duration;

use hamesh_proto::credentials::PrivateKey;
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind;
use hamesh_proto::v1::coordinator_message::Kind as FromCoordinator;
use tonic::Code;

use super::{PARTS_PROTOCOL, PROTOCOL};
use crate::testing::{TestAgent, TestSite, YAML, credentials};

#[tokio::test]
async fn an_agent_is_told_its_own_part_of_the_site() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut session = site.session(&agent).await;
    let FromCoordinator::Welcome(welcome) = session.next().await.expect("a welcome") else {
        panic!("no welcome")
    };
    assert_eq!(
        (welcome.coordinator.as_str(), welcome.protocol),
        ("control-1", PROTOCOL)
    );
    assert_eq!(session.ring().await.version, 1);
    let assignment = session.assignment().await;
    assert_eq!(
        (assignment.node.as_str(), assignment.role.as_str()),
        ("node-1", "k8s-worker")
    );
    let gossip: Vec<_> = assignment
        .members
        .iter()
        .map(|it| it.gossip.as_str())
        .collect();
    assert_eq!(
        gossip,
        [
            "192.168.56.31:7445",
            "192.168.56.41:7445",
            "192.168.56.42:7445"
        ]
    );
    assert!(session.parts_seen > 0);
}

#[tokio::test]
async fn an_agent_of_the_release_before_is_told_its_part_in_one_message() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let hello = v1::Hello {
        protocol: PARTS_PROTOCOL - 1,
        started_unix_ms: 1_000,
        ..v1::Hello::default()
    };
    let mut session = TestAgent::open(site.running.api, &agent, hello).await;
    assert_eq!(session.assignment().await.node, "node-1");
    assert_eq!(session.parts_seen, 0);
}

#[tokio::test]
async fn every_change_of_the_desired_state_is_pushed() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut session = site.session(&agent).await;
    let first = session.assignment().await.id.expect("an id");
    let request = v1::AssignRequest {
        purge_data: false,
        node: "node-1".to_owned(),
        role: "database".to_owned(),
        base: Some(first),
    };
    site.admin().assign(request).await.expect("assigned");
    let second = session.assignment().await;
    assert_eq!(second.role, "database");
    assert_eq!(second.id.expect("an id").generation, first.generation + 1);
}

#[tokio::test]
async fn an_agent_that_speaks_for_another_node_is_cut_off() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut session = site.session(&agent).await;
    session.assignment().await;
    let facts = v1::Facts {
        node: "node-2".to_owned(),
        ..v1::Facts::default()
    };
    session.say(Kind::Facts(facts)).await;
    assert_eq!(session.end().await.code(), Code::PermissionDenied);
    let status = site.status().await;
    assert!(status.nodes.iter().all(|node| node.facts.is_none()));
}

#[tokio::test]
async fn an_operator_is_no_agent_and_an_agent_no_operator() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let refused = site.operator(&agent).status(v1::StatusRequest {}).await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
    let mut session = site.session(&site.admin).await;
    assert_eq!(session.end().await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_removed_node_is_refused_at_once_and_its_session_ends() {
    let site = TestSite::start().await;
    let (removed, other) = (site.enrol("node-1").await, site.enrol("node-2").await);
    let (mut session, mut witness) = (site.session(&removed).await, site.session(&other).await);
    session.assignment().await;
    witness.assignment().await;
    let request = v1::RemoveNodeRequest {
        node: "node-1".to_owned(),
    };
    site.admin().remove_node(request).await.expect("removed");
    let end = session.end().await.code();
    assert!(
        matches!(end, Code::Unauthenticated | Code::PermissionDenied),
        "{end:?}"
    );
    assert_eq!(
        witness.assignment().await.revoked_serials,
        [removed.current().serial()]
    );
    // From now on in the handshake; at the very first by the store's word.
    let refused = site.session(&removed).await.end().await.code();
    assert!(
        matches!(
            refused,
            Code::Unauthenticated | Code::PermissionDenied | Code::Unavailable
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn of_two_agents_with_one_name_the_newest_is_served_and_it_is_told() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut first = site.session_since(&agent, 1_000).await;
    first.assignment().await;
    let mut second = site.session_since(&agent, 2_000).await;
    second.assignment().await;
    assert_eq!(first.end().await.code(), Code::Aborted);
    for _ in 0..2 {
        let mut again = site.session_since(&agent, 1_000).await;
        assert_eq!(again.end().await.code(), Code::AlreadyExists);
    }
    let kinds = site.event_kinds().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "node.duplicate")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_session_that_does_not_begin_with_hello_ends() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let (outgoing, messages) = tokio::sync::mpsc::channel(1);
    let message = v1::AgentMessage {
        kind: Some(Kind::Peers(v1::PeerView::default())),
    };
    outgoing.send(message).await.expect("room");
    let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut stream = site
        .agents(&agent)
        .session(stream)
        .await
        .expect("opened")
        .into_inner();
    let ended = stream.message().await.expect_err("refused");
    assert_eq!(ended.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_agent_that_follows_a_later_incarnation_is_refused_with_what_to_do() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let hello = |incarnation| {
        let assignment = v1::AssignmentId {
            incarnation,
            generation: 1,
        };
        v1::AgentMessage {
            kind: Some(Kind::Hello(v1::Hello {
                protocol: 1,
                assignment: Some(assignment),
                ..v1::Hello::default()
            })),
        }
    };
    for (incarnation, refused) in [(1, false), (2, true)] {
        let (outgoing, messages) = tokio::sync::mpsc::channel(1);
        outgoing.send(hello(incarnation)).await.expect("room");
        let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
        let opened = site.agents(&agent).session(stream).await.expect("opened");
        let first = opened.into_inner().message().await;
        assert_eq!(first.is_err(), refused, "{first:?}");
        if let Err(status) = first {
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert!(
                status.message().contains("switch this coordinator off"),
                "{status}"
            );
        }
    }
}

/// What another agent's facts say of the incarnation that it follows.
fn peers(incarnation: u64, proof: Vec<u8>) -> Kind {
    let facts = v1::Facts {
        node: "node-2".to_owned(),
        applied: Some(v1::AssignmentId {
            incarnation,
            generation: 1,
        }),
        proof,
        ..v1::Facts::default()
    };
    let peer = v1::Peer {
        node: "node-2".to_owned(),
        alive: true,
        facts: Some(facts),
    };
    Kind::Peers(v1::PeerView { peers: vec![peer] })
}

#[tokio::test]
async fn a_coordinator_stops_for_good_by_the_cas_word_of_a_later_incarnation_and_by_no_other() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let core = std::sync::Arc::clone(&site.running.core);
    let mut session = site.session(&agent).await;
    let assignment = session.assignment().await;
    assert!(assignment.proof.is_empty(), "never restored");
    let other = hamesh_proto::ca::CertificateAuthority::create(&core.site, "CA", site.clock.now());
    let forged = hamesh_proto::incarnation::prove(&other, &core.site, 9);
    for (incarnation, proof) in [
        (9, Vec::new()),
        (9, forged),
        (8, core.proof(9)),
        (1, core.proof(1)),
    ] {
        session.say(peers(incarnation, proof)).await;
    }
    let own = v1::Facts {
        node: "node-1".to_owned(),
        sequence: 1,
        ..v1::Facts::default()
    };
    session.say(Kind::Facts(own)).await;
    // In order behind the others, which have been looked at by then.
    site.until("told", |status| {
        status.nodes.iter().any(|node| node.facts.is_some())
    })
    .await;
    assert!(!*core.outdated.borrow() && !site.dirs().outdated().exists());
    session.say(peers(9, core.proof(9))).await;
    let ended = tokio::time::timeout(crate::testing::GENEROUS, core.is_outdated()).await;
    ended.expect("it stops");
    let note = std::fs::read_to_string(site.dirs().outdated()).expect("a note");
    assert!(note.contains("incarnation 9"), "{note}");
}

#[tokio::test]
async fn a_certificate_is_renewed_and_the_new_one_opens_a_session() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let key = PrivateKey::generate();
    let request = v1::RenewCertificateRequest {
        csr_der: key.csr_der(),
    };
    let bundle = site
        .agents(&agent)
        .renew_certificate(request)
        .await
        .expect("renewed");
    let renewed = credentials(key, Some(bundle.into_inner()));
    assert_ne!(renewed.current().serial(), agent.current().serial());
    site.session(&renewed).await.assignment().await;
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_and_so_does_every_call_on_its_connection() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut session = site.session(&agent).await;
    session.assignment().await;
    site.clock.advance(hamesh_proto::ca::NODE_VALID / 2);
    let renewal = || v1::RenewCertificateRequest {
        csr_der: PrivateKey::generate().csr_der(),
    };
    let mut client = site.agents(&agent);
    let renewed = client.renew_certificate(renewal()).await;
    renewed.expect("a certificate that still runs is renewed");

    site.clock.advance(hamesh_proto::ca::NODE_VALID);
    let end = session.end().await;
    assert_eq!(end.code(), Code::Unauthenticated);
    for part in ["agent/node-1 ran out", "coordctl node re-enrol node-1"] {
        assert!(end.message().contains(part), "{end}");
    }
    // The connection stands, but nothing is done over it any more.
    let refused = client.renew_certificate(renewal()).await;
    assert_eq!(refused.expect_err("refused").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn an_agent_that_renews_in_a_loop_is_stopped() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let request = v1::RenewCertificateRequest {
        csr_der: PrivateKey::generate().csr_der(),
    };
    let mut last = Ok(());
    for _ in 0..40 {
        last = site
            .agents(&agent)
            .renew_certificate(request.clone())
            .await
            .map(|_| ());
        if last.is_err() {
            break;
        }
    }
    assert_eq!(last.expect_err("bounded").code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn liveness_follows_sessions_and_views_and_its_changes_are_events() {
    let site = TestSite::start().await;
    let mut agents = Vec::new();
    for node in ["control-1", "node-1", "node-2"] {
        let agent = site.enrol(node).await;
        agents.push(site.session(&agent).await);
    }
    for agent in &agents {
        agent.hears(&["control-1", "node-1", "node-2"]).await;
    }
    let states = |status: &v1::SiteStatus| -> Vec<_> {
        status.nodes.iter().map(v1::NodeStatus::state).collect()
    };
    let all_alive = [v1::NodeState::Alive; 3];
    site.until("all alive and seen", |status| {
        states(status) == all_alive
            && status
                .nodes
                .iter()
                .all(|it| (it.seen_by, it.seen_of) == (2, 2))
    })
    .await;

    drop(agents.pop());
    let state = |status: &v1::SiteStatus| status.nodes[2].state();
    site.until("suspect", |status| state(status) == v1::NodeState::Suspect)
        .await;
    for agent in &agents {
        agent.hears(&["control-1", "node-1"]).await;
    }
    // Right after its start a coordinator waits before it calls anyone dead.
    site.until("dead", |status| state(status) == v1::NodeState::Dead)
        .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !site.event_kinds().await.contains(&"node.dead".to_owned()) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            site.event_kinds().await
        );
    }
}

#[tokio::test]
async fn a_node_that_leaves_the_document_loses_its_identity() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-2").await;
    let mut session = site.session(&agent).await;
    let base = session.assignment().await.id;
    let yaml = YAML
        .lines()
        .filter(|line| !line.contains("node-2"))
        .collect::<Vec<_>>()
        .join("\n");
    let request = v1::ApplySiteRequest {
        yaml: yaml + "\n",
        base,
    };
    site.admin().apply_site(request).await.expect("applied");
    let end = session.end().await.code();
    assert!(
        matches!(end, Code::Unauthenticated | Code::PermissionDenied),
        "{end:?}"
    );
    assert!(
        site.event_kinds()
            .await
            .contains(&"node.removed".to_owned())
    );
}
