//! The screens of a recovery, against golden files.

use hamesh_proto::v1;

use super::recovery;
use super::tests::golden;
use crate::ctl::output::json;
use crate::ctl::paint::Look;
use crate::ctl::views::RecoveryView;

const PLAIN: Look = Look {
    colour: false,
    width: None,
};

fn node(name: &str, part: v1::RecoveryPart, reason: &str) -> v1::RecoveryNode {
    v1::RecoveryNode {
        node: name.to_owned(),
        part: part.into(),
        reason: reason.to_owned(),
        ..v1::RecoveryNode::default()
    }
}

fn heard(name: &str, generation: u64, holds: &[&str]) -> v1::RecoveryNode {
    v1::RecoveryNode {
        applied: Some(v1::AssignmentId {
            incarnation: 1,
            generation,
        }),
        version: "0.1.0".to_owned(),
        holds: holds.iter().map(|it| (*it).to_owned()).collect(),
        ..node(name, v1::RecoveryPart::Heard, "")
    }
}

fn state() -> v1::RecoveryState {
    let unheard = "not heard; 2 of 2 know it: haproxy-ext-1, haproxy-ext-2";
    v1::RecoveryState {
        site: "thirteen".to_owned(),
        coordinator: "control-1".to_owned(),
        nodes: vec![
            node(
                "control-1",
                v1::RecoveryPart::Own,
                "enrol it when all is done",
            ),
            node("control-2", v1::RecoveryPart::Missing, unheard),
            heard("haproxy-ext-1", 14, &["vip/edge"]),
            heard("haproxy-ext-2", 13, &[]),
            node(
                "node-9",
                v1::RecoveryPart::Refused,
                "its certificate was revoked, by the backup",
            ),
        ],
        obstacles: vec![
            "a node may hold something and did not tell: control-2; bring it back, or go on \
             --without control-2"
                .to_owned(),
        ],
        plan: None,
    }
}

fn plan() -> v1::RecoveryPlan {
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    v1::RecoveryPlan {
        digest: "0f".repeat(32),
        id: Some(v1::AssignmentId {
            incarnation: 1_790_000_000,
            generation: 15,
        }),
        document_from: "agents".to_owned(),
        yaml: "site: thirteen\n".to_owned(),
        since_backup: vec![v1::PlanStep {
            verb: "add".to_owned(),
            subject: "vip edge".to_owned(),
            detail: "192.168.30.130".to_owned(),
        }],
        changes: Vec::new(),
        nodes: names(&["haproxy-ext-1", "haproxy-ext-2"]),
        claims: vec![v1::RecoveredClaim {
            claim: "vip/edge".to_owned(),
            addresses: names(&["192.168.30.130"]),
            holders: names(&["haproxy-ext-1"]),
            group_version: 1_790_000_000,
            group: names(&["haproxy-ext-1", "haproxy-ext-2", "haproxy-ext-3"]),
            awaits: names(&["haproxy-ext-3"]),
        }],
        notes: vec!["when backups are made is as the backup has it".to_owned()],
    }
}

#[test]
fn who_was_heard_is_told_with_what_stands_in_the_way_or_the_plan() {
    let view = RecoveryView::from(state());
    golden("recovery-missing.txt", &recovery(&view, PLAIN));
    let planned = v1::RecoveryState {
        obstacles: Vec::new(),
        plan: Some(plan()),
        ..state()
    };
    let view = RecoveryView::from(planned);
    golden("recovery-plan.txt", &recovery(&view, PLAIN));
    golden("recovery-plan.json", &json(&view));
}
