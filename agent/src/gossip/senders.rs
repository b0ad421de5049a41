//! Decides which opened frames are taken, and puts halved messages together again.
//!
//! Guarantees: no datagram is taken twice under one start of its sender, none of an earlier start
//! is taken after a later one was seen, and at most one half message of at most
//! [`MAX_PART`](super::frame::MAX_PART) bytes is kept per sender, for [`HALF_LIVES`].
//!
//! Idea: a window of counters per sender, as in RFC 4303 section 3.4.3. A sender's start number
//! rises over its restarts, so a recording of an earlier run is told from a restart.
//!
//! Absent: the clock (`now` comes in) and the question who may send at all (the caller asks the
//! assignment, which also bounds how many senders there are).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hamesh_proto::ids::NodeId;

use super::frame::{Frame, MAX_MESSAGE, Part};

/// How long a first half waits for its second. Both leave back to back.
pub const HALF_LIVES: Duration = Duration::from_secs(2);

/// How many counters a datagram may come late: some seconds of a sender's whole traffic.
const WINDOW: u64 = 128;

/// What was seen of each sender.
#[derive(Debug, Default)]
pub struct Senders {
    seen: BTreeMap<NodeId, Sender>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Seen before, too old to tell, or of an earlier start of its sender.
    Replayed,
    /// A second half whose first is not there (any more), or too long together.
    Unpaired,
}

#[derive(Debug)]
struct Sender {
    start: u64,
    highest: u64,
    /// Bit `n` is set when the counter `highest - n` was seen.
    seen: u128,
    half: Option<Half>,
}

#[derive(Debug)]
struct Half {
    counter: u64,
    body: Vec<u8>,
    arrived: Instant,
}

impl Senders {
    /// Takes a frame: `Ok(Some(_))` is a whole message, `Ok(None)` the first half of one.
    ///
    /// # Errors
    /// [`Refusal`]; what was seen so far is not changed by a replayed frame.
    pub fn take(&mut self, frame: Frame<'_>, now: Instant) -> Result<Option<Vec<u8>>, Refusal> {
        let sender = self
            .seen
            .entry(frame.sender.clone())
            .or_insert_with(|| Sender::new(&frame));
        if frame.start > sender.start {
            *sender = Sender::new(&frame);
        }
        if frame.start < sender.start || !sender.mark(frame.counter) {
            return Err(Refusal::Replayed);
        }
        match frame.part {
            Part::Whole => Ok(Some(frame.body.to_vec())),
            Part::First => {
                let (counter, body) = (frame.counter, frame.body.to_vec());
                sender.half = Some(Half {
                    counter,
                    body,
                    arrived: now,
                });
                Ok(None)
            }
            Part::Second => sender.join(&frame, now).map(Some).ok_or(Refusal::Unpaired),
        }
    }

    /// Forgets every sender that is no longer a member.
    pub fn retain(&mut self, is_member: impl Fn(&NodeId) -> bool) {
        self.seen.retain(|node, _| is_member(node));
    }
}

impl Sender {
    fn new(frame: &Frame<'_>) -> Self {
        Self {
            start: frame.start,
            highest: frame.counter,
            seen: 0,
            half: None,
        }
    }

    /// Notes a counter; `false` when it was seen before or is too old to tell.
    fn mark(&mut self, counter: u64) -> bool {
        if let Some(ahead) = counter.checked_sub(self.highest) {
            let shifted = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.seen.checked_shl(ahead));
            if ahead == 0 && self.seen & 1 == 1 {
                return false;
            }
            self.seen = shifted.unwrap_or(0) | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }

    fn join(&mut self, second: &Frame<'_>, now: Instant) -> Option<Vec<u8>> {
        let Half {
            counter,
            mut body,
            arrived,
        } = self.half.take()?;
        let paired = counter.checked_add(1) == Some(second.counter)
            && now.saturating_duration_since(arrived) <= HALF_LIVES
            && body.len() + second.body.len() <= MAX_MESSAGE;
        paired.then(|| {
            body.extend(second.body);
            body
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(start: u64, counter: u64, part: Part, body: &[u8]) -> Frame<'_> {
        let sender = "node-1".parse().expect("a node name");
        Frame {
            sender,
            start,
            counter,
            sent_unix_ms: 0,
            part,
            body,
        }
    }

    fn whole(start: u64, counter: u64) -> Frame<'static> {
        frame(start, counter, Part::Whole, b"x")
    }

    #[test]
    fn a_datagram_is_taken_once_and_late_ones_within_the_window() {
        let now = Instant::now();
        let mut senders = Senders::default();
        for counter in [1000, 1002, 1001, 1129, 1003] {
            assert!(
                senders.take(whole(5, counter), now).is_ok(),
                "{counter} is new"
            );
        }
        for counter in [1000, 1002, 1001, 1129, 1003] {
            let again = senders.take(whole(5, counter), now);
            assert_eq!(
                again,
                Err(Refusal::Replayed),
                "{counter} was seen, or is too old to tell"
            );
        }
    }

    #[test]
    fn a_restart_is_taken_and_a_recording_of_the_run_before_is_not() {
        let now = Instant::now();
        let mut senders = Senders::default();
        assert!(senders.take(whole(5, 900), now).is_ok());
        assert!(
            senders.take(whole(6, 0), now).is_ok(),
            "a later start begins anew"
        );
        assert_eq!(senders.take(whole(5, 901), now), Err(Refusal::Replayed));
        assert!(
            senders.take(whole(6, 1), now).is_ok(),
            "the recording changed nothing"
        );
    }

    #[test]
    fn halves_pair_only_back_to_back_and_in_time() {
        let now = Instant::now();
        let mut senders = Senders::default();
        assert_eq!(senders.take(frame(1, 1, Part::First, b"ab"), now), Ok(None));
        let joined = senders.take(frame(1, 2, Part::Second, b"cd"), now);
        assert_eq!(joined, Ok(Some(b"abcd".to_vec())));

        assert_eq!(senders.take(frame(1, 3, Part::First, b"ab"), now), Ok(None));
        let other = senders.take(frame(1, 5, Part::Second, b"cd"), now);
        assert_eq!(other, Err(Refusal::Unpaired), "its first half was another");

        assert_eq!(senders.take(frame(1, 6, Part::First, b"ab"), now), Ok(None));
        let late = now + HALF_LIVES + Duration::from_millis(1);
        assert_eq!(
            senders.take(frame(1, 7, Part::Second, b"cd"), late),
            Err(Refusal::Unpaired)
        );
        assert_eq!(
            senders.take(frame(1, 9, Part::Second, b"cd"), now),
            Err(Refusal::Unpaired)
        );
    }

    #[test]
    fn a_sender_that_is_no_longer_a_member_is_forgotten() {
        let now = Instant::now();
        let mut senders = Senders::default();
        assert!(senders.take(whole(5, 1), now).is_ok());
        senders.retain(|_| false);
        assert!(
            senders.take(whole(5, 1), now).is_ok(),
            "nothing is known of it any more"
        );
    }

    proptest! {
        #[test]
        fn invariant_no_counter_is_taken_twice(
            counters in prop::collection::vec(0u64..400, 1..300),
        ) {
            let now = Instant::now();
            let mut senders = Senders::default();
            let mut taken = std::collections::BTreeSet::new();
            for counter in counters {
                if senders.take(whole(1, counter), now).is_ok() {
                    prop_assert!(taken.insert(counter), "{counter} was taken twice");
                }
            }
        }

        #[test]
        fn invariant_counters_in_order_are_all_taken(
            gaps in prop::collection::vec(1u64..1000, 1..50),
        ) {
            let now = Instant::now();
            let mut senders = Senders::default();
            let mut counter = 0;
            for gap in gaps {
                counter += gap;
                prop_assert!(senders.take(whole(1, counter), now).is_ok());
            }
        }
    }
}
