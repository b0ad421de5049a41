//! Every screen, from fixed data, against golden files; `UPDATE_GOLDEN=1 cargo test -p
//! hamesh-coordinator screens` writes them anew. Review the difference.

use std::path::Path;

use hamesh_proto::v1;

use super::fixture::{
    DAY, NOW, SECOND, explained, healthy, id, some_calls, some_events, troubled, troubled_claims,
};
use super::*;
use crate::ctl::failure::{Failure, Told};
use crate::ctl::output::{json, yaml};
use crate::ctl::paint::Look;
use crate::ctl::time::Moment;
use crate::ctl::views::{
    AppliedView, AuditView, ClaimView, ContextView, DrainedView, EventView, ExplanationView,
    GenerationView, MovedView, NodeView, OperatorView, PlanView, RemovedView, RotationView,
    SiteView, StatusView, TokenCreatedView, TokenView,
};

pub(super) const PLAIN: Look = Look {
    colour: false,
    width: Some(120),
};

pub(super) fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).expect("the golden file is writable");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual,
        wanted,
        "{}: UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}

fn view(status: v1::SiteStatus) -> StatusView {
    StatusView::from(status)
}

#[test]
fn the_status_of_a_healthy_and_of_a_troubled_site() {
    for (name, site) in [("healthy", view(healthy())), ("troubled", view(troubled()))] {
        golden(
            &format!("status-{name}.txt"),
            &status(&site, Moment(NOW), false, PLAIN),
        );
        golden(
            &format!("status-{name}-wide.txt"),
            &status(&site, Moment(NOW), true, PLAIN),
        );
        golden(&format!("status-{name}.json"), &json(&site));
        golden(&format!("status-{name}.yaml"), &yaml(&site));
    }
}

#[test]
fn the_status_fits_a_small_terminal_and_has_colours_on_request() {
    let site = view(troubled());
    let small = Look {
        colour: false,
        width: Some(60),
    };
    golden(
        "status-small.txt",
        &nodes(&site.nodes, Moment(NOW), false, small),
    );
    let coloured = Look {
        colour: true,
        width: Some(120),
    };
    let coloured = status(&site, Moment(NOW), false, coloured);
    golden("status-coloured.txt", &coloured.replace('\u{1b}', "^["));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, status(&site, Moment(NOW), false, PLAIN));
}

#[test]
fn an_empty_site_has_a_screen_too() {
    let empty = v1::SiteStatus {
        now_unix_ms: NOW,
        ..Default::default()
    };
    golden(
        "status-empty.txt",
        &status(&view(empty), Moment(NOW), false, PLAIN),
    );
}

#[test]
fn one_node_in_every_form() {
    let site = view(troubled());
    for name in ["node-1", "node-2", "node-3", "database-1", "database-2"] {
        let one = site
            .nodes
            .iter()
            .find(|node| node.name == name)
            .expect("a node");
        golden(&format!("node-{name}.txt"), &node_screen(one, &site));
    }
    let one = &site.nodes[0];
    golden("node.json", &json(one));
    golden(
        "nodes-wide.txt",
        &nodes(&site.nodes, Moment(NOW), true, PLAIN),
    );
}

fn node_screen(node: &NodeView, site: &StatusView) -> String {
    super::node(node, site, Moment(NOW), PLAIN)
}

#[test]
fn claims_and_why_one_is_where_it_is() {
    let all = troubled_claims()
        .into_iter()
        .map(ClaimView::from)
        .collect::<Vec<_>>();
    golden("claims.txt", &claims(&all, Moment(NOW), false, PLAIN));
    golden("claims-wide.txt", &claims(&all, Moment(NOW), true, PLAIN));
    golden("claims.json", &json(&all));
    golden("claims-none.txt", &claims(&[], Moment(NOW), false, PLAIN));
    let one = ExplanationView::from(explained());
    golden("explain.txt", &explanation(&one, Moment(NOW), PLAIN));
    golden("explain.json", &json(&one));
    golden("explain.yaml", &yaml(&one));
    let worst = v1::ClaimExplanation {
        status: troubled_claims().into_iter().next(),
        ..Default::default()
    };
    let worst = ExplanationView::from(worst);
    golden(
        "explain-vacant.txt",
        &explanation(&worst, Moment(NOW), PLAIN),
    );
}

#[test]
fn a_move_and_a_drain_say_what_they_came_to() {
    let view = |took_us| MovedView {
        claim: "vip/edge".into(),
        holder: Some("haproxy-ext-2".into()),
        took_us,
    };
    golden("moved.txt", &(moved(&view(4_270)) + &moved(&view(0))));
    golden("moved.json", &json(&view(4_270)));
    let view = |drained, changed| DrainedView {
        node: "haproxy-ext-1".into(),
        drained,
        changed,
        claims: vec![ClaimView::from(explained().status.expect("a claim"))],
    };
    golden(
        "drained.txt",
        &drained(&view(true, true), Moment(NOW), PLAIN),
    );
    golden(
        "undrained.txt",
        &drained(&view(false, false), Moment(NOW), PLAIN),
    );
    golden("drained.json", &json(&view(true, true)));
}

#[test]
fn the_audit_trail_in_every_form() {
    let trail = some_calls()
        .into_iter()
        .map(AuditView::from)
        .collect::<Vec<_>>();
    golden("audit.txt", &audit(&trail, Moment(NOW), false, PLAIN));
    golden("audit-wide.txt", &audit(&trail, Moment(NOW), true, PLAIN));
    golden("audit.json", &json(&trail));
    golden("audit.yaml", &yaml(&trail));
}

#[test]
fn events_past_and_as_they_come() {
    let past = some_events()
        .into_iter()
        .map(EventView::from)
        .collect::<Vec<_>>();
    golden("events.txt", &events(&past, Moment(NOW), false, PLAIN));
    golden("events-wide.txt", &events(&past, Moment(NOW), true, PLAIN));
    golden("events.json", &json(&past));
    let lines = past
        .iter()
        .map(|event| event_line(event, PLAIN))
        .collect::<String>();
    golden("events-follow.txt", &lines);
    assert!(!lines.contains('\u{1b}'), "a peer's words move no cursor");
}

#[test]
fn tokens_operators_and_the_context() {
    let token = |id: &str, state: &str, expires| v1::Token {
        id: id.into(),
        node: "node-1".into(),
        created_unix_ms: NOW - 600 * SECOND,
        expires_unix_ms: expires,
        created_by: "operator/ada".into(),
        state: state.into(),
    };
    let list = [
        token("7f3a", "open", NOW + 3000 * SECOND),
        token("81b0", "expired", NOW - 1),
    ];
    let list = list.map(TokenView::from);
    golden("tokens.txt", &tokens(&list, Moment(NOW), PLAIN));
    golden("tokens.json", &json(&list));
    let operator = |name: &str, access: v1::Access| v1::Operator {
        name: name.into(),
        access: access.into(),
        created_unix_ms: NOW - 40 * DAY,
        certificate_expires_unix_ms: NOW + 20 * DAY,
    };
    let list = [
        operator("ada", v1::Access::Admin),
        operator("bob", v1::Access::Viewer),
    ];
    let list = list.map(OperatorView::from);
    golden("operators.txt", &operators(&list, Moment(NOW), PLAIN));
    golden("operators.json", &json(&list));
    let created = TokenCreatedView {
        id: "7f3a".into(),
        node: "node-1".into(),
        token: "hamesh1.7f3a.secret.ca".into(),
        expires: Moment::of(NOW + 3600 * SECOND),
        command: "hamesh-agent enroll --node node-1 --token hamesh1.7f3a.secret.ca".into(),
    };
    golden("token-created.txt", &token_created(&created, Moment(NOW)));
    golden("token-created.json", &json(&created));
    let own = ContextView {
        file: "/root/.config/hamesh/context.json".into(),
        site: "thirteen".into(),
        identity: "operator/ada".into(),
        coordinators: vec!["192.168.56.31:7443".into()],
        certificate_serial: "0a1b".into(),
        certificate_expires: Moment::of(NOW + 20 * DAY),
    };
    golden("context.txt", &context(&own, Moment(NOW)));
    golden("context.json", &json(&own));
}

#[test]
fn plans_and_what_became_of_them() {
    let step = |verb: &str, subject: &str, detail: &str| v1::PlanStep {
        verb: verb.into(),
        subject: subject.into(),
        detail: detail.into(),
    };
    let steps = vec![
        step(
            "add",
            "node node-4",
            "role k8s-worker, addresses trust 192.168.56.44",
        ),
        step("change", "node node-1", "role none -> database"),
        step(
            "remove",
            "vip edge",
            "address 192.168.30.130, network untrust, role edge-proxy",
        ),
    ];
    let some = PlanView::from(v1::Plan {
        nodes: Vec::new(),
        base: id(14),
        steps,
    });
    golden("plan.txt", &plan(&some, PLAIN));
    golden(
        "plan-empty.txt",
        &plan(
            &PlanView {
                base: None,
                steps: Vec::new(),
                nodes: Vec::new(),
            },
            PLAIN,
        ),
    );
    let desired = Some(GenerationView {
        incarnation: 1,
        generation: 15,
    });
    golden(
        "applied.json",
        &json(&AppliedView {
            plan: some,
            changed: true,
            desired,
        }),
    );
    golden(
        "removed.json",
        &json(&RemovedView {
            kind: "node",
            name: "node-1".into(),
            desired,
        }),
    );
    golden(
        "site.yaml.txt",
        &yaml(&SiteView {
            desired,
            document: "site: a\nnodes: {}\n".into(),
        }),
    );
}

#[test]
fn a_rotation_tells_whom_it_waits_for() {
    let phase = |phase: &str, acknowledged, waiting_for: &[&str], done| v1::RotationProgress {
        phase: phase.into(),
        acknowledged,
        expected: 13,
        waiting_for: waiting_for.iter().map(ToString::to_string).collect(),
        done,
    };
    let told = [
        phase("distribute", 11, &["node-1", "node-2"], false),
        phase("switch", 13, &[], false),
        phase("retire", 13, &[], true),
    ];
    let told = told
        .map(|progress| rotation(&RotationView::from(progress)))
        .concat();
    golden("rotation.txt", &told);
}

#[test]
fn every_failure_says_what_to_do_next() {
    let path = || "/root/.config/hamesh/context.json".into();
    let tried = vec![
        (
            "192.168.56.31:7443".into(),
            "Connection refused (os error 111)".into(),
        ),
        (
            "192.168.56.32:7443".into(),
            "192.168.56.32:7443 did not answer within 4s".into(),
        ),
    ];
    let faults = hamesh_roles::Site::parse("site: A\nnodse: {}\n").expect_err("faults");
    let failures = [
        Failure::NoContext { path: path() },
        Failure::Context {
            path: path(),
            reason: "it names no coordinator".into(),
        },
        Failure::Expired {
            operator: "operator/ada".into(),
            ago: "2d".into(),
        },
        Failure::Unreachable { tried },
        Failure::Document {
            file: "site.yaml".into(),
            faults,
        },
        Failure::from_status(&tonic::Status::permission_denied(
            "operator/bob may only look",
        )),
        Failure::from_status(&tonic::Status::invalid_argument("no role `x`")),
        Failure::from_status(&tonic::Status::aborted(
            "the site is at generation 15: plan again",
        )),
        Failure::from_status(&tonic::Status::unavailable("the store does not answer")),
        Failure::from_status(&tonic::Status::unimplemented("")),
        Failure::from_status(&tonic::Status::deadline_exceeded("")),
    ];
    let told = failures
        .iter()
        .map(|failure| format!("{}exit code {}\n\n", Told(failure), failure.exit() as u8));
    golden("failures.txt", &told.collect::<String>());
}
