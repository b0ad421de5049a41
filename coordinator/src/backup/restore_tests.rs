//! A site restored from a backup, with the agents and operators of before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tonic::Code;

use super::Snapshot;
use super::rebirth::incarnation;
use crate::init::{InitError, InitRequest, Restored, Word, init};
use crate::records::{
    ClaimRecord, CoordinatorPart, CoordinatorRecord, DesiredRecord, TokenRecord, TokenState, keys,
};
use crate::store::{MemoryStore, Store};
use crate::testing::{TestSite, YAML, add_operator, init_request, serve};

/// With a virtual address that two nodes may hold.
fn with_vip() -> String {
    let vip = "vips:\n  edge: {address: 192.168.56.90, network: trust, role: k8s-worker}\n";
    YAML.replace("nodes:\n", &format!("{vip}nodes:\n"))
}

async fn apply(site: &TestSite, yaml: String) {
    let base = site.status().await.desired;
    let request = v1::ApplySiteRequest { yaml, base };
    site.admin().apply_site(request).await.expect("applied");
}

/// As it is once its store has a vote.
async fn add_coordinator(site: &TestSite, node: &str) {
    let core = &site.running.core;
    let record = CoordinatorRecord {
        part: CoordinatorPart::Member,
        added_unix_ms: core.clock.unix_ms(),
        added_by: "operator/ada".to_owned(),
    };
    let key = keys::coordinator(&node.parse().expect("a name"));
    let change = core.own_change().create(&key, &record);
    core.ledger.commit(change).await.expect("added");
}

fn request(directory: &std::path::Path, snapshot: Snapshot, operator: &str) -> InitRequest {
    let contents = snapshot.contents().expect("sound");
    let record = contents.desired.record;
    let now = SystemTime::now();
    let now_unix_ms = hamesh_proto::unix_time::unix_ms(now);
    InitRequest {
        yaml: record.yaml,
        operator: operator.parse().expect("a name"),
        restored: Some(Restored {
            incarnation: incarnation(record.incarnation, now_unix_ms),
            snapshot,
            word: Word::Backup,
        }),
        ..init_request(directory)
    }
}

/// On a blank machine: other files, an empty store.
async fn restored(before: &TestSite, snapshot: Snapshot) -> TestSite {
    let directory = tempfile::tempdir().expect("a directory");
    init(&request(directory.path(), snapshot, "eve")).expect("restored");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let running = serve(directory.path(), &store, &before.clock).await;
    TestSite {
        directory,
        store,
        clock: before.clock.clone(),
        running,
        admin: before.admin.clone(),
    }
}

#[tokio::test]
async fn agents_and_operators_of_before_come_back_and_all_they_compare_is_later() {
    let old = TestSite::start().await;
    apply(&old, with_vip()).await;
    let agent = old.enrol("node-1").await;
    let spare = old.token("node-2").await;
    let viewer = add_operator(&old, "bob", v1::Access::Viewer).await;
    old.until("a group", |status| !status.claims.is_empty())
        .await;
    add_coordinator(&old, "node-3").await;
    let snapshot = Snapshot::take(&old.running.core).await.expect("a snapshot");
    let backed_up = old.status().await.desired.expect("a generation");
    // Lost with the coordinator: a later document, and a later certificate of the node.
    apply(&old, with_vip().replace("56.90", "56.91")).await;
    apply(&old, with_vip().replace("56.90", "56.92")).await;
    let ahead = old.status().await.desired.expect("a generation");

    let new = restored(&old, snapshot).await;
    let id = new.status().await.desired.expect("a generation");
    let order = |id: v1::AssignmentId| (id.incarnation, id.generation);
    assert!(order(id) > order(ahead) && order(ahead) > order(backed_up));
    let mut session = new.session(&agent).await;
    let ring = session.ring().await;
    assert!(ring.version >= id.incarnation, "{ring:?}");
    let told = session.assignment().await;
    assert_eq!(told.id, Some(id));
    // The coordinator of before still runs: what agents show it ends it for good.
    old.running.core.hear_of(id.incarnation, &told.proof);
    old.running.core.is_outdated().await;
    let coordinators = new.status().await.coordinators;
    let names: Vec<_> = coordinators.iter().map(|it| it.node.as_str()).collect();
    assert_eq!(names, [new.running.core.node.as_str()]);
    let looked = new.operator(&viewer).status(v1::StatusRequest {}).await;
    looked.expect("the viewer of before");
    let key = hamesh_proto::credentials::PrivateKey::generate();
    let late = new.enrol_with("node-2", &spare, &key).await;
    assert_eq!(late.expect_err("revoked").code(), Code::PermissionDenied);
    assert!(
        new.event_kinds()
            .await
            .contains(&"site.restored".to_owned())
    );
    let groups = new
        .running
        .core
        .ledger
        .list::<ClaimRecord>(keys::CLAIMS)
        .await;
    for group in groups.expect("read") {
        assert!(
            group.value.record.group.version.0 >= id.incarnation,
            "{group:?}"
        );
    }
    let tokens = new
        .running
        .core
        .ledger
        .list::<TokenRecord>(keys::TOKENS)
        .await;
    let open = |it: &crate::ledger::Kept<TokenRecord>| it.value.state == TokenState::Open;
    assert!(!tokens.expect("read").iter().any(open));
    // It is as durable as any other: another start changes nothing of it.
    let new = new.restart().await;
    assert_eq!(new.status().await.desired, Some(id));
}

#[tokio::test]
async fn a_restore_interrupted_between_records_goes_on_at_the_next_start() {
    let old = TestSite::start().await;
    old.enrol("node-1").await;
    let snapshot = Snapshot::take(&old.running.core).await.expect("a snapshot");
    let directory = tempfile::tempdir().expect("a directory");
    init(&request(directory.path(), snapshot.clone(), "ada")).expect("restored");
    // Some records are there, the site's own is not: as after a kill.
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let some: BTreeMap<_, _> = snapshot.entries.clone().into_iter().take(3).collect();
    let writes = some.into_iter().filter(|(key, _)| key != keys::SITE);
    let writes = writes.map(|(key, value)| crate::store::Write::Put {
        key,
        value: value.into_bytes(),
    });
    let txn = crate::store::Txn {
        guards: Vec::new(),
        writes: writes.collect(),
    };
    store.transact(txn).await.expect("written");
    let running = serve(directory.path(), &store, &old.clock).await;
    let desired = running
        .core
        .ledger
        .read::<DesiredRecord>(keys::DESIRED)
        .await;
    let desired = desired.expect("read").expect("there").value;
    assert!(desired.incarnation > 1);
    let node: NodeId = crate::testing::name("node-1");
    assert!(running.core.world().nodes.contains_key(&node));
    assert!(!init_request(directory.path()).dirs.rebirth().exists());
    // What was restored is never written over.
    let handed = crate::init::hand_over(&init_request(directory.path()).dirs);
    handed.expect("handed over");
    let snapshot = Snapshot::take(&running.core).await.expect("a snapshot");
    let again = init(&request(directory.path(), snapshot, "ada"));
    assert!(matches!(again, Err(InitError::Finished { .. })));
}
