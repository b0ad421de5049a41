//! Becoming a member of a site.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/coordinator.rs"]
mod desk;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Parser as _;
use desk::Desk;
use hamesh_agent::apply::intake::Intake;
use hamesh_agent::apply::store::Store;
use hamesh_agent::cli::Cli;
use hamesh_agent::commands::carry_out;
use hamesh_agent::enrol::{EnrolError, Enrolment};
use hamesh_agent::state::StateDir;
use hamesh_proto::leader::{Elsewhere, Leader};
use hamesh_proto::orders::{Purpose, sign};
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::v1;
use support::{Site, coordinator, node};
use tempfile::TempDir;
use tonic::Status;

fn state(root: &TempDir) -> StateDir {
    StateDir::open(&root.path().join("state")).unwrap()
}

fn enrolment(desk: &Desk, at: SocketAddr) -> Enrolment {
    let token = EnrolmentToken::generate(desk.site.ca.fingerprint());
    Enrolment {
        coordinator: at,
        token,
        node: node("node-1"),
        replace: false,
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_node_enrols_with_the_same_key_however_often_it_had_to_ask() {
    let desk = Desk::new(Site::of(1));
    let (api, at) = desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    desk.answers
        .lock()
        .unwrap()
        .push(Status::unavailable("the answer got lost"));
    let enrolment = enrolment(&desk, at);
    let lost = enrolment.run(&state).await.unwrap_err();
    assert!(matches!(lost, EnrolError::Unreachable { .. }), "{lost:?}");
    assert!(state.path().join("identity.pending").exists());

    let credentials = enrolment.run(&state).await.unwrap();
    assert_eq!(
        credentials.spiffe_id().to_string(),
        "spiffe://thirteen/agent/node-1"
    );
    let asked = desk.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    let keys = asked.iter().map(|(csr, _)| {
        desk.site
            .issue(csr, "agent/node-1", std::time::SystemTime::now())
    });
    let ca = vec![desk.site.ca.certificate_der().to_vec()];
    let trust = hamesh_proto::trust::TrustBundle::new(ca).unwrap();
    let keys: Vec<_> = keys
        .map(|der| trust.verify_chain_ignoring_expiry(&der).unwrap().public_key)
        .collect();
    assert_eq!(keys[0], keys[1], "the retry asked for another key");
    assert!(!state.path().join("identity.pending").exists());
    assert_eq!(state.coordinators().unwrap(), [coordinator(api, at)]);
    assert_eq!(mode(&state.path().join("identity.pem")), 0o600);
    assert_eq!(mode(state.path()), 0o700);

    let again = enrolment.run(&state).await.unwrap_err();
    assert!(
        matches!(again, EnrolError::AlreadyEnrolled { .. }),
        "{again:?}"
    );
    assert_eq!(desk.asked.lock().unwrap().len(), 2, "nobody was asked");
}

#[tokio::test]
async fn a_coordinator_that_does_not_show_the_tokens_ca_never_sees_the_token() {
    let desk = Desk::new(Site::of(1));
    let (_, at) = desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let mut enrolment = enrolment(&desk, at);
    enrolment.token = EnrolmentToken::generate(Site::of(1).ca.fingerprint());
    let refused = enrolment.run(&state(&root)).await.unwrap_err();
    assert!(matches!(refused, EnrolError::OtherCa { .. }), "{refused:?}");
    assert!(desk.asked.lock().unwrap().is_empty());
    assert!(!root.path().join("state/identity.pem").exists());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_coordinators_words_and_changes_nothing() {
    let desk = Desk::new(Site::of(1));
    let (_, at) = desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let words = "the token has expired; nothing was changed";
    desk.answers
        .lock()
        .unwrap()
        .push(Status::unauthenticated(words));
    let refused = enrolment(&desk, at).run(&state(&root)).await.unwrap_err();
    assert!(refused.to_string().ends_with(words), "{refused}");
    *desk.certify.lock().unwrap() = "node-9".to_owned();
    let other = enrolment(&desk, at).run(&state(&root)).await.unwrap_err();
    assert!(other.to_string().contains("agent/node-9"), "{other}");
    assert!(!root.path().join("state/identity.pem").exists());
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let unreachable = enrolment(&desk, nobody)
        .run(&state(&root))
        .await
        .unwrap_err();
    assert!(
        matches!(unreachable, EnrolError::Unreachable { .. }),
        "{unreachable:?}"
    );
}

#[tokio::test]
async fn a_node_enrols_with_the_leader_by_the_word_of_one_that_stands_by() {
    let desk = Desk::new(Site::of(1));
    let (_, named) = desk.open().await;
    let (api, leads) = desk.open().await;
    let at = |api, enrolment| {
        let node = node("control-1");
        let leader = Leader {
            node,
            api,
            enrolment,
        };
        Elsewhere::At(leader).status(&self::node("control-2"))
    };
    // One that was just lost, then nobody, then the one that leads.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = gone.local_addr().unwrap();
    *desk.answers.lock().unwrap() = vec![
        at(api, gone),
        Elsewhere::Nowhere.status(&node("control-2")),
        at(api, leads),
    ];
    let root = tempfile::tempdir().unwrap();
    let credentials = enrolment(&desk, named).run(&state(&root)).await.unwrap();
    assert_eq!(
        credentials.spiffe_id().to_string(),
        "spiffe://thirteen/agent/node-1"
    );
    let asked = desk.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|it| it == &asked[0]));
}

/// `hamesh-agent enroll`, as it is typed.
async fn enrolled(desk: &Desk, at: SocketAddr, root: &TempDir) {
    let token = EnrolmentToken::generate(desk.site.ca.fingerprint()).to_string();
    let at = at.to_string();
    let directory = |name: &str| root.path().join(name).display().to_string();
    let (state, apply) = (directory("state"), directory("apply"));
    let words = ["hamesh-agent", "enroll", "--node", "node-1", "--no-start"];
    let places = ["--replace", "--state-dir", &state, "--apply-dir", &apply];
    let named = ["--coordinator", &at, "--token", &token];
    let words = words.into_iter().chain(places).chain(named);
    carry_out(Cli::parse_from(words)).await.unwrap();
}

#[tokio::test]
async fn who_enrols_says_whose_orders_are_believed_and_who_enrols_anew_says_so_again() {
    let (one, other) = (Desk::new(Site::of(1)), Desk::new(Site::of(1)));
    let root = tempfile::tempdir().unwrap();
    let (_, at) = one.open().await;
    enrolled(&one, at, &root).await;
    assert_eq!(mode(&root.path().join("apply/anchor.json")), 0o600);
    let store = Store::open(&root.path().join("apply"), &root.path().join("run")).unwrap();
    let intake = Intake::new(store);
    let (orders, refused) = (intake.orders(), intake.refused());
    let order = |number| v1::RoleOrder {
        number,
        ..v1::RoleOrder::default()
    };
    let say = |desk: &Desk, path: &str, number| {
        let signer = desk.site.credentials(path);
        intake.order(&sign(
            &signer,
            Purpose::Order,
            &node("node-1"),
            &order(number),
        ));
        let taken = orders.borrow().as_ref().map(|it| it.order.number);
        (taken, refused.borrow().as_ref().map_or(0, |it| it.count))
    };
    assert_eq!(say(&one, "agent/node-1", 1), (None, 1));
    assert_eq!(say(&one, "coordinator/control-1", 2), (Some(2), 1));
    assert_eq!(say(&other, "coordinator/control-1", 3), (Some(2), 2));
    let (_, at) = other.open().await;
    enrolled(&other, at, &root).await;
    assert_eq!(say(&other, "coordinator/control-1", 1), (Some(1), 2));
    assert_eq!(say(&one, "coordinator/control-1", 4), (Some(1), 3));
}
