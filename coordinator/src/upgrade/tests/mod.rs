//! The order, what a node lacks, and a rollout with agents that are played.

mod played;

use std::collections::{BTreeMap, BTreeSet};

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::version::PackageVersion;
use proptest::prelude::*;

use super::gate::{Lack, held, lack};
use super::plan::{Claim, Desired, Node, Observed, Part, Reason, Written, plan};

const OLD: &str = "0.1.0";
const NEW: &str = "0.1.0+next1";

fn name(text: &str) -> NodeId {
    text.parse().expect("a node name")
}

fn version(text: &str) -> PackageVersion {
    text.parse().expect("a version")
}

fn claim(text: &str) -> ClaimId {
    ClaimId::vip(text).expect("a claim")
}

fn node(runs: &str, packages: &[&str]) -> Node {
    let package = |name: &&str| ((*name).to_owned(), version(runs));
    Node {
        absent: None,
        running: Some(version(runs)),
        packages: packages.iter().map(package).collect(),
        upgrading: false,
    }
}

/// The reference site, with three coordinators and two claims.
fn thirteen() -> Observed {
    let all = ["hamesh-agent", "hamesh-cli", "hamesh-coordinator"];
    let mut nodes = BTreeMap::new();
    for kind in ["control", "database", "node"] {
        for n in 1..=3 {
            let packages = if kind == "control" {
                &all[..]
            } else {
                &all[..1]
            };
            nodes.insert(name(&format!("{kind}-{n}")), node(OLD, packages));
        }
    }
    let mut claims = BTreeMap::new();
    for (vip, kind) in [("edge", "haproxy-ext"), ("internal", "haproxy-int")] {
        let members: BTreeSet<_> = [1, 2].map(|n| name(&format!("{kind}-{n}"))).into();
        for member in &members {
            nodes.insert(member.clone(), node(OLD, &all[..1]));
        }
        let holder = members.first().cloned();
        let held = Claim {
            members,
            holder,
            ..Claim::default()
        };
        claims.insert(claim(vip), held);
    }
    Observed {
        leader: name("control-1"),
        coordinators: [1, 2, 3].map(|n| name(&format!("control-{n}"))).into(),
        nodes,
        claims: Some(claims),
    }
}

fn to(target: &str) -> Desired {
    Desired {
        target: version(target),
        only: BTreeSet::new(),
        skip: BTreeSet::new(),
    }
}

fn written() -> Written {
    Written {
        format: 1,
        read_since: version(OLD),
    }
}

fn order(observed: &Observed, desired: &Desired) -> Vec<String> {
    let steps = plan(observed, desired, &written()).expect("a plan");
    steps.iter().map(|step| step.node.to_string()).collect()
}

fn reasons(observed: &Observed, desired: &Desired) -> Vec<Reason> {
    plan(observed, desired, &written()).expect_err("refused").0
}

#[test]
fn coordinators_come_first_the_leader_last_of_them_and_standbys_before_holders() {
    let wanted = [
        "control-2",
        "control-3",
        "control-1",
        "database-1",
        "database-2",
        "database-3",
        "node-1",
        "node-2",
        "node-3",
        "haproxy-ext-2",
        "haproxy-int-2",
        "haproxy-ext-1",
        "haproxy-int-1",
    ];
    assert_eq!(order(&thirteen(), &to(NEW)), wanted);
    let steps = plan(&thirteen(), &to(NEW), &written()).expect("a plan");
    assert_eq!(
        (steps[0].part, steps[2].part),
        (Part::Coordinator, Part::Leader)
    );
    assert_eq!(steps[9].stands_by, [claim("edge")].into());
    assert_eq!(steps[11].holds, [claim("edge")].into());
}

/// Crash before each step, plan again: exactly the rest is left, whoever leads then.
#[test]
fn a_plan_made_anew_is_what_is_left_of_the_old_one() {
    let mut site = thirteen();
    let mut left = order(&site, &to(NEW));
    while !left.is_empty() {
        let done = name(&left.remove(0));
        let packages: Vec<_> = site.nodes[&done].packages.keys().cloned().collect();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        let upgraded = node(NEW, &packages);
        site.nodes.insert(done.clone(), upgraded);
        if done == site.leader {
            site.leader = name("control-2");
        }
        assert_eq!(order(&site, &to(NEW)), left);
    }
    // And back, as far as the store allows it.
    assert_eq!(order(&site, &to(OLD)).len(), 13);
}

#[test]
fn a_node_that_has_some_of_it_is_still_to_do() {
    let mut site = thirteen();
    let half = site.nodes.get_mut("control-2").expect("there");
    half.packages
        .insert("hamesh-agent".to_owned(), version(NEW));
    half.running = Some(version(NEW));
    assert_eq!(order(&site, &to(NEW))[0], "control-2");
    let unpacked = site.nodes.get_mut("node-1").expect("there");
    unpacked
        .packages
        .insert("hamesh-agent".to_owned(), version(NEW));
    assert!(order(&site, &to(NEW)).contains(&"node-1".to_owned()));
}

#[test]
fn every_reason_against_it_is_told_before_anything_is_done() {
    let mut site = thirteen();
    site.nodes.get_mut("node-1").expect("there").absent = Some("dead: no session".to_owned());
    site.nodes
        .get_mut("node-2")
        .expect("there")
        .packages
        .clear();
    site.nodes.get_mut("node-3").expect("there").upgrading = true;
    let named = Desired {
        skip: [name("node-9")].into(),
        ..to(NEW)
    };
    let why = "dead: no session".to_owned();
    let wanted = [
        Reason::Stranger(name("node-9")),
        Reason::Absent {
            node: name("node-1"),
            why,
        },
        Reason::NoPackages(name("node-2")),
        Reason::Upgrading(name("node-3")),
    ];
    assert_eq!(reasons(&site, &named), wanted);
    let refused = plan(&site, &named, &written()).expect_err("refused");
    assert!(refused.to_string().contains("--skip node-1"), "{refused}");
    assert!(!refused.is_work_in_progress());

    let skipped = Desired {
        skip: ["node-1", "node-2", "node-3"].map(name).into(),
        ..to(NEW)
    };
    assert_eq!(order(&site, &skipped).len(), 10);
    let only = Desired {
        only: ["node-3"].map(name).into(),
        ..to(NEW)
    };
    assert!(
        plan(&site, &only, &written())
            .expect_err("at work")
            .is_work_in_progress()
    );
    site.claims = None;
    let only = Desired {
        only: ["database-1"].map(name).into(),
        ..to(NEW)
    };
    assert_eq!(reasons(&site, &only), [Reason::NoClaims]);
}

#[test]
fn no_coordinator_goes_back_to_a_version_that_cannot_read_the_store() {
    let too_old = Reason::TooOld {
        target: version("0.0.9"),
        format: 1,
        read_since: version(OLD),
    };
    let told = too_old.to_string();
    assert!(told.contains("0.0.9") && told.contains("0.1.0"), "{told}");
    assert_eq!(reasons(&thirteen(), &to("0.0.9")), [too_old]);
    let agents = Desired {
        only: ["node-1"].map(name).into(),
        ..to("0.0.9")
    };
    assert_eq!(order(&thirteen(), &agents), ["node-1"]);
}

#[test]
fn a_node_is_well_when_it_runs_the_version_and_what_was_held_is_held() {
    let mut site = thirteen();
    let (edge, target) = (name("haproxy-ext-1"), version(NEW));
    let before = held(&site);
    assert_eq!(before, [claim("edge"), claim("internal")].into());
    let is = |site: &Observed| lack(&edge, site, &target, &before);
    let not_yet = Lack::Version {
        node: edge.clone(),
        target: target.clone(),
    };
    assert_eq!(is(&site), Some(not_yet));
    site.nodes
        .insert(edge.clone(), node(NEW, &["hamesh-agent"]));
    assert_eq!(is(&site), None);
    site.nodes.get_mut(&edge).expect("there").upgrading = true;
    assert_eq!(is(&site), Some(Lack::Upgrading(edge.clone())));
    site.nodes
        .insert(edge.clone(), node(NEW, &["hamesh-agent"]));

    let internal = claim("internal");
    let claims = site.claims.as_mut().expect("known");
    claims.get_mut(&internal).expect("there").holder = None;
    assert_eq!(is(&site), Some(Lack::Vacant(internal.clone())));
    let claims = site.claims.as_mut().expect("known");
    claims.get_mut(&internal).expect("there").by_hand = true;
    assert_eq!(is(&site), None, "a human holds it");
    site.claims.as_mut().expect("known").remove(&internal);
    assert_eq!(is(&site), None, "it is no claim any more");
    site.claims = None;
    assert_eq!(is(&site), Some(Lack::NoClaims));
    site.nodes.get_mut(&edge).expect("there").absent = Some("dead: x".to_owned());
    assert!(matches!(is(&site), Some(Lack::Absent { .. })));
    site.nodes.remove(&edge);
    assert_eq!(is(&site), Some(Lack::Gone(edge.clone())));
}

proptest! {
    #[test]
    fn invariant_standbys_before_their_holder_and_every_node_once(
        leads in 1..=3_usize,
        holders in [any::<bool>(), any::<bool>()],
        done in prop::collection::vec(0..13_usize, 0..6),
    ) {
        let mut site = thirteen();
        site.leader = name(&format!("control-{leads}"));
        let claims = site.claims.as_mut().expect("known");
        for (claim, last) in claims.values_mut().zip(holders) {
            let members = &claim.members;
            claim.holder = if last { members.last() } else { members.first() }.cloned();
        }
        let names: Vec<_> = site.nodes.keys().cloned().collect();
        for n in done {
            let packages = site.nodes[&names[n]].packages.clone();
            let packages: Vec<&str> = packages.keys().map(String::as_str).collect();
            site.nodes.insert(names[n].clone(), node(NEW, &packages));
        }
        let steps = plan(&site, &to(NEW), &written()).expect("a plan");
        let place = |node: &NodeId| steps.iter().position(|step| step.node == *node);
        for node in site.nodes.keys() {
            let times = steps.iter().filter(|step| step.node == *node).count();
            let wanted = usize::from(!site.nodes[node].has(&version(NEW)));
            prop_assert_eq!(times, wanted);
        }
        for claim in site.claims.as_ref().expect("known").values() {
            let holder = claim.holder.as_ref().expect("held");
            for standby in claim.members.iter().filter(|it| *it != holder) {
                if let (Some(standby), Some(holder)) = (place(standby), place(holder)) {
                    prop_assert!(standby < holder);
                }
            }
        }
        prop_assert!(steps.is_sorted_by_key(|step| step.part));
    }
}
