//! The audit trail over real mutual TLS: what is in it, what is not, and who cannot flood it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hamesh_proto::v1;
use tonic::Code;

use crate::ledger::{AUDIT_KEPT, Call};
use crate::records::{AuditHead, AuditRecord, AuditResult, encode, keys};
use crate::store::{Span, Store, Txn, Write};
use crate::testing::{Silenced, TestSite, YAML, add_operator};

/// "operator/ada Operators/Assign done: node-1 as none, planned on ..."
async fn trail(site: &TestSite) -> Vec<String> {
    let asked = v1::AuditRequest { last: 0 };
    let trail = site.admin().audit(asked).await.expect("the trail");
    let shown = |it: v1::AuditEntry| {
        assert!(!it.certificate.is_empty() && it.at_unix_ms > 0, "{it:?}");
        format!("{} {} {}: {}", it.actor, it.call, it.result, it.request)
    };
    trail.into_inner().entries.into_iter().map(shown).collect()
}

fn drain(node: &str) -> v1::DrainNodeRequest {
    v1::DrainNodeRequest {
        node: node.to_owned(),
    }
}

#[tokio::test]
async fn what_was_done_and_what_was_refused_is_in_the_trail_and_what_only_reads_is_not() {
    let site = TestSite::start().await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    site.status().await;
    let refused = site.claims(&viewer).drain(drain("node-1")).await;
    assert_eq!(
        refused.expect_err("a viewer").code(),
        Code::PermissionDenied
    );
    let mistaken = site.claims(&site.admin).drain(drain("node-9")).await;
    assert_eq!(mistaken.expect_err("no node").code(), Code::NotFound);
    let token = site.token("node-1").await;
    assert_eq!(
        trail(&site).await,
        [
            "operator/ada Operators/AddOperator done: bob as viewer",
            "operator/bob Claims/Drain refused: node-1",
            "operator/ada Claims/Drain refused: node-9",
            "operator/ada Operators/CreateToken done: for node-1, for 600 s",
        ]
    );
    let secret = token.split('.').nth(2).expect("a secret");
    let all = site
        .store
        .range(&Span::prefix(keys::AUDIT))
        .await
        .expect("read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let held = |entry: &crate::store::Entry| text(&entry.value).contains(secret);
    assert!(!all.entries.iter().any(held), "a secret is in the trail");
}

#[tokio::test]
async fn a_document_is_in_the_trail_by_its_digest_and_the_trail_outlives_the_coordinator() {
    let site = TestSite::start().await;
    let base = site.status().await.desired;
    let yaml = YAML.to_owned();
    let request = v1::ApplySiteRequest { yaml, base };
    site.admin().apply_site(request).await.expect("no change");
    let site = site.restart().await;
    let trail = trail(&site).await;
    assert_eq!(trail.len(), 1, "{trail:?}");
    let expected = format!("a document of {} bytes (SHA-256 ", YAML.len());
    assert!(trail[0].contains(&expected), "{trail:?}");
    assert!(trail[0].ends_with("planned on generation 1"), "{trail:?}");
}

#[tokio::test]
async fn nothing_is_changed_while_the_trail_cannot_be_written() {
    let store = Arc::new(Silenced::default());
    let site = TestSite::start_on(Arc::clone(&store) as Arc<dyn Store>).await;
    store.silent.store(true, Ordering::Relaxed);
    let refused = site.claims(&site.admin).drain(drain("node-1")).await;
    let refused = refused.expect_err("the store is silent");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("nothing was changed"),
        "{refused}"
    );
    store.silent.store(false, Ordering::Relaxed);
    assert!(trail(&site).await.is_empty());
}

#[tokio::test]
async fn an_agent_that_is_refused_again_and_again_is_turned_away_and_does_not_flood_the_trail() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let mut claims = site.claims(&agent);
    let mut codes = Vec::new();
    for _ in 0..30 {
        let refused = claims.drain(drain("node-2")).await;
        codes.push(refused.expect_err("no operator").code());
    }
    assert_eq!(codes.first(), Some(&Code::PermissionDenied));
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted));
    let flood = trail(&site).await;
    let flood = flood.iter().filter(|it| it.starts_with("agent/node-1"));
    assert!(flood.count() <= 21);
    // Others are not held up by it.
    site.token("node-2").await;
}

#[tokio::test]
async fn the_trail_keeps_the_newest_calls_alone() {
    let site = TestSite::start().await;
    let ledger = &site.running.core.ledger;
    let call = |request: &str| Call {
        at_unix_ms: 1,
        actor: "operator/ada".to_owned(),
        certificate: "00".to_owned(),
        call: "Claims/Drain".to_owned(),
        request: request.to_owned(),
    };
    let first = ledger.audit_begin(call("first")).await.expect("written");
    assert_eq!(first.number, 1);
    let put = |key: &str, value: Vec<u8>| Write::Put {
        key: key.to_owned(),
        value,
    };
    let full = encode(&AuditHead { number: AUDIT_KEPT });
    let writes = vec![put(keys::AUDIT_HEAD, full)];
    let txn = Txn {
        guards: Vec::new(),
        writes,
    };
    site.store.transact(txn).await.expect("written");
    let second = ledger.audit_begin(call("second")).await.expect("written");
    let read = |record: &AuditRecord| {
        let key = keys::audit(record.number);
        async move { ledger.read::<AuditRecord>(&key).await.expect("read") }
    };
    assert!(read(&first).await.is_none(), "the oldest is forgotten");
    let kept = read(&second).await.expect("kept").value;
    assert_eq!(
        (kept.number, kept.result),
        (AUDIT_KEPT + 1, AuditResult::Open)
    );
}
