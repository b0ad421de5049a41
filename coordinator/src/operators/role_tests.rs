//! Roles over real mutual TLS with a played agent: what it is told, and what operators have done.

use std::time::SystemTime;

use hamesh_proto::orders::{Believer, Purpose, verify};
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind;

use crate::testing::{TestAgent, TestSite, name};

/// As a node believes it.
fn believed(site: &TestSite, node: &str, signed: &v1::SignedRole) -> v1::RoleOrder {
    let own = site.admin.current();
    let believer = Believer {
        trust: own.trust(),
        site: &own.spiffe_id().site,
        node: &name(node),
    };
    let statement = verify(signed, Purpose::Order, believer, SystemTime::now());
    statement.expect("signed for it").order.expect("an order")
}

async fn assign_none(site: &TestSite, purge_data: bool) -> v1::Applied {
    let request = v1::AssignRequest {
        node: "node-1".to_owned(),
        role: String::new(),
        base: site.status().await.desired,
        purge_data,
    };
    let applied = site.admin().assign(request).await;
    applied.expect("assigned").into_inner()
}

async fn told(session: &TestAgent, order: &v1::RoleOrder, phase: v1::RolePhase) {
    let report = v1::RoleReport {
        digest: order.digest.clone(),
        attempt: order.attempt,
        phase: phase.into(),
        problem: "it broke".to_owned(),
        ..v1::RoleReport::default()
    };
    session.say(Kind::Role(report)).await;
}

#[tokio::test]
async fn the_data_of_a_role_that_went_before_goes_when_an_operator_says_so() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    assert!(assign_none(&site, false).await.changed);
    let planned = v1::PlanAssignRequest {
        node: "node-1".to_owned(),
        role: String::new(),
        purge_data: true,
    };
    let planned = site.admin().plan_assign(planned).await.expect("a plan");
    let steps = planned.into_inner().steps;
    let subjects: Vec<_> = steps.iter().map(|step| step.subject.as_str()).collect();
    assert_eq!(subjects, ["data on node node-1"]);
    assert!(assign_none(&site, true).await.changed);
    assert!(!assign_none(&site, true).await.changed);

    let mut session = site.session(&agent).await;
    session.say(Kind::Role(v1::RoleReport::default())).await;
    let order = believed(&site, "node-1", &session.order().await);
    let desired = String::from_utf8_lossy(&order.desired).into_owned();
    assert!(desired.contains("\"purge_data\":true"), "{desired}");
}

#[tokio::test]
async fn an_order_that_is_tried_again_is_signed_anew_under_the_next_number() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    assign_none(&site, false).await;
    let mut session = site.session(&agent).await;
    session.say(Kind::Role(v1::RoleReport::default())).await;
    let first = believed(&site, "node-1", &session.order().await);
    told(&session, &first, v1::RolePhase::Failed).await;
    let failed = |it: &v1::NodeStatus| {
        let state = it.role_state.as_ref();
        state.is_some_and(|state| state.place() == v1::RolePlace::Failed)
    };
    site.until("failed", |status| status.nodes.iter().any(failed))
        .await;
    let asked = v1::RetryRoleRequest { nodes: Vec::new() };
    let retried = site.admin().retry_role(asked).await.expect("retried");
    assert_eq!(retried.into_inner().nodes, ["node-1"]);
    let second = believed(&site, "node-1", &session.order().await);
    assert_eq!((first.attempt, second.attempt), (0, 1));
    assert!(first.epoch == second.epoch && first.number < second.number);
    told(&session, &second, v1::RolePhase::Done).await;
    site.until("done", |status| !status.nodes.iter().any(failed))
        .await;
    let kinds = site.event_kinds().await;
    let of_roles = kinds.iter().filter(|kind| kind.starts_with("role."));
    let of_roles: Vec<_> = of_roles.map(String::as_str).collect();
    assert_eq!(of_roles[..2], ["role.failed", "role.retried"]);
}
