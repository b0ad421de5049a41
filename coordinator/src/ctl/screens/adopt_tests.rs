//! The screen of taking a node over, against golden files.

use std::collections::BTreeSet;

use hamesh_proto::ids::NodeId;
use hamesh_roles::adoption::Stage;

use super::adoption;
use super::tests::{PLAIN, golden};
use crate::ctl::output::json;
use crate::ctl::views::{AdoptionView, NodePlanView, NodeStepView};

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn view(stage: &Stage, plan: Option<NodePlanView>) -> AdoptionView {
    AdoptionView {
        node: "haproxy-ext-2".into(),
        role: "edge-proxy".into(),
        next: super::stage(stage),
        plan,
    }
}

/// The plan of a standby of keepalived, with everything that a plan can tell.
fn standby() -> NodePlanView {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let step = |text: &str, change: &[&str]| NodeStepView {
        text: text.into(),
        change: texts(change),
    };
    NodePlanView {
        node: "haproxy-ext-2".into(),
        steps: vec![
            step("make directory /etc/hamesh/haproxy", &[]),
            step(
                "write file /etc/haproxy/haproxy.cfg: differs in content",
                &[
                    "  defaults",
                    "-     timeout connect 5s",
                    "+     timeout connect 500ms",
                    "- listen old\u{1b}[31m",
                ],
            ),
            step("reload unit haproxy.service: runs without the file", &[]),
        ],
        unknown: texts(&["command retire keepalived.service: no answer within 10s"]),
        problem: None,
        as_is: texts(&["package haproxy", "unit haproxy.service"]),
        lost: texts(&[
            "/etc/haproxy/haproxy.cfg: `bind 0.0.0.0:8080` of listen old: nothing listens there",
        ]),
        in_the_way: texts(&[
            "unit keepalived.service runs and starts at boot: it is stopped and disabled last, and \
             its package stays",
            "address 192.168.30.130 is on untrust, by no doing of hamesh: it is taken over there",
        ]),
    }
}

#[test]
fn what_a_take_over_finds_on_a_node_and_does_to_it() {
    let first = view(&Stage::Take, Some(standby()));
    golden("adopt.txt", &adoption(&first, PLAIN));
    golden("adopt.json", &json(&first));
    let unseen = NodePlanView {
        problem: Some("its agent is away".into()),
        steps: Vec::new(),
        unknown: Vec::new(),
        as_is: Vec::new(),
        lost: Vec::new(),
        in_the_way: Vec::new(),
        ..standby()
    };
    let unseen = view(&Stage::Narrow, Some(unseen));
    golden("adopt-unseen.txt", &adoption(&unseen, PLAIN));
    golden(
        "adopt-over.txt",
        &adoption(&view(&Stage::Over, None), PLAIN),
    );
}

#[test]
fn each_stage_says_what_comes_next() {
    let holder = node("haproxy-ext-1");
    let others = [node("haproxy-ext-2"), node("haproxy-ext-3")];
    let stages = [
        Stage::Take,
        Stage::Await(BTreeSet::from(others)),
        Stage::Narrow,
        Stage::Join(holder.clone()),
        Stage::Finish(holder),
        Stage::Share,
        Stage::Over,
    ];
    let told: String = stages
        .iter()
        .map(|stage| super::stage(stage) + "\n")
        .collect();
    golden("adopt-stages.txt", &told);
}
