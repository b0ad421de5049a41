//! Servers of drained nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use hamesh_agent::haproxy::drainer::Drainer;
use hamesh_agent::metrics::Metrics;
use hamesh_proto::ids::NodeId;
use tokio::sync::watch;

use crate::program::{Haproxy, accepting};

fn nodes(names: &[&str]) -> Arc<BTreeSet<NodeId>> {
    let nodes = names.iter().map(|it| it.parse().expect("a name"));
    Arc::new(nodes.collect())
}

#[tokio::test]
async fn a_drained_nodes_servers_get_nothing_new_over_changes_by_others_and_come_back() {
    let (a, b) = (accepting().await, accepting().await);
    let config = format!(
        "
defaults
    mode tcp
    timeout connect 1s
    timeout client 5s
    timeout server 5s
backend web
    default-server check inter 100ms
    server a {a}
    server b {b}
backend leader
    default-server check inter 100ms
    server a {a}
    server b {b}
backend alone
    server a {a} check inter 100ms
"
    );
    let haproxy = Haproxy::start(&[], &config).await;
    let metrics = Metrics::new("0").expect("no two series clash");
    // What this agent's run before it was told.
    let (told, drained) = watch::channel(nodes(&["a"]));
    let drainer = Drainer {
        socket: haproxy.socket(),
        drained,
        series: metrics.drains.clone(),
    };
    tokio::spawn(drainer.run());
    let state = "show servers state web";
    haproxy.until(state, " a 127.0.0.1 2 8 ").await;
    // As a reload does.
    haproxy.tell("set server web/a state ready").await;
    haproxy.until(state, " a 127.0.0.1 2 8 ").await;
    // The other one breaks: better a drained one than none. It heals.
    haproxy.tell("set server web/b health down").await;
    haproxy.until(state, " a 127.0.0.1 2 8 ").await;
    haproxy.tell("set server web/b state maint").await;
    haproxy.until(state, " a 127.0.0.1 2 0 ").await;
    haproxy.tell("set server web/b state ready").await;
    haproxy.until(state, " a 127.0.0.1 2 8 ").await;
    for backend in ["leader", "alone"] {
        let state = format!("show servers state {backend}");
        haproxy.until(&state, " a 127.0.0.1 2 0 ").await;
    }
    assert_eq!(metrics.drains.nothing().get(), 1);
    assert_eq!(metrics.drains.all().get(), 1);
    told.send_replace(nodes(&[]));
    haproxy.until(state, " a 127.0.0.1 2 0 ").await;
    // Whoever drains it by hand now is left alone, as is one in maintenance.
    told.send_replace(nodes(&["b"]));
    haproxy.until(state, " b 127.0.0.1 2 8 ").await;
    haproxy.tell("set server web/b state maint").await;
    told.send_replace(nodes(&[]));
    haproxy.tell("set server web/a state drain").await;
    told.send_replace(nodes(&["x"]));
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let now = haproxy.until(state, " a 127.0.0.1 2 8 ").await;
    assert!(
        now.contains(" b 127.0.0.1 0 9 ") || now.contains(" b 127.0.0.1 0 1 "),
        "{now}"
    );
}
