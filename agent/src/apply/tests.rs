//! What is aimed at and what a failure means, whole; in `believing` whose orders count, and in
//! `running` the loop itself; in `handing` what is not taken while its unit runs.

use std::fs;
use std::path::{Path, PathBuf};

use hamesh_proto::v1;
use hamesh_roles::engine::plan::Reason;
use hamesh_roles::engine::{Action, Content, Desired, File, Resource, ResourceId, Step};

use super::decide::{Consequence, Good, Order, Target, Verdict, corrections};
use super::drivers::owners;
use super::trouble::Trouble;

mod believing;
mod handing;
mod running;

fn file(path: &Path, text: &str) -> Resource {
    let above = path.parent().expect("a folder");
    let (owner, group) = owners::names(&fs::metadata(above).expect("a folder"));
    Resource::File(File {
        path: path.display().to_string(),
        owner,
        group,
        mode: 0o644,
        content: Content::plain(text),
        comment: "#".to_owned(),
        validate: ["grep", "-q", "good", "{}"].map(str::to_owned).to_vec(),
        live: None,
    })
}

fn desired(resources: Vec<Resource>) -> Desired {
    Desired {
        resources,
        ..Desired::default()
    }
}

fn order(desired: &Desired, generation: u64, attempt: u64) -> v1::RoleOrder {
    v1::RoleOrder {
        digest: desired.digest().to_string(),
        assignment: Some(v1::AssignmentId {
            incarnation: 0,
            generation,
        }),
        desired: serde_json::to_vec(desired).expect("plain JSON"),
        attempt,
        epoch: 1,
        number: generation + attempt,
        ..v1::RoleOrder::default()
    }
}

fn read(order: &v1::RoleOrder) -> Order {
    Order::try_from(order).expect("an order")
}

fn verdict(order: &Order) -> Verdict {
    Verdict {
        digest: order.digest.clone(),
        attempt: order.attempt,
        trouble: Trouble::plain("it broke"),
    }
}

fn two_orders() -> (Order, Order) {
    let path = PathBuf::from("/tmp/x");
    let old = read(&order(&desired(vec![file(&path, "old")]), 1, 0));
    let new = read(&order(&desired(vec![file(&path, "new")]), 2, 0));
    (old, new)
}

#[test]
fn what_is_aimed_at_follows_from_order_good_and_verdict_alone() {
    let (old, new) = two_orders();
    let (good, failed) = (old.good(), verdict(&new));
    let again = Order {
        attempt: 1,
        ..new.clone()
    };
    let watched = Order {
        observe: true,
        ..new.clone()
    };
    type Case<'a> = (&'a Order, Option<&'a Good>, Option<&'a Verdict>, Target<'a>);
    let now_good = new.good();
    let cases: [Case<'_>; 8] = [
        (&new, None, None, Target::Order(&new)),
        (&new, Some(&good), None, Target::Order(&new)),
        (&new, Some(&good), Some(&failed), Target::Good(&good)),
        (&new, None, Some(&failed), Target::Stay),
        (&again, Some(&good), Some(&failed), Target::Order(&again)),
        (&old, Some(&good), Some(&failed), Target::Order(&old)),
        (
            &watched,
            Some(&good),
            Some(&failed),
            Target::Order(&watched),
        ),
        (&new, Some(&now_good), Some(&failed), Target::Order(&new)),
    ];
    for (n, (order, good, verdict, target)) in cases.into_iter().enumerate() {
        assert_eq!(Target::choose(order, good, verdict), target, "case {n}");
    }
}

#[test]
fn only_an_order_that_never_worked_can_fail() {
    let (old, new) = two_orders();
    let good = old.good();
    let consequence = |target: Target<'_>| target.consequence(Some(&good));
    assert_eq!(consequence(Target::Order(&new)), Consequence::Verdict);
    assert_eq!(consequence(Target::Order(&old)), Consequence::Retry);
    assert_eq!(consequence(Target::Good(&good)), Consequence::Retry);
    assert_eq!(Target::Order(&new).consequence(None), Consequence::Verdict);
}

#[test]
fn an_order_of_a_later_version_is_refused_with_what_to_do() {
    let mut wire = order(&Desired::default(), 1, 0);
    wire.desired = br#"{"role":null,"resources":[{"kind":"quantum"}],"gates":[],
        "lifelines":[],"purge_data":false}"#
        .to_vec();
    let why = Order::try_from(&wire).expect_err("unknown").to_string();
    assert!(
        why.contains("quantum") && why.contains("upgrade hamesh-agent"),
        "{why}"
    );
    let mut wire = order(&Desired::default(), 1, 0);
    wire.desired.pop();
    wire.desired.extend(br#","added_later":1}"#);
    let mut other = wire.clone();
    other.digest = "0".repeat(64);
    assert!(Order::try_from(&other).is_err(), "another digest");
}

#[test]
fn a_certificate_renewed_in_time_is_no_drift() {
    let (old, _) = two_orders();
    let made = Action::Make(old.desired.resources[0].clone());
    let step = |action: &Action, reason| Step {
        action: action.clone(),
        reason,
        change: Vec::new(),
    };
    let prove = step(&Action::Prove(Vec::new()), Reason::NotProven);
    let reload = step(&made, Reason::NotLoaded(vec![ResourceId::file("/tmp/x")]));
    let steps = [step(&made, Reason::Missing), reload.clone(), prove.clone()];
    assert_eq!(corrections(&steps), 2);
    assert_eq!(corrections(&[step(&made, Reason::Due), reload, prove]), 0);
}
