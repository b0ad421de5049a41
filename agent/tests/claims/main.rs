//! The holder with everything but the kernel and the network: keys, seals, members, fences that
//! close by themselves, and a grantor. One clock, one thread, the same run every time.

mod site;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_agent::claims::brief::Brief;
use hamesh_agent::claims::holder::Order;
use hamesh_agent::claims::report::Part;
use hamesh_claims::lease;
use hamesh_claims::message::Health;
use hamesh_claims::rules::Rules;
use site::{Site, TTL, claim, node, vip};

/// A lease of the grantor, one sign of life of a standby, and the way there and back.
fn taken_over() -> Duration {
    let from = hamesh_claims::Moment::ZERO;
    let lease = lease::grantor_deadline(from, TTL, Rules::all()).since(from);
    lease + lease::standby_interval(TTL) + Duration::from_millis(10)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_claim_is_taken_by_one_node_and_kept() {
    let (mut site, holder) = Site::held(&["a", "b", "c"]);
    for _ in 0..5000 {
        site.step();
        assert_eq!(site.holder().as_ref(), Some(&holder), "never unanswered");
    }
    assert_eq!(site.part(&holder), Some(Part::Holding));
}

#[test]
fn beside_what_served_before_an_address_is_open_at_once_and_held_in_the_end() {
    let mut site = Site::beside("a");
    let a = node("a");
    for _ in 0..40_000 {
        site.step();
        assert_eq!(site.holder().as_ref(), Some(&a), "never unanswered");
    }
    assert_eq!(site.part(&a), Some(Part::Holding));
    site.kill(&a);
    site.until("it closes without its agent", taken_over(), |site| {
        site.holder().is_none().then_some(())
    });
    site.start("a");
    site.until("it is open again", seconds(1), Site::holder);
}

#[test]
fn a_restored_coordinator_grants_at_once_what_no_fence_is_open_for() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.stop_coordinator();
    // Nobody promises it anything.
    site.nodes.get_mut(&holder).expect("a node").cut = true;
    site.until("its lease runs out", seconds(1), |site| {
        site.holder().is_none().then_some(())
    });
    site.restore();
    site.run(seconds(5));
    assert_eq!(site.holder(), None, "one is awaited");
    site.nodes.get_mut(&holder).expect("a node").cut = false;
    site.until("somebody holds again", seconds(1), Site::holder);
}

#[test]
fn a_restored_coordinator_waits_while_something_else_keeps_a_fence_open() {
    let mut site = Site::beside("a");
    let a = node("a");
    let part = |wanted: Part| {
        let a = node("a");
        move |site: &Site| (site.part(&a) == Some(wanted)).then_some(())
    };
    site.until("it holds", seconds(40), part(Part::Holding));
    site.nodes.get_mut(&a).expect("a node").world.open.clear();
    site.until("the loss is noticed", seconds(1), part(Part::Standby));
    site.restore();
    site.run(seconds(20));
    assert_eq!(site.part(&a), Some(Part::Standby));
    assert_eq!(site.holder(), Some(a));
    site.until("it holds again", seconds(20), part(Part::Holding));
}

#[test]
fn another_takes_over_from_a_holder_that_died_within_its_lease() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.kill(&holder);
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", taken_over(), other);
    site.start(holder.as_str());
    site.run(seconds(2));
    assert_eq!(site.part(&holder), Some(Part::Standby));
}

#[test]
fn a_holder_that_is_cut_off_falls_silent_before_another_speaks() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.nodes.get_mut(&holder).expect("a node").cut = true;
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", taken_over(), other);
    site.nodes.get_mut(&holder).expect("a node").cut = false;
    site.run(seconds(2));
    assert_eq!(site.part(&holder), Some(Part::Standby));
}

#[test]
fn a_restarted_agent_goes_on_holding_and_no_packet_is_lost() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    for _ in 0..3 {
        site.kill(&holder);
        for _ in 0..100 {
            site.step();
            assert_eq!(site.holder().as_ref(), Some(&holder), "while it is away");
        }
        site.start(holder.as_str());
        for _ in 0..1000 {
            site.step();
            assert_eq!(site.holder().as_ref(), Some(&holder), "after its start");
        }
    }
}

#[test]
fn nothing_moves_while_no_coordinator_answers_and_agents_restart() {
    let (mut site, holder) = Site::held(&["a", "b", "c"]);
    site.stop_coordinator();
    let others: Vec<_> = (site.nodes.keys())
        .filter(|name| **name != holder)
        .cloned()
        .collect();
    for turn in 0..60 {
        match turn % 20 {
            8 => site.kill(&others[0]),
            9 => site.start(others[0].as_str()),
            16 => site.kill(&holder),
            _ => {}
        }
        for _ in 0..100 {
            site.step();
            assert_eq!(site.holder().as_ref(), Some(&holder), "turn {turn}");
        }
        if turn % 20 == 16 {
            site.start(holder.as_str());
        }
        for _ in 0..900 {
            site.step();
            assert_eq!(site.holder().as_ref(), Some(&holder), "turn {turn}");
        }
    }
    assert_eq!(site.part(&holder), Some(Part::HoldingAlone));
    site.start_coordinator();
    for _ in 0..2000 {
        site.step();
        assert_eq!(site.holder().as_ref(), Some(&holder), "after its return");
    }
    assert_eq!(site.part(&holder), Some(Part::Holding));
}

#[test]
fn a_fence_that_was_flushed_is_given_back_and_its_node_asks_for_nothing_until_it_is_loaded() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.nodes.get_mut(&holder).expect("a node").world.flushed = true;
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", seconds(1), other);
    assert_eq!(site.part(&holder), Some(Part::Unable));
    let second = site.holder().expect("held");
    site.kill(&second);
    site.run(seconds(2));
    assert_eq!(site.holder(), None, "one is dead, the other is not fenced");
    site.nodes.get_mut(&holder).expect("a node").world.flushed = false;
    site.order(holder.as_str(), Order::Fence(None));
    site.until("it holds again", seconds(1), Site::holder);
}

#[test]
fn a_node_whose_checks_fail_hands_over_to_a_better_one() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    let failed = (Health::Failed, "haproxy is not running".to_owned());
    let health = BTreeMap::from([(claim(), failed)]);
    site.order(holder.as_str(), Order::Health(health));
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", Duration::from_millis(200), other);
}

#[test]
fn a_commit_that_takes_longer_than_the_lease_leaves_nothing_open() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    let slow = site.nodes.get_mut(&holder).expect("a node");
    slow.world.commit = TTL * 2;
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", seconds(10), other);
}

#[test]
fn nobody_is_told_of_a_give_back_while_the_fence_may_be_open() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.nodes.get_mut(&holder).expect("a node").world.stuck = true;
    site.order(holder.as_str(), Order::Stop);
    let began = site.clock.now();
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", taken_over(), other);
    let waited = site.clock.now().since(began);
    assert!(waited > TTL / 2, "it was told too early: {waited:?}");
}

#[test]
fn a_promise_that_cannot_be_written_down_is_not_given() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    let other = (site.nodes.keys().find(|n| **n != holder)).cloned();
    let other = other.expect("two nodes");
    site.nodes.get_mut(&other).expect("a node").world.run_full = true;
    site.stop_coordinator();
    let nobody = |site: &Site| site.holder().is_none().then_some(());
    site.until("the lease runs out", TTL * 2, nobody);
    site.nodes.get_mut(&other).expect("a node").world.run_full = false;
    site.start_coordinator();
    site.until("somebody holds again", seconds(5), Site::holder);
}

#[test]
fn an_agent_that_stops_for_good_hands_over_at_once() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    site.order(holder.as_str(), Order::Stop);
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", Duration::from_millis(50), other);
    let left = &site.nodes[&holder].world;
    assert!(left.configured.is_empty() && left.open.is_empty());
}

#[test]
fn a_claim_that_is_no_longer_assigned_is_given_back() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    let none = Brief {
        claims: BTreeMap::new(),
        ..site.brief(holder.as_str())
    };
    site.order(holder.as_str(), Order::Brief(Arc::new(none)));
    let other = |site: &Site| site.holder().filter(|now| *now != holder);
    site.until("the other holds", Duration::from_millis(50), other);
    site.run(seconds(2));
    assert_eq!(site.part(&holder), None);
    assert!(site.nodes[&holder].world.configured.is_empty());
}

#[test]
fn another_time_to_live_moves_nothing() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    for name in ["a", "b"] {
        let mut brief = site.brief(name);
        let spec = brief.claims.get_mut(&claim()).expect("the claim");
        spec.ttl = TTL * 2;
        site.order(name, Order::Brief(Arc::new(brief)));
    }
    for _ in 0..2000 {
        site.step();
        assert_eq!(site.holder().as_ref(), Some(&holder));
    }
}

#[test]
fn what_a_human_opens_by_hand_stays_open_without_any_coordinator_until_it_is_closed() {
    let mut site = Site::of(&["a", "b"]);
    site.stop_coordinator();
    site.run(seconds(2));
    assert_eq!(site.holder(), None);
    let open = |site: &mut Site, open: bool| {
        let by_hand = if open { [claim()].into() } else { [].into() };
        site.nodes.get_mut(&node("b")).expect("a node").by_hand = by_hand;
    };
    open(&mut site, true);
    site.until("b answers", seconds(2), Site::holder);
    assert_eq!(site.part(&node("b")), Some(Part::BreakGlass));
    site.kill(&node("b"));
    site.run(seconds(100));
    assert_eq!(site.holder(), Some(node("b")), "without its agent");
    site.start("b");
    site.run(seconds(2));
    assert_eq!(site.part(&node("b")), Some(Part::BreakGlass));
    let desired = site.nodes[&node("b")].holder.as_ref().expect("runs");
    assert!(desired.desired(site.clock.now()).held.contains(&vip()));
    open(&mut site, false);
    let nobody = |site: &Site| site.holder().is_none().then_some(());
    site.until("b is silent", seconds(2), nobody);
}

#[test]
fn datagrams_of_strangers_are_counted_and_change_nothing() {
    let (mut site, holder) = Site::held(&["a", "b"]);
    let machine = site.nodes.get_mut(&holder).expect("a node");
    let running = machine.holder.as_mut().expect("runs");
    for length in 0..200 {
        running.datagram(&vec![1; length], &mut machine.world);
    }
    let text = machine.metrics.render(site.clock.now());
    let counted = |line: &str| assert!(text.contains(line), "{line}:\n{text}");
    counted("hamesh_claim_datagrams_refused_total{reason=\"form\"} 25");
    counted("hamesh_claim_datagrams_refused_total{reason=\"key\"} 175");
    counted("hamesh_claim_holding{claim=\"vip/edge\"} 1");
    site.run(seconds(1));
    assert_eq!(site.holder(), Some(holder));
}
