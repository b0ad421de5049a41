//! A rollout over real mutual TLS, with agents that the tests play.

use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind;
use hamesh_proto::v1::coordinator_message::Kind as FromCoordinator;
use tonic::{Code, Streaming};

use super::{NEW, OLD};
use crate::testing::{GENEROUS, TestAgent, TestSite, add_operator};

/// An agent whose machine has packages.
struct Machine {
    node: &'static str,
    who: LiveCredentials,
    session: TestAgent,
}

impl Machine {
    async fn enrol(site: &TestSite, node: &'static str) -> Self {
        let who = site.enrol(node).await;
        let session = site.session_since(&who, 1_000).await;
        let machine = Self { node, who, session };
        machine.says(OLD, 1_000).await;
        machine
    }

    async fn says(&self, version: &str, started_unix_ms: u64) {
        let package = v1::Package {
            name: "hamesh-agent".to_owned(),
            version: version.to_owned(),
        };
        let facts = v1::Facts {
            node: self.node.to_owned(),
            started_unix_ms,
            sequence: 1,
            version: version.to_owned(),
            packages: vec![package],
            ..v1::Facts::default()
        };
        self.session.say(Kind::Facts(facts)).await;
    }

    /// Reads on until an order comes.
    async fn order(&mut self) -> v1::UpgradeOrder {
        loop {
            let next = self.session.next().await.expect("the session goes on");
            if let FromCoordinator::Upgrade(order) = next {
                return order;
            }
        }
    }

    /// Its agent is restarted by the upgrade, and says what became of the order.
    async fn restarts(&mut self, site: &TestSite, runs: &str, outcome: v1::UpgradeOutcome) {
        self.session = site.session_since(&self.who, 2_000).await;
        self.session.say(Kind::Upgrade(outcome)).await;
        self.says(runs, 2_000).await;
    }
}

fn outcome(order: &v1::UpgradeOrder, problem: &str) -> v1::UpgradeOutcome {
    v1::UpgradeOutcome {
        order: order.order.clone(),
        problem: problem.to_owned(),
        said: vec!["Reading package lists...\u{1b}[2J".to_owned()],
    }
}

fn wish(version: &str) -> Option<v1::UpgradeWish> {
    Some(v1::UpgradeWish {
        version: version.to_owned(),
        ..v1::UpgradeWish::default()
    })
}

fn upgrade(version: &str) -> v1::UpgradeRequest {
    v1::UpgradeRequest {
        wish: wish(version),
        resumed: false,
    }
}

async fn planned(site: &TestSite, version: &str) -> Result<Vec<String>, tonic::Status> {
    let wish = wish(version);
    let plan = site
        .admin()
        .plan_upgrade(v1::PlanUpgradeRequest { wish })
        .await;
    let steps = plan?.into_inner().steps.into_iter();
    Ok(steps.map(|step| step.node).collect())
}

/// Waits until there is a plan: facts and verdicts come by and by.
async fn until_planned(site: &TestSite, nodes: &[&str]) {
    let deadline = tokio::time::Instant::now() + GENEROUS;
    loop {
        let plan = planned(site, NEW).await;
        if plan.as_ref().is_ok_and(|plan| plan == nodes) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{plan:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn next(
    stream: &mut Streaming<v1::UpgradeProgress>,
) -> Result<Option<v1::UpgradeProgress>, tonic::Status> {
    let next = tokio::time::timeout(GENEROUS, stream.message()).await;
    next.expect("progress in time")
}

/// "begins node-1"
async fn told(stream: &mut Streaming<v1::UpgradeProgress>) -> String {
    loop {
        let progress = next(stream).await.expect("it goes on").expect("progress");
        if progress.phase != "waits" {
            return format!("{} {}", progress.phase, progress.node);
        }
    }
}

async fn two() -> (TestSite, Machine, Machine) {
    let site = TestSite::start().await;
    let one = Machine::enrol(&site, "node-1").await;
    let two = Machine::enrol(&site, "node-2").await;
    until_planned(&site, &["node-1", "node-2"]).await;
    (site, one, two)
}

#[tokio::test]
async fn nodes_are_upgraded_one_after_the_other_and_then_there_is_nothing_to_do() {
    let (site, mut one, mut two) = two().await;
    let begun = site.admin().upgrade(upgrade(NEW)).await;
    let mut stream = begun.expect("begun").into_inner();
    assert_eq!(told(&mut stream).await, "begins node-1");
    let order = one.order().await;
    assert_eq!(order.version, NEW);
    let second = site.admin().upgrade(upgrade(NEW)).await;
    assert_eq!(
        second.expect_err("one at a time").code(),
        Code::AlreadyExists
    );

    one.restarts(&site, NEW, outcome(&order, "")).await;
    // The order stands until the node is well: it is told to the new run, too.
    assert_eq!(told(&mut stream).await, "done node-1");
    assert_eq!(told(&mut stream).await, "begins node-2");
    let order = two.order().await;
    two.restarts(&site, NEW, outcome(&order, "")).await;
    assert_eq!(told(&mut stream).await, "done node-2");
    assert_eq!(told(&mut stream).await, "finished ");
    assert!(next(&mut stream).await.expect("an end").is_none());

    until_planned(&site, &[]).await;
    let again = site.admin().upgrade(upgrade(NEW)).await;
    let mut stream = again.expect("nothing to do").into_inner();
    assert_eq!(told(&mut stream).await, "finished ");
    let kinds = site.event_kinds().await;
    let kinds: Vec<_> = kinds
        .iter()
        .filter(|kind| kind.starts_with("upgrade."))
        .collect();
    assert_eq!(
        kinds,
        [
            "upgrade.started",
            "upgrade.step",
            "upgrade.step",
            "upgrade.done"
        ]
    );
}

#[tokio::test]
async fn what_a_node_says_when_it_fails_ends_it_and_no_other_is_touched() {
    let (site, mut one, mut two) = two().await;
    let begun = site.admin().upgrade(upgrade("9")).await;
    let mut stream = begun.expect("begun").into_inner();
    let order = one.order().await;
    let problem = "apt-get install hamesh-agent=9: E: Version '9' was not found";
    one.restarts(&site, OLD, outcome(&order, problem)).await;
    assert_eq!(told(&mut stream).await, "begins node-1");
    let ended = next(&mut stream).await.expect_err("it failed");
    assert_eq!(ended.code(), Code::FailedPrecondition);
    for part in [
        problem,
        "no other node was touched",
        "Reading package lists",
    ] {
        assert!(ended.message().contains(part), "{ended}");
    }
    assert!(!ended.message().contains('\u{1b}'), "{ended:?}");
    let kinds = site.event_kinds().await;
    assert!(kinds.contains(&"upgrade.failed".to_owned()), "{kinds:?}");
    // Nobody is told an order that is over, nor was the other ever told one.
    let token = v1::AssignRequest {
        purge_data: false,
        node: "node-1".to_owned(),
        role: String::new(),
        base: site.status().await.desired,
    };
    site.admin().assign(token).await.expect("assigned");
    loop {
        match two.session.next().await.expect("the session goes on") {
            FromCoordinator::Upgrade(order) => panic!("{order:?}"),
            FromCoordinator::Assignment(it) if it.id.is_some_and(|id| id.generation == 2) => break,
            _ => {}
        }
    }
    // What was in the way of another one is not any more.
    until_planned(&site, &["node-1", "node-2"]).await;
}

#[tokio::test]
async fn it_ends_with_whoever_asked_and_goes_on_when_asked_again() {
    let (site, mut one, mut two) = two().await;
    let begun = site.admin().upgrade(upgrade(NEW)).await;
    let stream = begun.expect("begun").into_inner();
    let order = one.order().await;
    drop(stream);
    one.restarts(&site, NEW, outcome(&order, "")).await;
    until_planned(&site, &["node-2"]).await;
    let request = v1::UpgradeRequest {
        resumed: true,
        ..upgrade(NEW)
    };
    let deadline = tokio::time::Instant::now() + GENEROUS;
    let mut stream = loop {
        match site.admin().upgrade(request.clone()).await {
            Ok(stream) => break stream.into_inner(),
            // It has not noticed yet.
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{status}"),
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "it goes on for ever"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(told(&mut stream).await, "begins node-2");
    let order = two.order().await;
    two.restarts(&site, NEW, outcome(&order, "")).await;
    assert_eq!(told(&mut stream).await, "done node-2");
    assert_eq!(told(&mut stream).await, "finished ");
}

#[tokio::test]
async fn who_may_only_look_sees_the_plan_and_what_is_no_version_is_refused() {
    let (site, _one, _two) = two().await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let mut client = site.operator(&viewer);
    let looked = client
        .plan_upgrade(v1::PlanUpgradeRequest { wish: wish(NEW) })
        .await;
    looked.expect("a viewer may look");
    let refused = client.upgrade(upgrade(NEW)).await;
    assert_eq!(
        refused.expect_err("a viewer").code(),
        Code::PermissionDenied
    );
    for version in ["", "1;reboot", "-y"] {
        let refused = site.admin().upgrade(upgrade(version)).await;
        assert_eq!(refused.expect_err(version).code(), Code::InvalidArgument);
    }
    let unknown = v1::UpgradeWish {
        skip: vec!["node-9".to_owned()],
        ..wish(NEW).expect("a wish")
    };
    let request = v1::UpgradeRequest {
        wish: Some(unknown),
        resumed: false,
    };
    let refused = site
        .admin()
        .upgrade(request)
        .await
        .expect_err("no such node");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("node-9"), "{refused}");
}

#[tokio::test]
async fn a_node_that_is_away_is_named_and_left_out_on_request() {
    let (site, one, _two) = two().await;
    drop(one);
    site.until("it is gone", |status| {
        status
            .nodes
            .iter()
            .any(|it| it.node == "node-1" && !it.session)
    })
    .await;
    let deadline = tokio::time::Instant::now() + GENEROUS;
    let refused = loop {
        match planned(&site, NEW).await {
            Err(refused) => break refused,
            Ok(plan) => assert!(tokio::time::Instant::now() < deadline, "{plan:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(refused.message().contains("--skip node-1"), "{refused}");
    let without = v1::UpgradeWish {
        skip: vec!["node-1".to_owned()],
        ..wish(NEW).expect("a wish")
    };
    let request = v1::PlanUpgradeRequest {
        wish: Some(without),
    };
    let plan = site.admin().plan_upgrade(request).await.expect("a plan");
    let nodes: Vec<_> = plan
        .into_inner()
        .steps
        .into_iter()
        .map(|it| it.node)
        .collect();
    assert_eq!(nodes, ["node-2"]);
}
