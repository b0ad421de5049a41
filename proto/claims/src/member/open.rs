//! The requests of this run that an answer may still come for.
//!
//! Bounded: in one time-to-live a member sends [`REQUESTS_PER_TTL`] requests at most, and an answer
//! to an older one would come too late; the bound leaves room for requests sent out of turn.

use std::collections::VecDeque;

use crate::ids::{RequestId, Session};
use crate::lease::REQUESTS_PER_TTL;
use crate::time::Moment;

/// More would have run out before their answers came.
const MOST_OPEN: usize = 2 * REQUESTS_PER_TTL as usize;

/// A run that carries on where the last one died numbers from here above what that remembered: it
/// may have sent more since.
const NUMBERS_PER_RUN: u64 = 1 << 32;

/// The numbers given in this run, and when those still open were sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Open {
    session: Session,
    last: u64,
    sent: VecDeque<(u64, Moment)>,
}

impl Open {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            last: 0,
            sent: VecDeque::with_capacity(MOST_OPEN),
        }
    }

    /// Goes on with the numbers of the run that gave `last`: for others it is the same run.
    pub(crate) fn carrying_on(last: RequestId) -> Self {
        let mut open = Self::new(last.session);
        open.last = last.number.saturating_add(NUMBERS_PER_RUN);
        open
    }

    /// Numbers a request that is about to be sent.
    pub(crate) fn send(&mut self, now: Moment) -> RequestId {
        if self.sent.len() == MOST_OPEN {
            self.sent.pop_front();
        }
        self.last += 1;
        self.sent.push_back((self.last, now));
        self.last()
    }

    /// When `id` was sent, if it is open.
    pub(crate) fn sent(&self, id: RequestId) -> Option<Moment> {
        let mine = id.session == self.session;
        self.sent
            .iter()
            .find(|(number, _)| mine && *number == id.number)
            .map(|(_, at)| *at)
    }

    /// No answer to anything sent so far is believed any more.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
    }

    /// The last number given.
    pub(crate) fn last(&self) -> RequestId {
        RequestId {
            session: self.session,
            number: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_for_an_open_request_of_this_run() {
        let mut open = Open::new(Session(7));
        let first = open.send(Moment::from_nanos(1));
        let second = open.send(Moment::from_nanos(2));
        assert_eq!(open.sent(first), Some(Moment::from_nanos(1)));
        assert_eq!(
            open.sent(RequestId {
                session: Session(8),
                ..first
            }),
            None
        );
        open.forget();
        assert_eq!((open.sent(first), open.sent(second)), (None, None));
        assert_eq!(open.send(Moment::from_nanos(3)).number, 3);
    }

    #[test]
    fn the_oldest_request_makes_room() {
        let mut open = Open::new(Session(7));
        let first = open.send(Moment::ZERO);
        for _ in 0..MOST_OPEN {
            open.send(Moment::ZERO);
        }
        assert_eq!(open.sent(first), None);
        assert_eq!(open.sent.len(), MOST_OPEN);
    }
}
