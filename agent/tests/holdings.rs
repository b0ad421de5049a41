//! What an agent tells a coordinator that lost everything but the CA, and to whom it tells nothing.
//! In a network namespace of its own: an agent with a claim loads its fence. Needs root and `nft`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/coordinator.rs"]
mod desk;
mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use desk::Desk;
use hamesh_agent::agent::Agent;
use hamesh_agent::assignment::Assignment;
use hamesh_agent::cli::Places;
use hamesh_agent::held::{Held, Untold};
use hamesh_agent::keys::StoredRing;
use hamesh_agent::metrics::Metrics;
use hamesh_agent::state::StateDir;
use hamesh_claims::group::Group;
use hamesh_claims::ids::{Epoch, GroupVersion, NodeName};
use hamesh_claims::member::Durable;
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::incarnation::prove;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind as Said;
use nix::sched::{CloneFlags, unshare};
use support::{Site, coordinator, until};
use tempfile::TempDir;

fn places(root: &TempDir) -> Places {
    Places {
        state_dir: root.path().join("state"),
        runtime_dir: root.path().join("run"),
        apply_dir: root.path().join("apply"),
    }
}

fn vip() -> v1::Claim {
    v1::Claim {
        name: "vip/db".to_owned(),
        addresses: vec!["192.168.56.50".to_owned()],
        ttl_ms: 350,
        checks: Vec::new(),
        candidates: vec!["node-1".to_owned(), "node-2".to_owned()],
        beside: false,
    }
}

fn part() -> v1::SitePart {
    let place = v1::Place {
        network: "trust".to_owned(),
        cidr: "192.168.56.0/24".to_owned(),
        address: "192.168.56.41".to_owned(),
    };
    v1::SitePart {
        management_network: "trust".to_owned(),
        places: vec![place],
        vips: Vec::new(),
    }
}

/// What an agent has on disk when the last coordinator is gone.
fn keep(desk: &Desk, root: &TempDir, held: &v1::Assignment, ring: &KeyRing) {
    let state = StateDir::open(&root.path().join("state")).unwrap();
    let identity = desk.site.issued_ago("agent/node-1", Duration::ZERO);
    state.save_identity(&identity).unwrap();
    let (api, enrolment) = desk.addresses.lock().unwrap().expect("open");
    state
        .save_coordinators(&[coordinator(api, enrolment)])
        .unwrap();
    let assignment = Assignment::try_from(held.clone()).unwrap();
    state.save_assignment(&assignment).unwrap();
    state
        .save_key_ring(&StoredRing::from(&v1::GossipKeyRing::from(ring)))
        .unwrap();
    let members = ["node-1", "node-2"].map(NodeName::new).into();
    let disk = Durable {
        group: Some(Group::exclusive(GroupVersion(9), members)),
        seen: Epoch {
            incarnation: 4,
            term: 2,
        },
    };
    let claim = "vip/db".parse().unwrap();
    state.save_claim(&claim, &disk).unwrap();
}

fn loaded(desk: &Desk, root: &TempDir) -> Held {
    let credentials = LiveCredentials::new(desk.site.credentials("agent/node-1"));
    Held::load(
        "thirteen".parse().unwrap(),
        "node-1".parse().unwrap(),
        StateDir::open(&root.path().join("state")).unwrap(),
        credentials,
        Arc::new(Metrics::new("1").unwrap()),
    )
}

fn holdings(desk: &Desk) -> Option<v1::Holdings> {
    let said = desk.said.lock().unwrap();
    said.iter().find_map(|heard| match &heard.said {
        Said::Holdings(holdings) => Some(holdings.clone()),
        _ => None,
    })
}

/// Runs a test, and every thread that it starts, in a network that is gone after it.
fn in_own_network(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(test);
    });
    thread.join().expect("the test holds");
}

#[test]
fn all_that_is_held_is_told_to_who_proves_a_later_incarnation_and_to_nobody_else() {
    in_own_network(told_to_who_proves_it());
}

async fn told_to_who_proves_it() {
    let desk = Desk::new(Site::of(1));
    desk.open().await;
    let root = tempfile::tempdir().unwrap();
    let mut held = v1::Assignment::from(&desk.site.assignment("node-1", 7));
    held.id = Some(v1::AssignmentId {
        incarnation: 4,
        generation: 7,
    });
    held.claims = vec![vip()];
    held.coordinators = vec![desk.endpoint()];
    held.part = Some(part());
    let ring = KeyRing::generate();
    keep(&desk, &root, &held, &ring);
    let site = "thirteen".parse().unwrap();
    let proof = |incarnation| prove(&desk.site.ca, &site, incarnation);
    // Another CA's word, another number's, and no later number than its own.
    let stranger = prove(&Site::of(1).ca, &site, 5);
    for (incarnation, proof, why) in [
        (5, stranger, Untold::Unproven(5)),
        (5, proof(6), Untold::Unproven(5)),
        (
            4,
            proof(4),
            Untold::NoNews {
                offered: 4,
                present: 4,
            },
        ),
    ] {
        let asked = v1::Recover { incarnation, proof };
        assert_eq!(loaded(&desk, &root).tell(&asked).await, Err(why));
    }
    let agent = Agent::start(&places(&root), 0).await.unwrap();
    desk.recover.send_replace(Some(v1::Recover {
        incarnation: 5,
        proof: proof(5),
    }));
    let desk_now = Arc::clone(&desk);
    let told = until("it tells what it holds", || {
        holdings(&desk_now).ok_or("nothing")
    })
    .await;
    assert_eq!(told.assignment, Some(held));
    assert_eq!(told.key_ring, Some(v1::GossipKeyRing::from(&ring)));
    let names = || vec!["node-1".to_owned(), "node-2".to_owned()];
    let claim = v1::HeldClaim {
        claim: "vip/db".to_owned(),
        seen_incarnation: 4,
        seen_term: 2,
        group: Some(v1::ClaimGroup {
            version: 9,
            candidates: names(),
            peers: names(),
        }),
    };
    assert_eq!(told.claims, [claim]);
    // It goes on as it was.
    assert_eq!(agent.status().assignment.unwrap().id, "4.7");
}

#[tokio::test]
async fn the_nodes_that_operators_drained_are_known_after_a_restart() {
    let desk = Desk::new(Site::of(1));
    let root = tempfile::tempdir().unwrap();
    let held = loaded(&desk, &root);
    assert!(held.drained().borrow().is_empty());
    for nodes in [vec!["node-1".to_owned(), "node-2".to_owned()], vec![]] {
        let told = v1::Drained { nodes };
        held.drain(told.clone()).await;
        let kept: Vec<String> = {
            let kept = loaded(&desk, &root).drained();
            let kept = kept.borrow();
            kept.iter().map(ToString::to_string).collect()
        };
        assert_eq!(kept, told.nodes);
    }
}
