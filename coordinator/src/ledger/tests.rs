//! Changes and events: conflicts, lost answers, and an etcd that is killed under load.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Change, CommitError, EVENTS_KEPT, EventKind, Ledger};
use crate::metrics::Metrics;
use crate::records::{EpochRecord, keys};
use crate::store::testing::RealEtcd;
use crate::store::{
    Listing, MemoryStore, Outcome, Revision, Span, Store, StoreError, StoreHealth, Txn, Watch,
};
use crate::testing::GENEROUS;

fn ledger(store: Arc<dyn Store>) -> Ledger {
    Ledger::new(store, Metrics::new().events)
}

fn told(text: &str) -> Change {
    Change::new("test", 1).event(EventKind::NodeAlive, None, text)
}

async fn texts(ledger: &Ledger) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = 0;
    loop {
        let events = ledger.events_after(after).await.expect("events");
        let Some(newest) = events.last() else {
            return texts;
        };
        after = newest.number;
        texts.extend(events.into_iter().map(|event| event.text));
    }
}

fn epoch(epoch: u64) -> EpochRecord {
    EpochRecord {
        epoch,
        coordinator: "c".to_owned(),
        started_unix_ms: 0,
    }
}

#[tokio::test]
async fn a_change_on_a_stale_record_changes_nothing_and_tells_nothing() {
    let ledger = ledger(Arc::new(MemoryStore::new()));
    let create = || told("created").create(keys::EPOCH, &epoch(1));
    ledger.commit(create()).await.expect("the first");
    assert_eq!(ledger.commit(create()).await, Err(CommitError::Conflict));
    let kept = ledger
        .read::<EpochRecord>(keys::EPOCH)
        .await
        .expect("read")
        .expect("there");
    ledger
        .commit(told("two").replace(&kept, &epoch(2)))
        .await
        .expect("fresh");
    let stale = told("three").replace(&kept, &epoch(3));
    assert_eq!(ledger.commit(stale).await, Err(CommitError::Conflict));
    assert_eq!(texts(&ledger).await, ["created", "two"]);
}

#[tokio::test]
async fn two_processes_share_one_log_without_a_gap() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (ledger(Arc::clone(&store)), ledger(store));
    for n in 0..10 {
        one.commit(told(&format!("one {n}")))
            .await
            .expect("an event");
        two.commit(told(&format!("two {n}")))
            .await
            .expect("an event");
    }
    let numbers = one.events_after(0).await.expect("events");
    let numbers: Vec<_> = numbers.into_iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_newest_events_are_kept() {
    let ledger = ledger(Arc::new(MemoryStore::new()));
    for _ in 0..EVENTS_KEPT + 7 {
        ledger.commit(told("x")).await.expect("an event");
    }
    let all = ledger
        .store()
        .range(&Span::prefix(keys::EVENTS))
        .await
        .expect("listed");
    assert_eq!(all.entries.len() as u64, EVENTS_KEPT);
    assert_eq!(ledger.events_after(0).await.expect("events")[0].number, 8);
    let last = ledger.last_events(2).await.expect("events");
    assert_eq!(
        last.iter().map(|it| it.number).collect::<Vec<_>>(),
        [EVENTS_KEPT + 6, EVENTS_KEPT + 7]
    );
}

/// A store whose answers to writes get lost: of every three, one is carried out and not confirmed,
/// and one is neither.
#[derive(Debug)]
struct Forgetful {
    inner: MemoryStore,
    calls: AtomicUsize,
}

#[async_trait]
impl Store for Forgetful {
    async fn range(&self, span: &Span) -> Result<Listing, StoreError> {
        self.inner.range(span).await
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError> {
        let lost = || StoreError::Unconfirmed {
            problem: "lost".to_owned(),
        };
        match self.calls.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => {
                self.inner.transact(txn).await?;
                Err(lost())
            }
            1 => self.inner.transact(txn).await,
            _ => Err(lost()),
        }
    }

    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(span, from).await
    }

    async fn health(&self) -> Result<StoreHealth, StoreError> {
        self.inner.health().await
    }
}

#[tokio::test]
async fn a_change_whose_confirmation_is_lost_happens_exactly_once() {
    let store = Forgetful {
        inner: MemoryStore::new(),
        calls: AtomicUsize::new(0),
    };
    let ledger = ledger(Arc::new(store));
    let expected: Vec<_> = (0..9).map(|n| format!("event {n}")).collect();
    for text in &expected {
        ledger
            .commit(told(text))
            .await
            .expect("confirmed in the end");
    }
    assert_eq!(texts(&ledger).await, expected);
}

/// How many changes must be acknowledged between two kills.
const BETWEEN_KILLS: usize = 40;
const KILLS: usize = 4;
const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_etcd_is_killed_under_load() {
    let mut etcd = RealEtcd::start().await;
    let ledger = Arc::new(ledger(Arc::new(etcd.store())));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let count = || acknowledged.lock().expect("not poisoned").len();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(
                Arc::clone(&ledger),
                writer,
                Arc::clone(&acknowledged),
            ))
        })
        .collect();
    let follower = tokio::spawn(follow(Arc::clone(&ledger)));
    for _ in 0..KILLS {
        let goal = count() + BETWEEN_KILLS;
        let deadline = Instant::now() + GENEROUS;
        while count() < goal {
            assert!(
                Instant::now() < deadline,
                "{} of {goal} acknowledged",
                count()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        etcd.kill_and_restart().await;
    }
    for writer in &writers {
        writer.abort();
    }
    for writer in writers {
        let _ = writer.await;
    }
    ledger.commit(told("end")).await.expect("the store is back");

    let written = texts(&ledger).await;
    let acknowledged = acknowledged.lock().expect("not poisoned").clone();
    for text in &acknowledged {
        let times = written.iter().filter(|it| *it == text).count();
        assert_eq!(
            times, 1,
            "{text} was acknowledged and is there {times} times"
        );
    }
    let followed = tokio::time::timeout(GENEROUS, follower)
        .await
        .expect("the end is seen");
    let numbers = followed.expect("the follower lives");
    assert_eq!(numbers, (1..=written.len() as u64).collect::<Vec<_>>());
    println!(
        "{} acknowledged, {} written, {KILLS} kills",
        acknowledged.len(),
        written.len()
    );
}

async fn write(ledger: Arc<Ledger>, writer: usize, acknowledged: Arc<Mutex<Vec<String>>>) {
    for n in 0.. {
        let text = format!("writer {writer} change {n}");
        // An error is no acknowledgement: whether it was written is open.
        if ledger.commit(told(&text)).await.is_ok() {
            acknowledged.lock().expect("not poisoned").push(text);
        }
    }
}

async fn follow(ledger: Arc<Ledger>) -> Vec<u64> {
    let mut follow = ledger.follow(0).await.expect("the log is followed");
    let mut numbers = Vec::new();
    loop {
        // The log cannot be read while etcd is away; the follower stands where it stood.
        let Ok(events) = follow.next(&ledger).await else {
            continue;
        };
        numbers.extend(events.iter().map(|event| event.number));
        if events.iter().any(|event| event.text == "end") {
            return numbers;
        }
    }
}
