//! Operators over real mutual TLS: who may do what, plans, applies, and the event log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hamesh_proto::credentials::PrivateKey;
use hamesh_proto::v1;
use tonic::Code;

use crate::store::Store;
use crate::testing::{GENEROUS, Silenced, TestSite, YAML, add_operator, credentials};

fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> Code {
    result.expect_err("it must be refused").code()
}

fn renamed(from: &str, to: &str) -> String {
    YAML.replace(from, to)
}

/// Reads on until a followed log is ended.
async fn end(log: &mut tonic::Streaming<v1::Event>) -> tonic::Status {
    loop {
        let next = tokio::time::timeout(GENEROUS, log.message()).await;
        match next.expect("it ends") {
            Ok(event) => assert!(event.is_some(), "it ended without a reason"),
            Err(status) => return status,
        }
    }
}

async fn newest_event(site: &TestSite) -> u64 {
    let newest = site.running.core.ledger.newest_event().await;
    newest.expect("a number")
}

#[tokio::test]
async fn a_viewer_looks_at_everything() {
    let site = TestSite::start().await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let mut client = site.operator(&viewer);
    let plan = v1::PlanSiteRequest {
        yaml: renamed("k8s-worker", "database"),
    };
    let role = v1::PlanAssignRequest {
        node: "node-1".to_owned(),
        role: String::new(),
        purge_data: false,
    };
    let looked = [
        client.status(v1::StatusRequest {}).await.map(drop),
        client.read_site(v1::ReadSiteRequest {}).await.map(drop),
        client.list_tokens(v1::ListTokensRequest {}).await.map(drop),
        client
            .list_operators(v1::ListOperatorsRequest {})
            .await
            .map(drop),
        client.events(v1::EventsRequest::default()).await.map(drop),
        client.plan_site(plan).await.map(drop),
        client.plan_assign(role).await.map(drop),
    ];
    assert!(looked.iter().all(Result::is_ok), "{looked:?}");
}

#[tokio::test]
async fn a_viewer_changes_nothing() {
    let site = TestSite::start().await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let mut client = site.operator(&viewer);
    let before = newest_event(&site).await;
    let node = "node-1".to_owned();
    let token = v1::CreateTokenRequest {
        node: node.clone(),
        valid_s: 0,
    };
    let window = v1::AllowReEnrolRequest {
        node: node.clone(),
        valid_s: 0,
    };
    let rotation = v1::RotateGossipKeyRequest {};
    let denied = [
        code(client.apply_site(v1::ApplySiteRequest::default()).await),
        code(client.assign(v1::AssignRequest::default()).await),
        code(client.create_token(token).await),
        code(client.revoke_token(v1::RevokeTokenRequest::default()).await),
        code(client.remove_node(v1::RemoveNodeRequest { node }).await),
        code(client.allow_re_enrol(window).await),
        code(client.add_operator(v1::AddOperatorRequest::default()).await),
        code(
            client
                .remove_operator(v1::RemoveOperatorRequest::default())
                .await,
        ),
        code(client.rotate_gossip_key(rotation).await),
    ];
    assert_eq!(denied, [Code::PermissionDenied; 9]);
    assert_eq!(newest_event(&site).await, before);
}

#[tokio::test]
async fn a_removed_operator_is_refused_at_once_and_stays_so_when_the_name_is_given_anew() {
    let site = TestSite::start().await;
    let first = add_operator(&site, "bob", v1::Access::Viewer).await;
    let mut client = site.operator(&first);
    client.status(v1::StatusRequest {}).await.expect("looks");
    let follow = v1::EventsRequest {
        follow: true,
        ..v1::EventsRequest::default()
    };
    let mut followed = client.events(follow).await.expect("events").into_inner();
    let request = v1::RemoveOperatorRequest {
        name: "bob".to_owned(),
    };
    site.admin()
        .remove_operator(request)
        .await
        .expect("removed");
    assert_eq!(
        code(client.status(v1::StatusRequest {}).await),
        Code::Unauthenticated
    );
    assert_eq!(end(&mut followed).await.code(), Code::Unauthenticated);
    let second = add_operator(&site, "bob", v1::Access::Admin).await;
    assert_eq!(
        code(client.status(v1::StatusRequest {}).await),
        Code::Unauthenticated
    );
    site.operator(&second)
        .status(v1::StatusRequest {})
        .await
        .expect("looks");
}

#[tokio::test]
async fn agents_are_told_to_refuse_the_certificates_of_a_removed_operator() {
    let site = TestSite::start().await;
    let bob = add_operator(&site, "bob", v1::Access::Viewer).await;
    let agent = site.enrol("node-1").await;
    let mut session = site.session(&agent).await;
    let before = session.assignment().await;
    assert!(before.revoked_serials.is_empty());
    let request = v1::RemoveOperatorRequest {
        name: "bob".to_owned(),
    };
    let removed = site.admin().remove_operator(request).await;
    removed.expect("removed");
    let after = session.assignment().await;
    assert_eq!(after.revoked_serials, [bob.current().serial()]);
    let generation = |assignment: &v1::Assignment| assignment.id.expect("an id").generation;
    assert_eq!(generation(&after), generation(&before) + 1);
}

#[tokio::test]
async fn the_last_admin_cannot_be_removed() {
    let site = TestSite::start().await;
    add_operator(&site, "bob", v1::Access::Viewer).await;
    let request = v1::RemoveOperatorRequest {
        name: "ada".to_owned(),
    };
    let refused = site.admin().remove_operator(request).await;
    assert_eq!(code(refused), Code::FailedPrecondition);
}

#[tokio::test]
async fn an_operator_renews_and_both_certificates_work() {
    let site = TestSite::start().await;
    let key = PrivateKey::generate();
    let request = v1::RenewCertificateRequest {
        csr_der: key.csr_der(),
    };
    let bundle = site
        .admin()
        .renew_operator(request)
        .await
        .expect("renewed")
        .into_inner();
    let renewed = credentials(key, Some(bundle));
    site.operator(&renewed)
        .status(v1::StatusRequest {})
        .await
        .expect("looks");
    site.status().await;
}

#[tokio::test]
async fn a_plan_is_shown_applied_once_and_refused_on_a_stale_base() {
    let site = TestSite::start().await;
    let yaml = renamed("k8s-worker", "database");
    let request = v1::PlanSiteRequest { yaml: yaml.clone() };
    let plan = site
        .admin()
        .plan_site(request)
        .await
        .expect("a plan")
        .into_inner();
    let subjects: Vec<_> = plan
        .steps
        .iter()
        .map(|step| step.subject.as_str())
        .collect();
    assert_eq!(subjects, ["node node-1", "node node-2"]);

    let request = v1::ApplySiteRequest {
        yaml: yaml.clone(),
        base: plan.base,
    };
    let applied = site
        .admin()
        .apply_site(request.clone())
        .await
        .expect("applied")
        .into_inner();
    assert!(applied.changed);
    assert_eq!(applied.id.expect("an id").generation, 2);
    assert_eq!(
        code(site.admin().apply_site(request).await),
        Code::FailedPrecondition
    );

    let again = v1::ApplySiteRequest {
        yaml: yaml.clone(),
        base: applied.id,
    };
    let again = site
        .admin()
        .apply_site(again)
        .await
        .expect("nothing to do")
        .into_inner();
    assert_eq!((again.changed, again.id), (false, applied.id));
    let kept = site
        .admin()
        .read_site(v1::ReadSiteRequest {})
        .await
        .expect("read")
        .into_inner();
    assert_eq!((kept.yaml, kept.id), (yaml, applied.id));
}

#[tokio::test]
async fn of_two_applies_on_one_base_one_is_carried_out() {
    let site = TestSite::start().await;
    let base = Some(v1::AssignmentId {
        incarnation: 1,
        generation: 1,
    });
    let request = |to: &str| v1::ApplySiteRequest {
        yaml: renamed("k8s-worker", to),
        base,
    };
    let (mut one, mut two) = (site.admin(), site.admin());
    let (left, right) = tokio::join!(
        one.apply_site(request("database")),
        two.apply_site(request("edge-proxy"))
    );
    let applied = [left, right].into_iter().filter(Result::is_ok).count();
    assert_eq!(applied, 1);
    assert_eq!(site.status().await.desired.expect("an id").generation, 2);
}

#[tokio::test]
async fn a_document_with_faults_of_another_site_or_without_this_coordinator_is_refused() {
    let site = TestSite::start().await;
    let base = Some(v1::AssignmentId {
        incarnation: 1,
        generation: 1,
    });
    for (yaml, expected) in [
        (
            renamed("role: k8s-worker", "rolle: k8s-worker"),
            Code::InvalidArgument,
        ),
        (renamed("site: small", "site: other"), Code::InvalidArgument),
        (
            renamed("coordinators: [control-1]", "coordinators: [node-1]"),
            Code::FailedPrecondition,
        ),
        ("a".repeat(600_000), Code::InvalidArgument),
    ] {
        let request = v1::ApplySiteRequest { yaml, base };
        assert_eq!(code(site.admin().apply_site(request).await), expected);
    }
    assert_eq!(site.status().await.desired.expect("an id").generation, 1);
}

#[tokio::test]
async fn events_are_followed_without_a_gap_or_a_repeat() {
    let site = TestSite::start().await;
    let request = v1::EventsRequest {
        follow: true,
        ..v1::EventsRequest::default()
    };
    let mut stream = site
        .admin()
        .events(request)
        .await
        .expect("events")
        .into_inner();
    for n in 0..30 {
        let core = &site.running.core;
        let text = format!("test {n}");
        let kind = crate::ledger::EventKind::NodeAlive;
        let change = core.own_change().event(kind, None, text);
        core.ledger.commit(change).await.expect("an event");
    }
    let newest = site
        .running
        .core
        .ledger
        .newest_event()
        .await
        .expect("a number");
    let mut numbers = Vec::new();
    while numbers.last() != Some(&newest) {
        let next = tokio::time::timeout(GENEROUS, stream.message()).await;
        let event = next.unwrap_or_else(|_| panic!("stuck after {numbers:?}"));
        numbers.push(event.expect("the stream goes on").expect("an event").number);
    }
    assert_eq!(numbers, (1..=newest).collect::<Vec<_>>());

    let request = v1::EventsRequest {
        last: 3,
        ..v1::EventsRequest::default()
    };
    let mut last = site
        .admin()
        .events(request)
        .await
        .expect("events")
        .into_inner();
    let mut seen = Vec::new();
    while let Some(event) = last.message().await.expect("the stream goes on") {
        seen.push(event.number);
    }
    assert_eq!(seen, [newest - 2, newest - 1, newest]);
}

/// Longer than an operator's certificate lives.
const LATER: Duration = Duration::from_secs(60 * 24 * 3600);

#[tokio::test]
async fn a_certificate_that_ran_out_ends_a_followed_log_and_is_refused_on_a_standing_connection() {
    let site = TestSite::start().await;
    let mut client = site.admin();
    let request = v1::EventsRequest {
        follow: true,
        ..v1::EventsRequest::default()
    };
    let mut stream = client.events(request).await.expect("events").into_inner();
    stream
        .message()
        .await
        .expect("open")
        .expect("the first event");
    site.clock.advance(LATER);
    let ended = end(&mut stream).await;
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(ended.message().contains("operator/ada ran out"), "{ended}");
    let refused = client.status(v1::StatusRequest {}).await;
    assert_eq!(code(refused), Code::Unauthenticated);
}

#[tokio::test]
async fn while_the_store_is_silent_operators_see_what_was_last_known_and_change_nothing() {
    let store = Arc::new(Silenced::default());
    let site = TestSite::start_on(Arc::clone(&store) as Arc<dyn Store>).await;
    let bob = add_operator(&site, "bob", v1::Access::Viewer).await;
    let gone = add_operator(&site, "eve", v1::Access::Viewer).await;
    let request = v1::RemoveOperatorRequest {
        name: "eve".to_owned(),
    };
    let removed = site.admin().remove_operator(request).await;
    removed.expect("removed");
    let before = site.status().await;
    let site = site.restart().await;
    store.silent.store(true, Ordering::Relaxed);

    let mut client = site.operator(&bob);
    let shown = client.status(v1::StatusRequest {}).await.expect("shown");
    let shown = shown.into_inner();
    let told = shown.store.expect("told of");
    assert!(
        !told.healthy && told.problem.contains("silenced"),
        "{told:?}"
    );
    assert_eq!(shown.desired, before.desired);
    assert_eq!(shown.nodes.len(), before.nodes.len());
    let document = client.read_site(v1::ReadSiteRequest {}).await;
    assert_eq!(document.expect("shown").into_inner().yaml, YAML);

    let stranger = site.operator(&gone).status(v1::StatusRequest {}).await;
    assert!(
        stranger.is_err(),
        "shown to a removed operator: {stranger:?}"
    );
    let token = v1::CreateTokenRequest {
        node: "node-1".to_owned(),
        valid_s: 0,
    };
    assert_eq!(
        code(site.admin().create_token(token).await),
        Code::Unavailable
    );
}
