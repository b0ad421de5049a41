//! The promise half: what a member gave its word not to do, and until when.
//!
//! Guarantees that a word given binds for its whole time and the margin, over a restart of the
//! agent too ([`RunMemory`], in `/run`), and that only the holder it was given to can end it
//! sooner.
//!
//! ```text
//!              ask of H                      ask of H: until later
//!   free ------------------> promised to H -----------------------+
//!    ^                           |    ^                           |
//!    +--- its time is over <-----+    +---------------------------+
//!    +--- H releases this ask, or a later one
//! ```
//! Beside it, for a worker's peers: a consent to the worker's eviction, which refuses it promises.

use serde::{Deserialize, Serialize};

use super::promises::Kept;
use crate::ids::{BootId, NodeName, RequestId};
use crate::rules::{Rule, Rules};
use crate::time::Moment;

/// A promise given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Promised {
    /// To whom.
    pub to: NodeName,
    /// The latest ask that it answered.
    pub id: RequestId,
    /// Until when it binds, by this machine's clock.
    pub until: Moment,
    /// Whether it also answers another run of the asker. Which of the two asked later is unknown,
    /// so nothing but time ends it.
    pub mixed: bool,
}

/// What a member must remember for as long as its machine does not reboot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunMemory {
    /// The boot whose clock the moments are read from.
    pub boot: BootId,
    /// Until when it takes nothing, having once started without its memory.
    pub quiet_until: Moment,
    /// The promise in force.
    pub promised: Option<Promised>,
    /// Until when a consent to an eviction binds.
    pub consented_until: Option<Moment>,
    /// What it holds by the promises of the others: the next run carries it on.
    pub kept: Option<Kept>,
}

impl RunMemory {
    /// What to believe at a start at `now`: what was remembered in this boot; or else nothing, and
    /// so to wait until `all_clear`, when no word given earlier can bind any more.
    pub(crate) fn recall(
        found: Option<Self>,
        boot: BootId,
        all_clear: Moment,
        now: Moment,
        rules: Rules,
    ) -> Self {
        let believed = found.filter(|m| m.boot == boot || !rules.keeps(Rule::SameBootOnly));
        let patient = rules.keeps(Rule::ForgetfulTakesNothing);
        believed
            .map(|memory| Self { boot, ..memory })
            .unwrap_or(Self {
                boot,
                quiet_until: if patient { all_clear } else { now },
                promised: None,
                consented_until: None,
                kept: None,
            })
    }

    /// Until when a promise binds, and to whom.
    pub(crate) fn promise(&self, now: Moment) -> Option<&Promised> {
        self.promised
            .as_ref()
            .filter(|promised| now < promised.until)
    }

    /// Whether a consent binds.
    pub(crate) fn consents(&self, now: Moment) -> bool {
        self.consented_until.is_some_and(|until| now < until)
    }

    /// Whether it started without its memory, too short a time ago.
    pub(crate) fn quiet(&self, now: Moment) -> bool {
        now < self.quiet_until
    }

    /// Gives or prolongs the promise to `to`; never shortens it.
    pub(crate) fn promise_to(&mut self, to: &NodeName, id: RequestId, until: Moment, now: Moment) {
        let old = self.promise(now);
        let same_run = old.is_none_or(|old| old.id.session == id.session);
        let promised = Promised {
            to: to.clone(),
            id: old.map_or(id, |old| if same_run { old.id.max(id) } else { id }),
            until: old.map_or(until, |old| old.until.max(until)),
            mixed: !same_run || old.is_some_and(|old| old.mixed),
        };
        self.promised = Some(promised);
    }

    /// Ends the promise to `from`, if it answers no later ask than `upto`. Whether it did.
    pub(crate) fn release(&mut self, from: &NodeName, upto: RequestId, rules: Rules) -> bool {
        let named = |p: &Promised| {
            !p.mixed && p.id.session == upto.session && p.id.number <= upto.number
                || !rules.keeps(Rule::ReleaseNamesAsk)
        };
        let ends = self
            .promised
            .as_ref()
            .is_some_and(|p| p.to == *from && named(p));
        if ends {
            self.promised = None;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Session;

    fn at(n: u64) -> Moment {
        Moment::from_nanos(n)
    }

    fn id(session: u64, number: u64) -> RequestId {
        RequestId {
            session: Session(session),
            number,
        }
    }

    fn recalled(found: Option<RunMemory>, boot: u128) -> RunMemory {
        RunMemory::recall(found, BootId(boot), at(50), at(10), Rules::all())
    }

    #[test]
    fn only_a_memory_of_the_same_boot_is_believed() {
        let mut memory = recalled(None, 1);
        assert_eq!(memory.quiet_until, at(50));
        memory.quiet_until = Moment::ZERO;
        memory.promise_to(&NodeName::new("h"), id(1, 1), at(20), at(10));
        assert_eq!(recalled(Some(memory.clone()), 1), memory);
        let other = recalled(Some(memory), 2);
        assert_eq!((other.promised, other.quiet_until), (None, at(50)));
    }

    #[test]
    fn a_promise_ends_at_its_time_and_is_never_shortened() {
        let mut memory = recalled(None, 1);
        let holder = NodeName::new("h");
        memory.promise_to(&holder, id(1, 1), at(30), at(10));
        memory.promise_to(&holder, id(1, 2), at(20), at(11));
        assert!(memory.promise(at(29)).is_some());
        assert!(memory.promise(at(30)).is_none());
    }

    #[test]
    fn an_earlier_ask_that_comes_late_does_not_make_an_old_release_end_the_promise() {
        let holder = NodeName::new("h");
        for late in [id(1, 4), id(2, 1)] {
            let mut memory = recalled(None, 1);
            memory.promise_to(&holder, id(1, 5), at(30), at(10));
            memory.promise_to(&holder, late, at(25), at(11));
            assert!(!memory.release(&holder, late, Rules::all()));
            assert!(memory.promise(at(29)).is_some());
        }
    }

    #[test]
    fn a_release_ends_only_promises_asked_for_before_it() {
        let holder = NodeName::new("h");
        for (from, upto, ends) in [
            ("h", id(1, 5), true),
            ("h", id(1, 6), true),
            ("h", id(1, 4), false),
            ("h", id(2, 9), false),
            ("x", id(1, 5), false),
        ] {
            let mut memory = recalled(None, 1);
            memory.promise_to(&holder, id(1, 5), at(30), at(10));
            assert_eq!(
                memory.release(&NodeName::new(from), upto, Rules::all()),
                ends
            );
            assert_eq!(memory.promise(at(11)).is_none(), ends);
        }
    }
}
