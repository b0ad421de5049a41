//! Finds two nodes that answer for one address: pure.
//!
//! Guarantees that a finding is a fact about one moment: a duplicate is two hardware addresses that
//! answered *one* question within [`WINDOW`]. A claim that moved is no duplicate: the old and the
//! new holder answer different questions. What a holder hears from anyone else is a rival at once.
//!
//! Absent on purpose: what to do about it. The holder announces again; the agent raises the alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::device::Mac;
use crate::frames::{Heard, How};

/// Answers later than this after a question are not counted as answers to it.
pub const WINDOW: Duration = Duration::from_millis(500);
/// A storm of answers is cut off here: by then the alarm has long been raised.
const MOST_ANSWERS: usize = 16;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// This node holds the address, and another speaks as its owner.
    Rival {
        /// The address.
        ip: IpAddr,
        /// Who spoke.
        mac: Mac,
    },
    /// More than one answered one question.
    Duplicate {
        /// The address.
        ip: IpAddr,
        /// All who answered it so far.
        macs: BTreeSet<Mac>,
    },
}

/// The questions that are out, for the addresses of one interface.
#[derive(Clone, Debug)]
pub struct Watch {
    own: Mac,
    held: BTreeSet<IpAddr>,
    asked: BTreeMap<IpAddr, Question>,
}

#[derive(Clone, Debug)]
struct Question {
    at: Instant,
    answered: BTreeSet<Mac>,
}

impl Watch {
    /// Watches on the interface with this hardware address.
    #[must_use]
    pub fn new(own: Mac) -> Self {
        Self {
            own,
            held: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    /// From now on this node itself answers for these, and these alone.
    pub fn holds(&mut self, addresses: BTreeSet<IpAddr>) {
        self.held = addresses;
        // A question of before would count this node's own answers wrongly.
        self.asked.clear();
    }

    /// A probe for the address is being sent. The answers to the one before are closed.
    pub fn asks(&mut self, ip: IpAddr, now: Instant) {
        // A node does not hear its own answer, so it counts itself.
        let answered = self.held.contains(&ip).then_some(self.own);
        let question = Question {
            at: now,
            answered: answered.into_iter().collect(),
        };
        self.asked.insert(ip, question);
    }

    /// Someone spoke as the owner of an address: what follows.
    pub fn hears(&mut self, heard: &Heard, now: Instant) -> Vec<Finding> {
        let Heard { ip, mac, how } = *heard;
        let mut findings = Vec::new();
        if mac == self.own {
            return findings;
        }
        if self.held.contains(&ip) {
            findings.push(Finding::Rival { ip, mac });
        }
        let to_us = how == How::Answered { to: self.own };
        if let Some(question) = self.asked.get_mut(&ip).filter(|_| to_us) {
            let in_time = now.saturating_duration_since(question.at) <= WINDOW;
            let room = question.answered.len() < MOST_ANSWERS;
            if in_time && room && question.answered.insert(mac) && question.answered.len() > 1 {
                let macs = question.answered.clone();
                findings.push(Finding::Duplicate { ip, macs });
            }
        }
        findings
    }

    /// Who has answered the last question so far; empty where nobody did.
    #[must_use]
    pub fn answers(&self, ip: IpAddr) -> BTreeSet<Mac> {
        let question = self.asked.get(&ip);
        question.map(|q| q.answered.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ONE: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const TWO: Mac = Mac([2, 0, 0, 0, 0, 3]);

    fn ip() -> IpAddr {
        [10, 0, 0, 9].into()
    }

    fn answer(mac: Mac) -> Heard {
        let how = How::Answered { to: OWN };
        Heard { ip: ip(), mac, how }
    }

    fn announced(mac: Mac) -> Heard {
        let how = How::Announced;
        Heard { ip: ip(), mac, how }
    }

    #[test]
    fn two_answers_to_one_question_are_a_duplicate_said_once() {
        let now = Instant::now();
        let mut watch = Watch::new(OWN);
        watch.asks(ip(), now);
        assert_eq!(watch.hears(&answer(ONE), now), []);
        assert_eq!(watch.hears(&answer(ONE), now), []);
        let macs = [ONE, TWO].into();
        let found = watch.hears(&answer(TWO), now + WINDOW);
        assert_eq!(found, [Finding::Duplicate { ip: ip(), macs }]);
        assert_eq!(watch.hears(&answer(TWO), now + WINDOW), []);
    }

    #[test]
    fn a_claim_that_moved_between_two_questions_is_no_duplicate() {
        let now = Instant::now();
        let mut watch = Watch::new(OWN);
        watch.asks(ip(), now);
        assert_eq!(watch.hears(&answer(ONE), now), []);
        assert_eq!(watch.hears(&announced(TWO), now), []);
        watch.asks(ip(), now + WINDOW);
        assert_eq!(watch.hears(&answer(TWO), now + WINDOW), []);
        assert_eq!(watch.answers(ip()), [TWO].into());
    }

    #[test]
    fn answers_to_others_or_out_of_time_or_without_a_question_count_for_nothing() {
        let now = Instant::now();
        let mut watch = Watch::new(OWN);
        assert_eq!(watch.hears(&answer(ONE), now), []);
        watch.asks(ip(), now);
        watch.hears(&answer(ONE), now);
        let how = How::Answered { to: TWO };
        let to_another = Heard { how, ..answer(TWO) };
        assert_eq!(watch.hears(&to_another, now), []);
        let late = now + WINDOW + Duration::from_millis(1);
        assert_eq!(watch.hears(&answer(TWO), late), []);
    }

    #[test]
    fn a_holder_knows_every_other_voice_as_a_rival_and_any_answer_as_a_duplicate() {
        let now = Instant::now();
        let mut watch = Watch::new(OWN);
        watch.holds([ip()].into());
        watch.asks(ip(), now);
        assert_eq!(watch.hears(&announced(OWN), now), [], "that was this node");
        let rival = Finding::Rival { ip: ip(), mac: ONE };
        let found = watch.hears(&announced(ONE), now);
        assert_eq!(found, std::slice::from_ref(&rival));
        let macs = [OWN, ONE].into();
        let duplicate = Finding::Duplicate { ip: ip(), macs };
        assert_eq!(watch.hears(&answer(ONE), now), [rival, duplicate]);
    }

    #[test]
    fn a_storm_of_answers_takes_no_more_memory_than_stated() {
        let now = Instant::now();
        let mut watch = Watch::new(OWN);
        watch.asks(ip(), now);
        for n in 0..=255 {
            watch.hears(&answer(Mac([4, 0, 0, 0, 0, n])), now);
        }
        assert_eq!(watch.answers(ip()).len(), MOST_ANSWERS);
    }
}
