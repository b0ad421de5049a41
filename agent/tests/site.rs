//! An agent and a coordinator: session, renewal, and what survives without either.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/coordinator.rs"]
mod desk;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use desk::Desk;
use hamesh_agent::agent::{Agent, StartError};
use hamesh_agent::cli::Places;
use hamesh_agent::enrol::re_enrol;
use hamesh_agent::state::{StateDir, StateError};
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::metrics_http::fetch_tls;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::tls::Expect;
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind as Said;
use support::{Site, coordinator, until};
use tempfile::TempDir;
use tonic::Status;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn places(root: &TempDir) -> Places {
    Places {
        state_dir: root.path().join("state"),
        runtime_dir: root.path().join("run"),
        apply_dir: root.path().join("apply"),
    }
}

fn state(root: &TempDir) -> StateDir {
    StateDir::open(&root.path().join("state")).unwrap()
}

/// An agent of `node-1` whose certificate was issued some time ago.
async fn agent(desk: &Desk, root: &TempDir, ago: Duration) -> Agent {
    let state = state(root);
    state
        .save_identity(&desk.site.issued_ago("agent/node-1", ago))
        .unwrap();
    let (api, enrolment) = desk.addresses.lock().unwrap().expect("open");
    state
        .save_coordinators(&[coordinator(api, enrolment)])
        .unwrap();
    Agent::start(&places(root), 0).await.unwrap()
}

fn assignment(desk: &Desk, incarnation: u64, generation: u64) -> v1::Assignment {
    let member = |(node, gossip): (&_, &SocketAddr)| v1::Member {
        node: ToString::to_string(node),
        role: "database".to_owned(),
        gossip: gossip.to_string(),
        leases: String::new(),
    };
    v1::Assignment {
        id: Some(v1::AssignmentId {
            incarnation,
            generation,
        }),
        site: "thirteen".to_owned(),
        node: "node-1".to_owned(),
        role: "database".to_owned(),
        members: desk.site.members.iter().map(member).collect(),
        coordinators: vec![desk.endpoint()],
        revoked_serials: vec![],
        claims: vec![],
        proof: vec![],
        part: None,
    }
}

/// Waits for a message that `find` takes, and gives what it makes of it.
async fn heard<T>(desk: &Desk, what: &str, find: impl Fn(&desk::Heard) -> Option<T>) -> T {
    let said = Arc::clone(&desk.said);
    until(what, || {
        let said = said.lock().unwrap();
        said.iter()
            .find_map(&find)
            .ok_or_else(|| format!("{said:#?}"))
    })
    .await
}

fn ack_of(generation: u64) -> impl Fn(&desk::Heard) -> Option<(String, Option<String>)> {
    move |heard| match &heard.said {
        Said::AssignmentAck(ack) if ack.id.is_some_and(|id| id.generation == generation) => {
            Some((ack.refused.clone(), heard.on_disk.clone()))
        }
        _ => None,
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn an_assignment_is_on_disk_before_it_is_acknowledged_and_an_older_one_is_refused() {
    let desk = Desk::new(Site::of(3));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    *desk.watched.lock().unwrap() = Some(root.path().join("state/assignment.json"));
    desk.assignment.send_replace(Some(assignment(&desk, 1, 7)));
    let ring = KeyRing::generate();
    desk.ring.send_replace(Some(ring.clone()));
    let running = agent(&desk, &root, Duration::ZERO).await;

    let (refused, on_disk) = heard(&desk, "generation 7 is acknowledged", ack_of(7)).await;
    assert_eq!(refused, "");
    assert!(
        on_disk
            .expect("it is on disk")
            .contains("\"generation\": 7")
    );
    heard(&desk, "the keys are acknowledged", |heard| {
        matches!(&heard.said, Said::KeyRingAck(ack) if ack.version == ring.version()).then_some(())
    })
    .await;
    heard(
        &desk,
        "its facts tell role and generation",
        |heard| match &heard.said {
            Said::Facts(facts) if facts.role == "database" => {
                facts.applied.filter(|id| id.generation == 7)
            }
            _ => None,
        },
    )
    .await;
    assert_eq!(mode(&root.path().join("state/key-ring.json")), 0o600);

    desk.assignment.send_replace(Some(assignment(&desk, 1, 6)));
    let (refused, _) = heard(&desk, "generation 6 is answered", ack_of(6)).await;
    assert!(refused.contains("older than 1.7"), "{refused}");
    let mut other_node = assignment(&desk, 2, 8);
    other_node.node = "node-2".to_owned();
    desk.assignment.send_replace(Some(other_node));
    let (refused, _) = heard(&desk, "generation 8 is answered", ack_of(8)).await;
    assert!(refused.contains("for node-2"), "{refused}");
    let told = running.status().assignment.expect("still in force");
    assert_eq!((told.id.as_str(), told.members), ("1.7", 3));
    assert_eq!(running.metrics().assignments_refused.get(), 2);
    running.stop().await;

    // No coordinator answers from here on: the agent starts from its disk.
    let state = state(&root);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    state
        .save_coordinators(&[coordinator(nowhere, nowhere)])
        .unwrap();
    let mut held = state.assignment().unwrap().unwrap();
    held.coordinators.clear();
    state.save_assignment(&held).unwrap();
    let alone = Agent::start(&places(&root), 0).await.unwrap();
    let status = until("it says that it is alone, and who the others are", || {
        let status = alone.status();
        if status.session_problem.is_some() && !status.peers.is_empty() {
            Ok(status)
        } else {
            Err(Box::new(status))
        }
    })
    .await;
    assert_eq!(status.session, None);
    assert_eq!(status.assignment.unwrap().id, "1.7");
    assert_eq!(status.key_ring_version, ring.version());
    assert_eq!(status.peers.len(), 2);
}

#[tokio::test]
async fn a_disk_that_refuses_stops_nothing_is_told_and_is_made_up_for() {
    let desk = Desk::new(Site::of(1));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    // Even root cannot put a file in the place of a directory that is not empty.
    let in_the_way = root.path().join("state/assignment.json");
    fs::create_dir_all(in_the_way.join("inside")).unwrap();
    desk.assignment.send_replace(Some(assignment(&desk, 1, 3)));
    let running = agent(&desk, &root, Duration::ZERO).await;
    let (refused, _) = heard(&desk, "generation 3 is answered", ack_of(3)).await;
    assert!(
        refused.contains("in force in memory, but not on disk"),
        "{refused}"
    );
    let status = running.status();
    assert_eq!(status.assignment.unwrap().id, "1.3");
    assert!(status.state_problem.unwrap().contains("assignment.json"));
    assert_eq!(running.metrics().state_writable.get(), 0);

    fs::remove_dir_all(&in_the_way).unwrap();
    heard(
        &desk,
        "it is acknowledged after all",
        |heard| match &heard.said {
            Said::AssignmentAck(ack) if ack.refused.is_empty() => Some(()),
            _ => None,
        },
    )
    .await;
    assert_eq!(running.status().state_problem, None);
    assert_eq!(running.metrics().state_writable.get(), 1);
    assert!(in_the_way.is_file());
}

#[tokio::test]
async fn a_certificate_past_two_thirds_is_renewed_without_a_restart_and_used_everywhere() {
    let desk = Desk::new(Site::of(1));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let running = agent(&desk, &root, 6 * DAY + 20 * DAY / 24).await;
    let old = running.status().certificate;
    let saved = until("the certificate is another", || {
        let saved = state(&root).identity().unwrap().unwrap();
        if saved.serial() == old.serial {
            Err(old.clone())
        } else {
            Ok(saved)
        }
    })
    .await;
    until("what is on disk is in use", || {
        let used = running.status().certificate;
        if used.serial == saved.serial() {
            Ok(())
        } else {
            Err(used)
        }
    })
    .await;
    heard(&desk, "the session shows the new certificate", |heard| {
        (heard.serial == saved.serial()).then_some(())
    })
    .await;
    heard(
        &desk,
        "its facts tell the new expiry",
        |heard| match &heard.said {
            Said::Facts(facts) => {
                (facts.certificate_expires_unix_ms == saved.not_after_unix_ms()).then_some(())
            }
            _ => None,
        },
    )
    .await;
    let scraper = LiveCredentials::new(desk.site.credentials("operator/prometheus"));
    let port = running.metrics_address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (status, body) = fetch_tls(address, &scraper, Expect::Member, "/metrics")
        .await
        .unwrap();
    assert!(status.is_success());
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        text.contains("hamesh_agent_renewals_total{result=\"ok\"} 1"),
        "{text}"
    );
    assert!(text.contains("hamesh_agent_session_connected 1"), "{text}");
    let other = LiveCredentials::new(desk.site.credentials("agent/node-2"));
    let (status, _) = fetch_tls(address, &other, Expect::Member, "/metrics")
        .await
        .unwrap();
    assert_eq!(
        status.as_u16(),
        403,
        "an agent may not read another's metrics"
    );
}

#[tokio::test]
async fn a_node_that_slept_past_its_expiry_comes_back_once_an_admin_lets_it() {
    let desk = Desk::new(Site::of(1));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let closed = || Status::permission_denied("no re-enrolment is open for the node `node-1`");
    desk.answers.lock().unwrap().push(closed());
    let running = agent(&desk, &root, 8 * DAY).await;
    let old = running.status().certificate;
    until("it has come back", || {
        let status = running.status();
        let back = status.certificate.serial != old.serial && status.session.is_some();
        if back { Ok(()) } else { Err(Box::new(status)) }
    })
    .await;
    assert_eq!(
        desk.asked.lock().unwrap().len(),
        2,
        "refused once, then let in"
    );
    assert_eq!(
        running
            .metrics()
            .renewals
            .with_label_values(&["failed"])
            .get(),
        1
    );
    running.stop().await;

    let state = state(&root);
    let expired = desk.site.issued_ago("agent/node-1", 8 * DAY);
    desk.answers.lock().unwrap().push(closed());
    let (_, at) = desk.addresses.lock().unwrap().expect("open");
    let refused = re_enrol(&state, &expired, &[at]).await.unwrap_err();
    assert!(
        refused.to_string().contains("no re-enrolment is open"),
        "{refused}"
    );
    assert!(re_enrol(&state, &expired, &[at]).await.is_ok());
}

#[tokio::test]
async fn two_agents_never_work_on_one_directory_and_none_without_an_identity() {
    let desk = Desk::new(Site::of(1));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let refused = Agent::start(&places(&root), 0).await.unwrap_err();
    assert!(matches!(refused, StartError::NotEnrolled(_)), "{refused:?}");
    let running = agent(&desk, &root, Duration::ZERO).await;
    let refused = Agent::start(&places(&root), 0).await.unwrap_err();
    assert!(
        matches!(refused, StartError::State(StateError::Locked { .. })),
        "{refused:?}"
    );
    running.stop().await;
    Agent::start(&places(&root), 0)
        .await
        .expect("the directory is free again");
}

#[test]
fn the_number_of_a_run_rises_though_the_clock_goes_back() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    assert_eq!(state.next_start(5_000).unwrap(), 5_000);
    assert_eq!(state.next_start(1_000).unwrap(), 5_001);
    assert_eq!(state.next_start(9_000).unwrap(), 9_000);
    fs::write(state.path().join("started"), "damaged").unwrap();
    assert_eq!(state.next_start(9_500).unwrap(), 9_500);
}
