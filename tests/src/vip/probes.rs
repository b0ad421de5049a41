//! What the probes of one client amount to: how long nobody answered, how long one had to wait.
//!
//! Pure. A probe is one fresh connection with one request, given up after [`GIVE_UP`]: the kernel's
//! own second try of a lost SYN comes after a second and would round every figure up to that.

use std::ops::Range;
use std::time::Duration;

/// Time between the starts of two probes.
pub const EVERY: Duration = Duration::from_millis(5);
/// How long a probe may take.
pub const GIVE_UP: Duration = Duration::from_millis(250);
/// Answers for a shorter time than this do not end an outage.
const BRIDGE: Duration = Duration::from_millis(50);
/// How long after a moment it is still looked whether a client is served at it.
const LOOK: Duration = Duration::from_millis(100);

/// One fresh connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was started, from the start of the run.
    pub start: Duration,
    /// How long until it was connected, if it was.
    pub connected: Option<Duration>,
    /// How long until the whole page was there, if it came.
    pub answered: Option<Duration>,
}

/// How long nobody answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// The longest stretch without an answer, short moments of answers in it included.
    pub longest: Duration,
    /// All stretches together.
    pub total: Duration,
    /// Whether there were answers again after the last one.
    pub ended: bool,
}

/// The outage among the probes that started within `window`, which must be in order.
pub fn outage(probes: &[Probe], window: &Range<Duration>) -> Outage {
    let stretches = unanswered(within(probes, window), window.end);
    let length = |(from, to): &(Duration, Duration)| to.saturating_sub(*from);
    let last = within(probes, window).next_back();
    Outage {
        longest: stretches.iter().map(length).max().unwrap_or_default(),
        total: stretches.iter().map(length).sum(),
        ended: last.is_some_and(|probe| probe.answered.is_some()),
    }
}

/// The longest time that a probe started within `window` waited for its connection.
pub fn longest_wait(probes: &[Probe], window: &Range<Duration>) -> Duration {
    within(probes, window)
        .map(|probe| probe.connected.unwrap_or(GIVE_UP))
        .max()
        .unwrap_or_default()
}

/// Whether any probe started at this moment or just after it was answered; nothing where none was
/// started.
pub fn is_served(probes: &[Probe], moment: Duration) -> Option<bool> {
    let mut started = within(probes, &(moment..moment + LOOK)).peekable();
    started.peek()?;
    Some(started.any(|probe| probe.answered.is_some()))
}

/// How long after `moment` the last probe failed before all were answered; zero where none failed,
/// nothing where the last of all failed.
pub fn recovery(probes: &[Probe], moment: Duration) -> Option<Duration> {
    let later = probes.partition_point(|probe| probe.start < moment);
    let later = &probes[later..];
    let Some(failed) = later.iter().rposition(|probe| probe.answered.is_none()) else {
        return Some(Duration::ZERO);
    };
    later.get(failed + 1).map(|probe| probe.start - moment)
}

/// The share of probes within `window` that were answered.
pub fn answered_share(probes: &[Probe], window: &Range<Duration>) -> f64 {
    let (mut all, mut answered) = (0_u32, 0_u32);
    for probe in within(probes, window) {
        all += 1;
        answered += u32::from(probe.answered.is_some());
    }
    f64::from(answered) / f64::from(all.max(1))
}

fn within<'a>(
    probes: &'a [Probe],
    window: &Range<Duration>,
) -> impl DoubleEndedIterator<Item = &'a Probe> + use<'a> {
    let from = probes.partition_point(|probe| probe.start < window.start);
    let to = probes.partition_point(|probe| probe.start < window.end);
    probes[from..to.max(from)].iter()
}

/// From the start of the first probe that failed to the start of the next one that did not.
fn unanswered<'a>(
    probes: impl Iterator<Item = &'a Probe>,
    end: Duration,
) -> Vec<(Duration, Duration)> {
    let mut stretches: Vec<(Duration, Duration)> = Vec::new();
    let mut since = None;
    let mut close = |from: Duration, to: Duration| match stretches.last_mut() {
        Some((_, last)) if from.saturating_sub(*last) < BRIDGE => *last = to,
        Some(_) | None => stretches.push((from, to)),
    };
    for probe in probes {
        match (since, probe.answered) {
            (None, None) => since = Some(probe.start),
            (Some(from), Some(_)) => {
                close(from, probe.start);
                since = None;
            }
            (None, Some(_)) | (Some(_), None) => {}
        }
    }
    if let Some(from) = since {
        close(from, end);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A probe every 5 ms for a second; those whose start lies in `gaps` fail.
    fn second(gaps: &[Range<u64>]) -> Vec<Probe> {
        let probe = |start: u64| {
            let answered = !gaps.iter().any(|gap| gap.contains(&start));
            Probe {
                start: ms(start),
                connected: answered.then_some(ms(1)),
                answered: answered.then_some(ms(2)),
            }
        };
        (0..1000).step_by(5).map(probe).collect()
    }

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_answer() {
        let seen = outage(
            &second(std::slice::from_ref(&(200..500))),
            &(ms(0)..ms(1000)),
        );
        assert_eq!(
            (seen.longest, seen.total, seen.ended),
            (ms(300), ms(300), true)
        );
    }

    #[test]
    fn a_moment_of_answers_does_not_end_an_outage_and_a_longer_one_does() {
        let window = ms(0)..ms(1000);
        let one = outage(&second(&[200..300, 340..400]), &window);
        assert_eq!((one.longest, one.total), (ms(200), ms(200)));
        let two = outage(&second(&[200..300, 360..400]), &window);
        assert_eq!((two.longest, two.total), (ms(100), ms(140)));
    }

    #[test]
    fn an_outage_that_does_not_end_lasts_to_the_end_of_the_window_and_says_so() {
        let seen = outage(
            &second(std::slice::from_ref(&(200..1000))),
            &(ms(0)..ms(900)),
        );
        assert_eq!((seen.longest, seen.ended), (ms(700), false));
    }

    #[test]
    fn probes_outside_the_window_do_not_count() {
        let seen = outage(&second(&[0..100, 900..1000]), &(ms(100)..ms(900)));
        assert_eq!((seen.longest, seen.ended), (ms(0), true));
        assert!(!outage(&[], &(ms(0)..ms(1))).ended, "nothing was seen");
    }

    #[test]
    fn a_connection_that_was_given_up_waited_until_then() {
        let mut probes = second(&[]);
        assert_eq!(longest_wait(&probes, &(ms(0)..ms(1000))), ms(1));
        probes[100].connected = None;
        assert_eq!(longest_wait(&probes, &(ms(0)..ms(1000))), GIVE_UP);
    }

    #[test]
    fn a_client_is_served_at_a_moment_if_a_probe_started_then_is_answered() {
        let probes = second(std::slice::from_ref(&(200..500)));
        assert_eq!(is_served(&probes, ms(250)), Some(false));
        assert_eq!(is_served(&probes, ms(450)), Some(true));
        assert_eq!(is_served(&probes, ms(2000)), None);
    }

    #[test]
    fn recovery_is_counted_to_the_end_of_the_last_failure() {
        let probes = second(&[200..250, 400..500]);
        assert_eq!(recovery(&probes, ms(100)), Some(ms(400)));
        assert_eq!(recovery(&probes, ms(600)), Some(ms(0)));
        assert_eq!(
            recovery(&second(std::slice::from_ref(&(900..1000))), ms(100)),
            None
        );
    }

    #[test]
    fn the_share_of_answers_is_that_within_the_window() {
        let share = answered_share(&second(std::slice::from_ref(&(0..250))), &(ms(0)..ms(500)));
        assert!((share - 0.5).abs() < 1e-9, "{share}");
    }
}
