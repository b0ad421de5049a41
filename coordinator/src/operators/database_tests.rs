//! Databases over real mutual TLS with played agents: what is asked of them, and what operators
//! are told.

use std::sync::{Arc, Mutex};

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1::agent_message::Kind as FromAgent;
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use hamesh_proto::v1::database_answer::Kind as Answer;
use hamesh_proto::v1::database_question::Kind;
use hamesh_proto::v1::{self, DatabaseEnd, DatabasePart};
use tonic::Code;

use crate::agents::PROTOCOL;
use crate::testing::{TestAgent, TestSite, add_operator};

const NODES: [&str; 2] = ["node-1", "node-2"];

/// The databases that agents are asked of.
#[derive(Debug)]
struct Played {
    leader: String,
    /// How a change ends, and in which words.
    ends: (DatabaseEnd, &'static str),
    /// What was asked, in order, looks left out.
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Played>>;

impl Played {
    fn led_by(leader: &str) -> Shared {
        Arc::new(Mutex::new(Self {
            leader: leader.to_owned(),
            ends: (DatabaseEnd::Done, "as asked"),
            asked: Vec::new(),
        }))
    }

    fn sight(&self, node: &str) -> v1::DatabaseSight {
        let leads = |name: &str| name == self.leader;
        let members = NODES.map(|name| v1::PatroniMember {
            name: name.to_owned(),
            part: match leads(name) {
                true => DatabasePart::Leader.into(),
                false => DatabasePart::SyncStandby.into(),
            },
            state: "running".to_owned(),
            lag_bytes: (!leads(name)).then_some(7),
            ..v1::PatroniMember::default()
        });
        v1::DatabaseSight {
            own: Some(v1::PatroniSelf {
                primary: leads(node),
                state: "running".to_owned(),
                ..v1::PatroniSelf::default()
            }),
            cluster: Some(v1::PatroniCluster {
                members: members.to_vec(),
                ..v1::PatroniCluster::default()
            }),
            etcd: v1::EtcdHealth::Good.into(),
            ..v1::DatabaseSight::default()
        }
    }

    fn answer(&mut self, node: &str, kind: Kind) -> Answer {
        let asked = match kind {
            Kind::Look(_) => return Answer::Sight(self.sight(node)),
            Kind::Switchover(it) => {
                if self.ends.0 == DatabaseEnd::Done {
                    self.leader.clone_from(&it.candidate);
                }
                format!("{node}: {} to {}", it.leader, it.candidate)
            }
            Kind::Restart(_) => format!("{node}: restart"),
            Kind::Reinit(_) => format!("{node}: reinit"),
        };
        self.asked.push(asked);
        Answer::Outcome(v1::DatabaseOutcome {
            end: self.ends.0.into(),
            text: self.ends.1.to_owned(),
        })
    }
}

/// Answers for a node until its session ends.
fn play(node: &'static str, mut agent: TestAgent, played: &Shared) {
    let played = Arc::clone(played);
    tokio::spawn(async move {
        while let Ok(message) = agent.next().await {
            if let ToAgent::Database(question) = message {
                let kind = question.kind.expect("a known question");
                let answer = played.lock().expect("sound").answer(node, kind);
                let answer = v1::DatabaseAnswer {
                    id: question.id,
                    kind: Some(answer),
                };
                agent.say(FromAgent::Database(answer)).await;
            }
        }
    });
}

async fn assign(site: &TestSite, node: &str) {
    let request = v1::AssignRequest {
        node: node.to_owned(),
        role: "database".to_owned(),
        base: site.status().await.desired,
        purge_data: false,
    };
    site.admin().assign(request).await.expect("assigned");
}

/// Both nodes have the role and an agent that plays.
async fn two(played: &Shared) -> TestSite {
    let site = TestSite::start().await;
    for node in NODES {
        assign(&site, node).await;
        let agent = site.enrol(node).await;
        play(node, site.session(&agent).await, played);
    }
    site.until("both are connected", |status| {
        let connected = status.nodes.iter().filter(|it| it.session);
        connected.count() == NODES.len()
    })
    .await;
    site
}

async fn seen(site: &TestSite, who: &LiveCredentials) -> v1::DatabaseStatus {
    let asked = v1::DatabaseStatusRequest {};
    let status = site.databases(who).status(asked).await;
    status.expect("a status").into_inner()
}

fn switchover(from: &str, to: &str) -> v1::SwitchoverRequest {
    v1::SwitchoverRequest {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

#[tokio::test]
async fn an_operator_sees_what_the_agents_see_and_has_the_leader_hand_over() {
    let played = Played::led_by("node-1");
    let site = two(&played).await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let status = seen(&site, &viewer).await;
    assert_eq!(status.seen_by, "node-1");
    let parts: Vec<_> = status
        .members
        .iter()
        .map(v1::DatabaseMember::part)
        .collect();
    assert_eq!(parts, [DatabasePart::Leader, DatabasePart::SyncStandby]);
    assert!(status.members.iter().all(|it| it.problem.is_empty()));

    let mut admin = site.databases(&site.admin);
    let done = admin.switchover(switchover("node-1", "node-2")).await;
    assert_eq!(done.expect("handed over").into_inner().leader, "node-2");
    let late = admin.switchover(switchover("node-1", "node-2")).await;
    let late = late.expect_err("node-2 leads by now");
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert!(
        late.message()
            .contains("by now, not node-1; nothing was changed"),
        "{late}"
    );

    let node = "node-1".to_owned();
    let restart = v1::RestartDatabaseRequest { node: node.clone() };
    admin.restart(restart).await.expect("restarted");
    let reinit = v1::ReinitDatabaseRequest { node };
    admin.reinit(reinit).await.expect("begun");
    let asked = played.lock().expect("sound").asked.clone();
    assert_eq!(
        asked,
        [
            "node-1: node-1 to node-2",
            "node-1: restart",
            "node-1: reinit"
        ]
    );
    let kinds = site.event_kinds().await;
    let told = kinds.iter().filter(|kind| kind.starts_with("database."));
    let told: Vec<_> = told.map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "database.switched_over",
            "database.restarted",
            "database.reinitialised"
        ]
    );
}

#[tokio::test]
async fn a_viewer_changes_no_database_and_refusals_are_in_the_trail() {
    let played = Played::led_by("node-1");
    let site = two(&played).await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let mut bob = site.databases(&viewer);
    let node = "node-2".to_owned();
    let denied = [
        bob.switchover(switchover("node-1", "node-2")).await.err(),
        bob.restart(v1::RestartDatabaseRequest { node: node.clone() })
            .await
            .err(),
        bob.reinit(v1::ReinitDatabaseRequest { node }).await.err(),
    ];
    let denied = denied.map(|it| it.expect("a viewer").code());
    assert_eq!(denied, [Code::PermissionDenied; 3]);
    let mut admin = site.databases(&site.admin);
    let leader = v1::ReinitDatabaseRequest {
        node: "node-1".to_owned(),
    };
    let refused = admin.reinit(leader).await.expect_err("it leads");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let unknown = admin.switchover(switchover("node-1", "node-3")).await;
    let unknown = unknown.expect_err("no such member");
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("did you mean"), "{unknown}");
    assert_eq!(played.lock().expect("sound").asked, [""; 0]);
    let trail = site.admin().audit(v1::AuditRequest { last: 5 }).await;
    let trail = trail.expect("the trail").into_inner().entries.into_iter();
    let trail: Vec<_> = trail
        .map(|it| format!("{} {} {}: {}", it.actor, it.call, it.result, it.request))
        .collect();
    assert_eq!(
        trail,
        [
            "operator/bob Databases/Switchover refused: from node-1 to node-2",
            "operator/bob Databases/Restart refused: node-2",
            "operator/bob Databases/Reinit refused: node-2",
            "operator/ada Databases/Reinit refused: node-1",
            "operator/ada Databases/Switchover refused: from node-1 to node-3",
        ]
    );
}

#[tokio::test]
async fn patronis_words_are_passed_on_with_whether_anything_was_changed() {
    let played = Played::led_by("node-1");
    let site = two(&played).await;
    let mut admin = site.databases(&site.admin);
    for (end, code, part) in [
        (
            DatabaseEnd::Refused,
            Code::FailedPrecondition,
            "nothing was changed",
        ),
        (DatabaseEnd::Unknown, Code::Unknown, "it is not known"),
    ] {
        played.lock().expect("sound").ends = (end, "no good candidates");
        let node = "node-2".to_owned();
        let ended = admin.restart(v1::RestartDatabaseRequest { node }).await;
        let ended = ended.expect_err("not done");
        assert_eq!(ended.code(), code);
        let told = ended.message();
        assert!(
            told.contains("no good candidates") && told.contains(part),
            "{told}"
        );
    }
    played.lock().expect("sound").ends = (DatabaseEnd::Refused, "leader name does not match");
    let refused = admin.switchover(switchover("node-1", "node-2")).await;
    let refused = refused.expect_err("refused");
    assert!(
        refused.message().contains("leader name does not match"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_agent_that_is_too_old_or_away_is_named_and_waited_for_by_nobody() {
    let site = TestSite::start().await;
    let none = site.databases(&site.admin);
    let none = none.clone().status(v1::DatabaseStatusRequest {}).await;
    assert_eq!(
        none.expect_err("no databases").code(),
        Code::FailedPrecondition
    );
    for node in NODES {
        assign(&site, node).await;
    }
    let agent = site.enrol("node-1").await;
    let hello = v1::Hello {
        protocol: PROTOCOL - 1,
        started_unix_ms: 1_000,
        ..v1::Hello::default()
    };
    let mut session = TestAgent::open(site.running.api, &agent, hello).await;
    session.assignment().await;
    let status = seen(&site, &site.admin).await;
    let problems: Vec<_> = status
        .members
        .iter()
        .map(|it| it.problem.as_str())
        .collect();
    assert!(problems[0].contains("too old"), "{problems:?}");
    assert!(problems[1].contains("no session"), "{problems:?}");
    let node = "node-1".to_owned();
    let refused = site
        .databases(&site.admin)
        .restart(v1::RestartDatabaseRequest { node })
        .await;
    let refused = refused.expect_err("too old");
    assert!(
        refused.message().contains("upgrade hamesh on it"),
        "{refused}"
    );
}
