//! Servers that are marked down when gossip says that somebody else leads.

use std::sync::Arc;

use hamesh_agent::gossip::PeersView;
use hamesh_agent::gossip::peers::Peer;
use hamesh_agent::haproxy::marker::Marker;
use hamesh_agent::haproxy::series::Outcome;
use hamesh_agent::metrics::Metrics;
use hamesh_proto::v1::{self, DatabaseState};
use tokio::sync::watch;

use crate::program::{Haproxy, accepting};

/// Peers by name, and what each says of itself.
fn peers(told: [(&str, DatabaseState); 2]) -> Arc<PeersView> {
    let peer = |(name, said): (&str, DatabaseState)| {
        let facts = v1::Facts {
            started_unix_ms: 1,
            database: said.into(),
            ..v1::Facts::default()
        };
        let (alive, facts) = (true, Some(facts));
        (name.parse().expect("a name"), Peer { alive, facts })
    };
    Arc::new(told.into_iter().map(peer).collect())
}

#[tokio::test]
async fn who_is_succeeded_is_left_out_at_once_and_comes_back_by_the_checks() {
    let (a, b) = (accepting().await, accepting().await);
    // `b` is well only in a year: one that is promoted, and not yet seen to answer.
    let config = format!(
        "
defaults
    mode tcp
    timeout connect 1s
    timeout client 5s
    timeout server 5s
backend leader
    default-server check inter 500ms fastinter 200ms downinter 500ms fall 2 rise 2
    server a {a}
    server b {b} rise 100000000
backend replicas
    server a {a} check
    server b {b} check
"
    );
    let haproxy = Haproxy::start(&[], &config).await;
    haproxy.tell("set server leader/b health down").await;
    let metrics = Metrics::new("0").expect("no two series clash");
    let (gossip, heard) = watch::channel(peers([
        ("a", DatabaseState::Leader),
        ("b", DatabaseState::Replica),
    ]));
    let marker = Marker {
        socket: haproxy.socket(),
        peers: heard,
        series: metrics.marks.clone(),
    };
    tokio::spawn(marker.run());
    // Nobody else leads yet: the last one stays.
    tokio::task::yield_now().await;
    gossip.send_replace(peers([
        ("a", DatabaseState::Other),
        ("b", DatabaseState::Replica),
    ]));
    until(|| metrics.marks.of(Outcome::Spared).get() == 1).await;
    gossip.send_replace(peers([
        ("a", DatabaseState::Other),
        ("b", DatabaseState::Leader),
    ]));
    until(|| metrics.marks.of(Outcome::Marked).get() == 1).await;
    let state = haproxy
        .until("show servers state replicas", " a 127.0.0.1 2 ")
        .await;
    assert!(
        state.contains(" b 127.0.0.1 2 "),
        "the others are as they were"
    );
    // The check goes on, and finds that it answers.
    haproxy
        .until("show servers state leader", " a 127.0.0.1 2 ")
        .await;
    assert_eq!(metrics.marks.of(Outcome::Marked).get(), 1);
    assert_eq!(metrics.marks.of(Outcome::Failed).get(), 0);
}

async fn until(mut met: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !met() {
        assert!(tokio::time::Instant::now() < end, "not in time");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
