//! A whole coordinator with two members: what operators see and do, over a restart and while the
//! store is silent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1;
use hamesh_proto::v1::claims_client::ClaimsClient;
use tonic::Code;
use tonic::transport::Channel;

use super::scripted::{Player, Scripted};
use crate::store::Store;
use crate::testing::{GENEROUS, Silenced, TestAgent, TestSite, YAML, add_operator};

const MEMBERS: [&str; 2] = ["node-1", "node-2"];
const VIPS: &str = "\
vips:
  edge: {address: 192.168.56.20, network: trust, role: k8s-worker, ttl: 2s}
";

/// A site with the claim `vip/edge`, both its candidates enrolled.
struct Whole {
    site: TestSite,
    agents: Vec<LiveCredentials>,
    /// Sessions stay open as long as these.
    sessions: Vec<TestAgent>,
}

impl Whole {
    async fn start_on(store: Arc<dyn Store>) -> Self {
        let site = TestSite::start_on(store).await;
        let mut agents = Vec::new();
        for name in MEMBERS {
            agents.push(site.enrol(name).await);
        }
        let base = site.status().await.desired;
        let yaml = format!("{YAML}{VIPS}");
        let applied = site
            .admin()
            .apply_site(v1::ApplySiteRequest { yaml, base })
            .await;
        applied.expect("applied");
        Self {
            site,
            agents,
            sessions: Vec::new(),
        }
    }

    /// Both members with fresh sessions, playing their parts from these grants on.
    async fn play(&mut self, before: [Option<Scripted>; 2]) -> [Player; 2] {
        let mut players = Vec::new();
        self.sessions.clear();
        for ((name, agent), before) in MEMBERS.iter().zip(&self.agents).zip(before) {
            let mut session = self.site.session(agent).await;
            let keys = session.lease_keys(1).await;
            assert_ne!(keys.peers[0].node, *name);
            let key = keys.coordinator.expect("a key");
            assert_eq!(key.node, "control-1");
            let secret: [u8; 32] = key.secret.try_into().expect("32 bytes");
            let leases = self.site.running.leases;
            let mut member = Scripted::new(name, (key.id, &secret), 1, leases);
            if let Some(before) = before {
                (member.number, member.grant) = (before.number, before.grant);
            }
            players.push(member.play());
            self.sessions.push(session);
        }
        let Ok(players) = players.try_into() else {
            panic!("two members, two players")
        };
        players
    }

    fn claims(&self) -> ClaimsClient<Channel> {
        self.site.claims(&self.site.admin)
    }

    async fn explain(&self) -> v1::ClaimExplanation {
        let claim = "vip/edge".to_owned();
        let asked = v1::ExplainClaimRequest { claim };
        self.claims()
            .explain(asked)
            .await
            .expect("explained")
            .into_inner()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&v1::ClaimExplanation) -> bool) {
        let deadline = tokio::time::Instant::now() + GENEROUS;
        loop {
            let seen = self.explain().await;
            if wanted(&seen) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what}: {seen:#?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn until_held(&self) {
        let ready = |seen: &v1::ClaimExplanation| {
            let held = seen.status.as_ref().is_some_and(|it| !it.holder.is_empty());
            held && seen
                .candidates
                .iter()
                .all(|it| it.holds || it.why_not.is_empty())
        };
        self.until("held, with a standby", ready).await;
    }

    async fn holder(&self) -> String {
        self.explain().await.status.expect("a status").holder
    }

    async fn move_to(&self, to: &str) -> Result<v1::MovedClaim, tonic::Status> {
        let asked = v1::MoveClaimRequest {
            claim: "vip/edge".to_owned(),
            to: to.to_owned(),
        };
        self.claims()
            .r#move(asked)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn pause(&self, paused: bool) -> v1::ClaimStatus {
        let claim = "vip/edge".to_owned();
        let asked = v1::PauseClaimRequest { claim, paused };
        self.claims().pause(asked).await.expect("done").into_inner()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_moved_drained_and_paused_and_says_why_it_is_where_it_is() {
    let mut whole = Whole::start_on(Arc::new(crate::store::MemoryStore::new())).await;
    let _players = whole.play([None, None]).await;
    whole.until_held().await;
    let from = whole.holder().await;
    let to = MEMBERS
        .into_iter()
        .find(|name| *name != from)
        .expect("another");

    let moved = whole.move_to(to).await.expect("moved");
    assert!(moved.took_us > 0);
    assert_eq!(moved.status.map(|it| it.holder).as_deref(), Some(to));
    let told = |seen: &v1::ClaimExplanation| {
        let newest = seen.moves.first();
        newest.is_some_and(|it| it.to == to && it.reason == format!("an operator asked for {to}"))
    };
    whole.until("told why it moved", told).await;

    let node = to.to_owned();
    let drained = whole
        .claims()
        .drain(v1::DrainNodeRequest { node: node.clone() })
        .await;
    let drained = drained.expect("drained").into_inner();
    assert!(drained.changed);
    assert_eq!(drained.claims[0].holder, from, "{drained:?}");
    let status = whole.site.status().await;
    assert!(status.nodes.iter().any(|it| it.node == to && it.drained));
    assert_eq!(status.claims[0].holder, from);
    let refused = whole.move_to(to).await.expect_err("it is drained");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("is drained"), "{refused}");
    let back = whole
        .claims()
        .undrain(v1::UndrainNodeRequest { node })
        .await;
    assert!(back.expect("undrained").into_inner().changed);

    assert!(whole.pause(true).await.paused);
    let refused = whole.move_to("").await.expect_err("it is paused");
    assert!(refused.message().contains("is paused"), "{refused}");
    assert!(!whole.pause(false).await.paused);
    let kinds = whole.site.event_kinds().await;
    for kind in [
        "claim.granted",
        "claim.moved",
        "node.drained",
        "node.undrained",
    ] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_moves_nothing_and_keeps_what_operators_asked_for() {
    let mut whole = Whole::start_on(Arc::new(crate::store::MemoryStore::new())).await;
    let [a, b] = whole.play([None, None]).await;
    whole.until_held().await;
    whole.pause(true).await;
    whole
        .until("told of its first grant", |seen| !seen.moves.is_empty())
        .await;
    let before = whole.explain().await;
    whole.sessions.clear();
    whole.site = whole.site.restart().await;
    let (a, b) = (a.stop(), b.stop());
    let _players = whole.play([Some(a), Some(b)]).await;
    let held = |seen: &v1::ClaimExplanation| {
        let status = seen.status.as_ref();
        status.is_some_and(|it| !it.holder.is_empty())
    };
    // Nobody else could take it: it is paused.
    whole.until("held", held).await;
    let after = whole.explain().await;
    assert_eq!(after.moves, before.moves);
    let (before, after) = (before.status.expect("one"), after.status.expect("one"));
    assert_eq!(
        (&after.holder, after.since_unix_ms),
        (&before.holder, before.since_unix_ms)
    );
    assert!(after.paused);
    assert_ne!(after.grant, before.grant, "a grant of the new epoch");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_silent_claims_are_granted_and_move_all_the_same() {
    let store = Arc::new(Silenced::default());
    let mut whole = Whole::start_on(Arc::clone(&store) as Arc<dyn Store>).await;
    let [a, b] = whole.play([None, None]).await;
    whole.until_held().await;
    let from = whole.holder().await;
    store.silent.store(true, Ordering::Relaxed);
    // The holder falls silent: its lease runs out.
    let kept = if from == MEMBERS[0] {
        a.stop();
        b
    } else {
        b.stop();
        a
    };
    whole
        .until("held by the other", |seen| {
            let holder = seen.status.as_ref().map(|it| it.holder.as_str());
            holder.is_some_and(|holder| !holder.is_empty() && holder != from)
        })
        .await;
    store.silent.store(false, Ordering::Relaxed);
    whole
        .until("told of the move", |seen| {
            seen.moves.first().is_some_and(|it| it.from == from)
        })
        .await;
    kept.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_looks_at_claims_and_a_wrong_name_is_told_the_nearest() {
    let whole = Whole::start_on(Arc::new(crate::store::MemoryStore::new())).await;
    let agent = whole
        .site
        .claims(&whole.agents[0])
        .list(v1::ListClaimsRequest {})
        .await;
    assert_eq!(
        agent.expect_err("no operator").code(),
        Code::PermissionDenied
    );
    let viewer = add_operator(&whole.site, "bob", v1::Access::Viewer).await;
    let mut viewer = whole.site.claims(&viewer);
    let list = viewer
        .list(v1::ListClaimsRequest {})
        .await
        .expect("a list")
        .into_inner();
    assert_eq!(list.claims[0].claim, "vip/edge");
    let node = "node-1".to_owned();
    let refused = viewer.drain(v1::DrainNodeRequest { node }).await;
    assert_eq!(
        refused.expect_err("a viewer").code(),
        Code::PermissionDenied
    );

    let claim = "vip/egde".to_owned();
    let unknown = whole
        .claims()
        .explain(v1::ExplainClaimRequest { claim })
        .await;
    let unknown = unknown.expect_err("no such claim");
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(
        unknown.message().contains("did you mean `vip/edge`?"),
        "{unknown}"
    );
    let node = "node-1".to_owned();
    let nobody = whole
        .claims()
        .confirm_fenced(v1::ConfirmFencedRequest { node })
        .await;
    assert_eq!(
        nobody.expect_err("nobody waits").code(),
        Code::FailedPrecondition
    );
}
