//! Logs a kind of refusal once in a while, however often it happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line of a kind in this time; a flood must not fill the journal.
const EVERY: Duration = Duration::from_secs(10);

/// When each kind was last logged, and how many were not since.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<BTreeMap<&'static str, (Instant, u64)>>);

impl Quiet {
    /// Whether to log this one: then how many were not logged before it.
    pub fn admit(&self, kind: &'static str) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        admit(&mut kinds, kind, Instant::now())
    }
}

fn admit(
    kinds: &mut BTreeMap<&'static str, (Instant, u64)>,
    kind: &'static str,
    now: Instant,
) -> Option<u64> {
    match kinds.get_mut(kind) {
        Some((last, unlogged)) if now.duration_since(*last) < EVERY => {
            *unlogged += 1;
            None
        }
        Some((last, unlogged)) => {
            *last = now;
            Some(std::mem::take(unlogged))
        }
        None => {
            kinds.insert(kind, (now, 0));
            Some(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_now_and_one_with_the_count_later() {
        let (mut kinds, start) = (BTreeMap::new(), Instant::now());
        let mut at = |seconds| admit(&mut kinds, "wrong", start + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(9), at(10), at(11)],
            [Some(0), None, None, Some(2), None]
        );
    }
}
