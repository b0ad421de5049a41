//! Who is served, and what is said of whom.

use super::*;

fn agent(started_unix_ms: u64) -> Agent {
    Agent {
        started_unix_ms,
        boot_id: "b".to_owned(),
    }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

#[tokio::test]
async fn of_two_agents_with_one_name_the_later_start_is_served() {
    let sessions = Sessions::default();
    let mut first = sessions
        .open(&node("n"), agent(1), 0)
        .expect("the only one");
    let second = sessions
        .open(&node("n"), agent(2), 0)
        .expect("a later start");
    first.superseded().await;
    drop(first);
    let older = || sessions.open(&node("n"), agent(1), 0).map(drop);
    assert_eq!(older(), Err(Older { first: true }));
    assert_eq!(older(), Err(Older { first: false }));
    assert_eq!(sessions.count(), 1);
    assert_eq!(**sessions.starts().borrow(), [(node("n"), 2)].into());
    drop(second);
    assert_eq!(sessions.count(), 0);
    sessions.open(&node("n"), agent(1), 0).expect("alone again");
}

#[tokio::test]
async fn a_node_is_counted_as_seen_by_the_others_that_report() {
    let sessions = Sessions::default();
    let open = |name: &str| sessions.open(&node(name), agent(1), 0).expect("a session");
    let (a, b, _silent) = (open("a"), open("b"), open("c"));
    let sees = |name: &str, alive| v1::PeerView {
        peers: vec![v1::Peer {
            node: name.to_owned(),
            alive,
            facts: None,
        }],
    };
    a.hears(sees("d", true), |_| true);
    b.hears(sees("d", false), |_| true);
    let now = Instant::now();
    let counts = |name: &str, now| {
        let seen = sessions.observe(&[(node(name), true)].into(), now);
        (seen[&node(name)].seen_by, seen[&node(name)].seen_of)
    };
    // So far `b` may not have heard yet, but what `a` hears counts at once.
    assert_eq!((counts("d", now), counts("a", now)), ((1, 1), (0, 0)));
    let later = now + SETTLE;
    assert_eq!((counts("d", later), counts("a", later)), ((1, 2), (0, 1)));
}

#[tokio::test]
async fn the_newest_facts_are_shown_whoever_relays_them() {
    let sessions = Sessions::default();
    let facts = |sequence| v1::Facts {
        node: "d".to_owned(),
        sequence,
        ..v1::Facts::default()
    };
    let own = sessions.open(&node("d"), agent(1), 0).expect("a session");
    own.facts(facts(1));
    let relay = sessions.open(&node("a"), agent(1), 0).expect("a session");
    let peer = v1::Peer {
        node: "d".to_owned(),
        alive: true,
        facts: Some(facts(2)),
    };
    relay.hears(v1::PeerView { peers: vec![peer] }, |_| true);
    assert_eq!(sessions.said(&node("d")).facts, Some(facts(2)));
    own.facts(facts(3));
    assert_eq!(sessions.said(&node("d")).facts, Some(facts(3)));
}
