//! When a holder announces its address: a pure schedule for one address.
//!
//! ```text
//!   Silent --took--> burst (0, 20, 60, 150, 400, 1000 ms) --> every 2 s --let_go--> Silent
//!                      ^                                         |
//!                      +------- rival heard, peer returned ------+
//! ```
//!
//! Guarantees: the first announcement is due at the moment of taking; a rival is answered at once,
//! but never sooner than [`CLOSEST`] after the last announcement, so that two nodes that contradict
//! each other cannot fill the network; the forms alternate; a silent announcer is never due.
//!
//! The burst is dense at first, since a lost frame then costs its clients all, and thins out.
//! RFC 5227's ten seconds between defences are for hosts without a lease; a holder has one.

use std::time::{Duration, Instant};

use crate::frames::Form;

/// Pauses after each announcement of a burst.
const BURST: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(90),
    Duration::from_millis(250),
    Duration::from_millis(600),
];
/// The pause ever after.
pub const STEADY: Duration = Duration::from_secs(2);
/// No two announcements are closer.
pub const CLOSEST: Duration = Duration::from_millis(20);

/// The schedule of one address.
#[derive(Clone, Debug)]
pub struct Announcer {
    state: State,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Silent,
    Announcing {
        next: Instant,
        last: Option<Instant>,
        /// Announcements since the burst began.
        sent: usize,
    },
}

impl Default for Announcer {
    fn default() -> Self {
        Self {
            state: State::Silent,
            form: Form::Request,
        }
    }
}

impl Announcer {
    /// The address was taken: starts a burst.
    pub fn took(&mut self, now: Instant) {
        self.state = State::Announcing {
            next: now,
            last: None,
            sent: 0,
        };
    }

    /// The address was given back or has lapsed.
    pub fn let_go(&mut self) {
        self.state = State::Silent;
    }

    /// Someone else spoke as the owner, or a peer or wire came back whose neighbours may have
    /// heard another: says again whose it is.
    pub fn contradicted(&mut self, now: Instant) {
        if let State::Announcing { next, last, sent } = &mut self.state {
            let soonest = last.map_or(now, |last| now.max(last + CLOSEST));
            *next = soonest.min(*next);
            // In the middle of a burst, the rest of it is still to come.
            if *sent > BURST.len() {
                *sent = 0;
            }
        }
    }

    /// When to [`Announcer::poll`] next; none while silent.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Silent => None,
            State::Announcing { next, .. } => Some(next),
        }
    }

    /// The form to send now, if one is due. Late calls do not catch up.
    pub fn poll(&mut self, now: Instant) -> Option<Form> {
        match &mut self.state {
            State::Announcing { next, last, sent } if *next <= now => {
                *next = now + BURST.get(*sent).copied().unwrap_or(STEADY);
                *last = Some(now);
                *sent = sent.saturating_add(1);
                let form = self.form;
                self.form = form.other();
                Some(form)
            }
            State::Announcing { .. } | State::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Polls exactly when due, up to a time.
    fn run(announcer: &mut Announcer, until: Instant) -> Vec<(Instant, Form)> {
        let mut sent = Vec::new();
        while let Some(due) = announcer.due().filter(|due| *due <= until) {
            sent.push((due, announcer.poll(due).unwrap()));
        }
        sent
    }

    #[test]
    fn a_burst_thins_out_into_one_every_two_seconds_in_alternating_forms() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.took(start);
        let sent = run(&mut announcer, start + ms(7100));
        let at: Vec<u128> = sent.iter().map(|(t, _)| (*t - start).as_millis()).collect();
        assert_eq!(at, [0, 20, 60, 150, 400, 1000, 3000, 5000, 7000]);
        assert!(sent.windows(2).all(|two| two[0].1 != two[1].1));
    }

    #[test]
    fn a_rival_is_answered_at_once_and_with_a_new_burst() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.took(start);
        run(&mut announcer, start + ms(4000));
        announcer.contradicted(start + ms(4100));
        let sent = run(&mut announcer, start + ms(5100));
        let at: Vec<u128> = sent.iter().map(|(t, _)| (*t - start).as_millis()).collect();
        assert_eq!(at, [4100, 4120, 4160, 4250, 4500, 5100]);
    }

    #[test]
    fn who_let_go_is_silent_whatever_it_hears() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        announcer.contradicted(now);
        assert_eq!(announcer.due(), None);
        announcer.took(now);
        announcer.let_go();
        announcer.contradicted(now);
        assert_eq!(
            (announcer.due(), announcer.poll(now + STEADY)),
            (None, None)
        );
    }

    proptest! {
        #[test]
        fn no_chatter_makes_it_announce_faster_than_allowed(
            steps in proptest::collection::vec((0..40_u64, any::<bool>()), 1..400)
        ) {
            let mut now = Instant::now();
            let mut announcer = Announcer::default();
            announcer.took(now);
            let mut last: Option<Instant> = None;
            for (pause, rival) in steps {
                now += ms(pause);
                if rival {
                    announcer.contradicted(now);
                    prop_assert!(announcer.due().unwrap() <= now + CLOSEST);
                }
                if announcer.poll(now).is_some() {
                    prop_assert!(last.is_none_or(|last| now - last >= CLOSEST));
                    last = Some(now);
                }
            }
        }
    }
}
