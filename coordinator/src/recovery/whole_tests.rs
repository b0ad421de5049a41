//! A coordinator that begins with an old backup and hears agents, over real mutual TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind as Say;
use hamesh_proto::v1::coordinator_message::Kind as Told;
use hamesh_proto::v1::operators_client::OperatorsClient;
use hamesh_proto::v1::recovery_client::RecoveryClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::backup::Snapshot;
use crate::clock::Clock;
use crate::config::Config;
use crate::init::{InitRequest, Restored, Word, init};
use crate::records::{ClaimRecord, keys};
use crate::server::{Running, start};
use crate::store::{MemoryStore, Store};
use crate::testing::{
    GENEROUS, TestAgent, TestSite, YAML, add_operator, init_request, listeners, name, parts,
};

/// With a virtual address that two nodes may hold.
fn with_vip() -> String {
    let vip = "vips:\n  edge: {address: 192.168.56.90, network: trust, role: k8s-worker}\n";
    YAML.replace("nodes:\n", &format!("{vip}nodes:\n"))
}

/// A blank machine on which a recovery was begun.
struct Blank {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    clock: Clock,
    operator: LiveCredentials,
}

impl Blank {
    fn begun(snapshot: Snapshot, clock: &Clock) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let yaml = snapshot.contents().expect("sound").desired.record.yaml;
        let request = InitRequest {
            yaml,
            operator: "eve".parse().expect("a name"),
            restored: Some(Restored {
                snapshot,
                incarnation: 1_000,
                word: Word::Agents {
                    document_given: false,
                },
            }),
            ..init_request(directory.path())
        };
        let outcome = init(&InitRequest {
            now: SystemTime::now(),
            ..request
        });
        let operator = Credentials::from_pem(&outcome.expect("begun").operator_pem);
        Self {
            directory,
            store: Arc::new(MemoryStore::new()),
            clock: clock.clone(),
            operator: LiveCredentials::new(operator.expect("an identity")),
        }
    }

    async fn start(&self) -> Recovering {
        let dirs = init_request(self.directory.path()).dirs;
        let config = Config::load(&dirs).expect("a configuration");
        let listeners = listeners().await;
        let api = listeners.api.local_addr().expect("an address");
        let parts = parts(dirs, config, &self.store, &self.clock, listeners);
        Recovering {
            api,
            task: tokio::spawn(async move { start(parts).await.expect("it starts") }),
            operator: self.operator.clone(),
        }
    }
}

/// A coordinator that hears agents, and ends as one that serves.
struct Recovering {
    api: SocketAddr,
    task: tokio::task::JoinHandle<Running>,
    operator: LiveCredentials,
}

impl Recovering {
    fn client(&self, who: &LiveCredentials) -> RecoveryClient<Channel> {
        RecoveryClient::new(channel(self.api, who, Expect::Coordinator))
    }

    async fn look(&self, without: &[&str]) -> v1::RecoveryState {
        let without = without.iter().map(|it| (*it).to_owned()).collect();
        let asked = v1::LookRequest { without };
        let state = self.client(&self.operator).look(asked).await;
        state.expect("it is told").into_inner()
    }

    async fn until_heard(&self, nodes: usize) {
        let deadline = tokio::time::Instant::now() + GENEROUS;
        loop {
            let state = self.look(&[]).await;
            let heard = state.nodes.iter();
            if heard
                .filter(|it| it.part() == v1::RecoveryPart::Heard)
                .count()
                == nodes
            {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{state:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn finish(
        &self,
        without: &[&str],
        digest: &str,
    ) -> Result<v1::RecoveryFinished, tonic::Status> {
        let asked = v1::FinishRequest {
            without: without.iter().map(|it| (*it).to_owned()).collect(),
            digest: digest.to_owned(),
        };
        let answer = self.client(&self.operator).finish(asked).await;
        answer.map(tonic::Response::into_inner)
    }
}

/// An agent that was left alone with what it was told.
struct Agent {
    who: LiveCredentials,
    assignment: v1::Assignment,
    ring: v1::GossipKeyRing,
}

impl Agent {
    async fn of(site: &TestSite, who: LiveCredentials) -> Self {
        let mut session = site.session(&who).await;
        let ring = session.ring().await;
        let assignment = session.assignment().await;
        Self {
            who,
            assignment,
            ring,
        }
    }

    /// Dials, and tells all when it is asked with a proof.
    async fn tells(&self, to: &Recovering) -> TestAgent {
        let hello = v1::Hello {
            started_unix_ms: 7,
            assignment: self.assignment.id,
            ..v1::Hello::default()
        };
        let mut session = TestAgent::open(to.api, &self.who, hello).await;
        let Told::Welcome(welcome) = session.next().await.expect("welcomed") else {
            panic!("the first message is no welcome");
        };
        assert_eq!(welcome.leadership, None);
        let Told::Recover(asked) = session.next().await.expect("asked") else {
            panic!("it is told something instead");
        };
        assert!(asked.incarnation >= 1_000 && !asked.proof.is_empty());
        let members = || vec!["node-1".to_owned(), "node-2".to_owned()];
        let claims = self.assignment.claims.iter().map(|claim| v1::HeldClaim {
            claim: claim.name.clone(),
            seen_incarnation: 1,
            seen_term: 1,
            group: Some(v1::ClaimGroup {
                version: 5,
                candidates: members(),
                peers: members(),
            }),
        });
        let holdings = v1::Holdings {
            assignment: Some(self.assignment.clone()),
            key_ring: Some(self.ring.clone()),
            claims: claims.collect(),
        };
        session.say(Say::Holdings(holdings)).await;
        session
    }
}

/// A site that was changed since its one backup; gives that backup, and what its agents hold.
async fn lost() -> (TestSite, Snapshot, Agent, Agent) {
    let old = TestSite::start().await;
    let first = old.enrol("node-1").await;
    add_operator(&old, "bob", v1::Access::Viewer).await;
    let snapshot = Snapshot::take(&old.running.core).await.expect("a snapshot");
    let base = old.status().await.desired;
    let yaml = with_vip();
    let applied = v1::ApplySiteRequest { yaml, base };
    old.admin().apply_site(applied).await.expect("applied");
    let second = old.enrol("node-2").await;
    old.until("both are enrolled", |status| {
        let enrolled = |it: &&v1::NodeStatus| it.state() != v1::NodeState::NotEnrolled;
        status.nodes.iter().filter(enrolled).count() == 2 && !status.claims.is_empty()
    })
    .await;
    let agents = (Agent::of(&old, first).await, Agent::of(&old, second).await);
    (old, snapshot, agents.0, agents.1)
}

#[tokio::test]
async fn a_site_is_rebuilt_from_its_agents_with_a_backup_that_is_older_than_all_of_it() {
    let (old, snapshot, first, second) = lost().await;
    let before = old.status().await.desired.expect("a generation");
    old.running.stop().await;
    let blank = Blank::begun(snapshot, &old.clock);
    let begun = blank.start().await;
    let _first = first.tells(&begun).await;
    begun.until_heard(1).await;
    let state = begun.look(&[]).await;
    assert!(state.plan.is_none());
    assert!(state.obstacles[0].contains("--without node-2"), "{state:?}");
    let refused = begun.finish(&[], "").await.expect_err("one is missing");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    // As after a kill: what was heard is told again.
    begun.task.abort();
    let begun = blank.start().await;
    let _first = first.tells(&begun).await;
    let mut session = second.tells(&begun).await;
    begun.until_heard(2).await;
    let state = begun.look(&[]).await;
    let plan = state.plan.clone().expect("nobody is missing");
    assert_eq!(plan.document_from, "agents");
    assert_eq!(plan.claims[0].group, ["node-1", "node-2"]);
    let stale = begun
        .finish(&[], "another")
        .await
        .expect_err("not looked at");
    assert_eq!(stale.code(), Code::Aborted);
    let finished = begun.finish(&[], &plan.digest).await.expect("finished");
    assert_eq!(session.end().await.code(), Code::Unavailable);

    let new = TestSite {
        running: begun.task.await.expect("it serves"),
        directory: blank.directory,
        store: blank.store,
        clock: blank.clock,
        admin: blank.operator,
    };
    let id = new.status().await.desired.expect("a generation");
    assert_eq!(Some(id), finished.id);
    assert!(id.incarnation >= 1_000 && id.generation == before.generation + 1);
    for agent in [&first, &second] {
        let mut session = new.session(&agent.who).await;
        assert!(session.ring().await.version > agent.ring.version);
        let told = session.assignment().await;
        let same = v1::Assignment {
            id: agent.assignment.id,
            proof: Vec::new(),
            ..told.clone()
        };
        assert_eq!(same, agent.assignment);
        assert_eq!(told.id, Some(id));
    }
    let core = &new.running.core;
    let claims = core.ledger.list::<ClaimRecord>(keys::CLAIMS).await;
    let group = &claims.expect("read")[0].value.record.group;
    assert!(group.version.0 >= id.incarnation, "{group:?}");
    assert!(
        new.event_kinds()
            .await
            .contains(&"site.restored".to_owned())
    );
    let dirs = new.dirs();
    assert!(!dirs.recover().exists() && !dirs.rebirth().exists());
    Snapshot::take(core)
        .await
        .expect("a backup")
        .contents()
        .expect("sound");
    let new = new.restart().await;
    assert_eq!(new.status().await.desired, Some(id));
}

#[tokio::test]
async fn only_known_operators_and_good_certificates_are_heard_and_nothing_else_is_done() {
    let (old, snapshot, first, _) = lost().await;
    let stranger = add_operator(&old, "mallory", v1::Access::Admin).await;
    let blank = Blank::begun(snapshot, &old.clock);
    let begun = blank.start().await;
    begun.until_heard(0).await;
    let looked = begun
        .client(&stranger)
        .look(v1::LookRequest::default())
        .await;
    let refused = looked.expect_err("the backup does not know it");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let by_agent = begun
        .client(&first.who)
        .look(v1::LookRequest::default())
        .await;
    assert_eq!(
        by_agent.expect_err("an agent").code(),
        Code::PermissionDenied
    );
    let operators = OperatorsClient::new(channel(begun.api, &old.admin, Expect::Coordinator));
    let asked = operators.clone().status(v1::StatusRequest {}).await;
    let told = asked.expect_err("not now");
    assert_eq!(told.code(), Code::FailedPrecondition);
    assert!(told.message().contains("coordctl recover status"), "{told}");
    // The admin of the backup may look.
    let looked = begun
        .client(&old.admin)
        .look(v1::LookRequest::default())
        .await;
    looked.expect("ada is known");
    // Another machine under the same name, whose agent started earlier.
    let _session = first.tells(&begun).await;
    begun.until_heard(1).await;
    let hello = v1::Hello {
        started_unix_ms: 6,
        ..v1::Hello::default()
    };
    let mut earlier = TestAgent::open(begun.api, &first.who, hello).await;
    assert_eq!(earlier.end().await.code(), Code::AlreadyExists);
    begun.task.abort();
}

#[tokio::test]
async fn a_node_that_the_backup_knows_as_removed_stays_removed() {
    let old = TestSite::start().await;
    let gone = old.enrol("node-1").await;
    let second = old.enrol("node-2").await;
    let gone = Agent::of(&old, gone).await;
    let second = Agent::of(&old, second).await;
    let node = "node-1".to_owned();
    let removed = old
        .admin()
        .remove_node(v1::RemoveNodeRequest { node })
        .await;
    removed.expect("removed");
    let snapshot = Snapshot::take(&old.running.core).await.expect("a snapshot");
    let blank = Blank::begun(snapshot, &old.clock);
    let begun = blank.start().await;
    let hello = v1::Hello::default();
    let mut refused = TestAgent::open(begun.api, &gone.who, hello).await;
    assert_eq!(refused.end().await.code(), Code::Unauthenticated);
    let _session = second.tells(&begun).await;
    begun.until_heard(1).await;
    let state = begun.look(&["node-1"]).await;
    let plan = state.plan.expect("nobody else is missing");
    assert_eq!(plan.document_from, "backup");
    begun
        .finish(&["node-1"], &plan.digest)
        .await
        .expect("finished");
    let running = begun.task.await.expect("it serves");
    let nodes: Vec<_> = running.core.world().nodes.keys().cloned().collect();
    assert_eq!(nodes, [name("node-2")]);
}
