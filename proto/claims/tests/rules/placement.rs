//! Where a claim goes: preference, stickiness, drains, moves, health, fail-back, pauses.

use std::collections::VecDeque;
use std::time::Duration;

use hamesh_claims::grantor::{self, Spec};
use hamesh_claims::ids::NodeName;
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{Health, ToCoordinator, ToMember};
use hamesh_claims::reason::{Ineligible, KeepReason};
use hamesh_claims::{Moment, Rules};

use crate::duo::{Duo, at, names};

/// A pair, whose messages arrive at once, and a leader that prefers `a`.
struct Site {
    duo: Duo,
    now: u64,
}

impl Site {
    fn held_by_a() -> Self {
        let mut site = Self {
            duo: Duo::new(Rules::all()),
            now: 1000,
        };
        site.configure(|spec| spec.preference = vec![NodeName::new("a"), NodeName::new("b")]);
        site.pass(500);
        assert_eq!(site.holder(), "a", "the preferred of two that are well");
        site
    }

    fn configure(&mut self, change: impl Fn(&mut Spec)) {
        self.duo.configure(change, at(self.now));
    }

    fn health(&mut self, node: &str, health: Health) {
        let now = at(self.now);
        let actions = self.member(node, Event::Health(health), now);
        self.route(actions);
    }

    fn member(&mut self, node: &str, event: Event, now: Moment) -> Vec<Action> {
        match node {
            "a" => self.duo.a_event(event, now),
            _ => self.duo.b_event(event, now),
        }
    }

    fn pass(&mut self, span: u64) {
        let end = self.now + span;
        while self.now < end {
            self.now += 25;
            for node in ["a", "b"] {
                let actions = self.member(node, Event::Tick, at(self.now));
                self.route(actions);
            }
            self.lead(grantor::Event::Tick);
        }
    }

    fn lead(&mut self, event: grantor::Event) {
        let mut told = Vec::new();
        self.duo.grantor.handle(event, at(self.now), &mut told);
        self.deliver(told);
    }

    fn deliver(&mut self, told: Vec<grantor::Action>) {
        let mut told: VecDeque<(NodeName, ToMember)> = tells(told).collect();
        while let Some((to, message)) = told.pop_front() {
            let event = Event::FromCoordinator(message);
            let actions = self.member(to.as_ref(), event, at(self.now));
            for message in requests(actions) {
                let mut answers = Vec::new();
                let event = grantor::Event::FromMember(message);
                let now = at(self.now);
                self.duo.grantor.handle(event, now, &mut answers);
                told.extend(tells(answers));
            }
        }
    }

    fn route(&mut self, actions: Vec<Action>) {
        for message in requests(actions) {
            self.lead(grantor::Event::FromMember(message));
        }
    }

    fn wish(&mut self, to: &str) {
        let mut told = Vec::new();
        let now = at(self.now);
        let to = Some(NodeName::new(to));
        self.duo.grantor.wish(to, now, &mut told);
        self.deliver(told);
    }

    fn holder(&self) -> &'static str {
        match (self.duo.a.holds(), self.duo.b.holds()) {
            (Some(_), None) => "a",
            (None, Some(_)) => "b",
            (None, None) => "nobody",
            (Some(_), Some(_)) => "both",
        }
    }
}

fn requests(actions: Vec<Action>) -> impl Iterator<Item = ToCoordinator> {
    actions.into_iter().filter_map(|action| match action {
        Action::Tell(message) => Some(message),
        _ => None,
    })
}

fn tells(actions: Vec<grantor::Action>) -> impl Iterator<Item = (NodeName, ToMember)> {
    actions.into_iter().filter_map(|action| match action {
        grantor::Action::Tell(to, message) => Some((to, message)),
        _ => None,
    })
}

#[test]
fn a_holder_that_falls_ill_is_succeeded_and_does_not_get_the_claim_back_by_itself() {
    let mut site = Site::held_by_a();
    site.health("a", Health::Failed);
    site.pass(50);
    assert_eq!(site.holder(), "b");
    site.health("a", Health::Healthy);
    site.pass(5000);
    assert_eq!(
        site.holder(),
        "b",
        "no fail-back unless the site asks for it"
    );
    site.configure(|spec| spec.fail_back = Some(Duration::from_secs(1)));
    site.pass(900);
    assert_eq!(
        site.holder(),
        "b",
        "only after it has been well for long enough"
    );
    site.pass(300);
    assert_eq!(site.holder(), "a");
}

#[test]
fn the_least_bad_keeps_the_claim_and_says_so() {
    let mut site = Site::held_by_a();
    site.health("b", Health::Failed);
    site.health("a", Health::Degraded);
    site.pass(500);
    assert_eq!(site.holder(), "a");
    let explained = site.duo.grantor.explain(at(site.now));
    assert_eq!(
        explained.keeps,
        Some(KeepReason::LeastBad(Health::Degraded))
    );
}

#[test]
fn a_drained_holder_gives_back_and_says_why_it_is_not_chosen() {
    let mut site = Site::held_by_a();
    site.configure(|spec| spec.drained = names(&["a"]));
    site.pass(50);
    assert_eq!(site.holder(), "b");
    let explained = site.duo.grantor.explain(at(site.now));
    assert_eq!(explained.others[0].why_not, Some(Ineligible::Drained));
    site.configure(|spec| spec.drained = names(&["a", "b"]));
    site.pass(500);
    assert_eq!(site.holder(), "b", "there is nowhere to go");
}

#[test]
fn a_planned_move_happens_at_once_and_only_once() {
    let mut site = Site::held_by_a();
    site.wish("b");
    assert_eq!(site.holder(), "b", "within the messages of one moment");
    site.pass(2000);
    assert_eq!(site.holder(), "b");
}

#[test]
fn a_paused_claim_stays_where_it_is() {
    let mut site = Site::held_by_a();
    site.configure(|spec| spec.paused = true);
    site.health("a", Health::Failed);
    site.wish("b");
    site.pass(1000);
    assert_eq!(site.holder(), "a");
}
