//! What every store must do: the same tests over the twin in memory and over a real etcd.

use super::testing::RealEtcd;
use super::{Guard, MemoryStore, Outcome, Revision, Span, Store, Txn, Watch, WatchError, Write};

fn put(key: &str, value: &str) -> Write {
    Write::Put {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
    }
}

fn delete(key: &str) -> Write {
    Write::Delete {
        key: key.to_owned(),
    }
}

fn guard(key: &str, revision: Option<Revision>) -> Guard {
    Guard {
        key: key.to_owned(),
        revision,
    }
}

async fn write(store: &dyn Store, writes: Vec<Write>) -> Revision {
    match store
        .transact(Txn {
            guards: Vec::new(),
            writes,
        })
        .await
        .expect("the store writes")
    {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a transaction without guards met a conflict"),
    }
}

async fn keys(store: &dyn Store, span: &Span) -> Vec<String> {
    let listing = store.range(span).await.expect("the store lists");
    listing.entries.into_iter().map(|entry| entry.key).collect()
}

async fn next(watch: &mut Watch) -> super::Batch {
    let batch = tokio::time::timeout(std::time::Duration::from_secs(60), watch.next());
    batch
        .await
        .expect("a change within a minute")
        .expect("the watch goes on")
}

async fn a_range_lists_only_its_keys_in_order(store: &dyn Store) {
    for key in ["/r/b", "/r/a", "/r/a/deeper", "/r0", "/q"] {
        write(store, vec![put(key, "x")]).await;
    }
    assert_eq!(
        keys(store, &Span::prefix("/r/")).await,
        ["/r/a", "/r/a/deeper", "/r/b"]
    );
    assert_eq!(keys(store, &Span::key("/r/a")).await, ["/r/a"]);
    assert!(keys(store, &Span::prefix("/nothing/")).await.is_empty());
}

async fn a_long_range_is_listed_whole(store: &dyn Store) {
    let key = |n: usize| format!("/long/{n:05}");
    for chunk in (0..1_200).collect::<Vec<_>>().chunks(100) {
        write(store, chunk.iter().map(|n| put(&key(*n), "x")).collect()).await;
    }
    let expected: Vec<_> = (0..1_200).map(key).collect();
    assert_eq!(keys(store, &Span::prefix("/long/")).await, expected);
}

async fn a_transaction_happens_whole_or_not_at_all(store: &dyn Store) {
    let at = write(store, vec![put("/t/a", "1"), put("/t/b", "1")]).await;
    let stale = Txn {
        guards: vec![guard("/t/a", Some(at)), guard("/t/b", None)],
        writes: vec![put("/t/a", "2"), delete("/t/b")],
    };
    assert_eq!(store.transact(stale.clone()).await, Ok(Outcome::Conflict));
    let listing = store.range(&Span::prefix("/t/")).await.expect("lists");
    assert!(
        listing
            .entries
            .iter()
            .all(|entry| entry.value == b"1" && entry.revision == at)
    );

    let right = Txn {
        guards: vec![guard("/t/a", Some(at)), guard("/t/b", Some(at))],
        ..stale
    };
    let Ok(Outcome::Committed(then)) = store.transact(right).await else {
        panic!("refused")
    };
    assert!(then > at);
    let listing = store.range(&Span::prefix("/t/")).await.expect("lists");
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(
        (listing.entries[0].revision, listing.revision),
        (then, then)
    );
}

async fn of_two_writers_with_one_guard_one_wins(store: &dyn Store) {
    let claim = |who: &str| Txn {
        guards: vec![guard("/race", None)],
        writes: vec![put("/race", who)],
    };
    let (left, right) = tokio::join!(
        store.transact(claim("left")),
        store.transact(claim("right"))
    );
    let won = [left, right]
        .into_iter()
        .filter(|it| matches!(it, Ok(Outcome::Committed(_))));
    assert_eq!(won.count(), 1);
}

async fn a_watch_shows_each_change_once_and_in_order(store: &dyn Store) {
    let start = write(store, vec![put("/w/a", "0")]).await;
    write(
        store,
        vec![put("/w/a", "1"), put("/w/b", "1"), put("/elsewhere", "1")],
    )
    .await;
    let mut watch = store
        .watch(Span::prefix("/w/"), start.next())
        .await
        .expect("watches");
    write(store, vec![put("/elsewhere", "2")]).await;
    write(store, vec![delete("/w/a")]).await;

    let mut first = next(&mut watch).await;
    first.changes.sort();
    let change = |key: &str, value: &[u8]| (key.to_owned(), Some(value.to_vec()));
    assert_eq!(first.changes, [change("/w/a", b"1"), change("/w/b", b"1")]);
    let second = next(&mut watch).await;
    assert_eq!(second.changes, [("/w/a".to_owned(), None)]);
    assert!(second.revision > first.revision && first.revision > start);
}

/// `compact` forgets the history up to the revision.
async fn a_watch_behind_the_history_says_so(
    store: &dyn Store,
    compact: impl AsyncFnOnce(Revision),
) {
    let start = write(store, vec![put("/c", "0")]).await;
    write(store, vec![put("/c", "1")]).await;
    let newest = write(store, vec![put("/c", "2")]).await;
    compact(newest).await;
    let mut watch = store.watch(Span::key("/c"), start).await.expect("watches");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), watch.next()).await;
    assert_eq!(
        ended.expect("an answer within a minute"),
        Err(WatchError::Compacted)
    );
}

async fn everything(store: &dyn Store, compact: impl AsyncFnOnce(Revision)) {
    a_range_lists_only_its_keys_in_order(store).await;
    a_long_range_is_listed_whole(store).await;
    a_transaction_happens_whole_or_not_at_all(store).await;
    of_two_writers_with_one_guard_one_wins(store).await;
    a_watch_shows_each_change_once_and_in_order(store).await;
    a_watch_behind_the_history_says_so(store, compact).await;
    let health = store.health().await.expect("the store is healthy");
    assert_eq!((health.members, health.alarms.len()), (1, 0));
}

#[tokio::test]
async fn the_twin_in_memory_keeps_every_promise_but_durability() {
    let store = MemoryStore::new();
    everything(&store, async |revision| store.compact(revision)).await;
}

#[tokio::test]
async fn a_real_etcd_behind_the_driver_keeps_every_promise() {
    let etcd = RealEtcd::start().await;
    let store = etcd.store();
    everything(&store, async |revision| store.compact(revision).await).await;
}
