//! Spans of time as a document writes them: `350ms`, `2s`, `10m`, `1h 30m`.
//!
//! Read and written by jiff's friendly format; whole milliseconds, never negative.

use std::time::Duration;

use jiff::SignedDuration;

/// Seconds of a day.
const DAY: u32 = 24 * 3600;

/// Reads a span; `None` when it is none, negative, or finer than a millisecond.
pub fn parse(text: &str) -> Option<Duration> {
    let span = text.parse::<SignedDuration>().ok()?;
    let span = Duration::try_from(span).ok()?;
    span.subsec_nanos()
        .is_multiple_of(1_000_000)
        .then_some(span)
}

/// Reads a span as [`parse`] does, or whole days of 24 hours: `365d`.
pub fn parse_long(text: &str) -> Option<Duration> {
    let Some(days) = text.strip_suffix('d') else {
        return parse(text);
    };
    let seconds = days.parse::<u32>().ok()?.checked_mul(DAY)?;
    Some(Duration::from_secs(seconds.into()))
}

/// A span as [`parse_long`] reads it.
pub fn show_long(span: Duration) -> String {
    let (seconds, day) = (span.as_secs(), u64::from(DAY));
    match span.subsec_nanos() == 0 && seconds > 0 && seconds.is_multiple_of(day) {
        true => format!("{}d", seconds / day),
        false => show(span),
    }
}

/// A span as [`parse`] reads it.
pub fn show(span: Duration) -> String {
    match SignedDuration::try_from(span) {
        Ok(signed) => format!("{signed:#}"),
        // Longer than any clock runs: nothing reads it back.
        Err(_) => format!("{span:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_ways_to_write_a_span_are_read() {
        for (text, ms) in [
            ("350ms", 350),
            ("2s", 2_000),
            ("1.5s", 1_500),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("0s", 0),
            ("2 seconds", 2_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "", "5", "s", "-5s", "5s ago", "1d", "5 apples", "1us", "inf", "9e99s",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_is_shown_short() {
        for (ms, text) in [
            (350, "350ms"),
            (600_000, "10m"),
            (5_400_000, "1h 30m"),
            (0, "0s"),
        ] {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_long_span_may_be_written_in_days() {
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
        assert_eq!(parse_long("365d"), days(365));
        assert_eq!(parse_long("48h"), days(2));
        for bad in ["d", "-1d", "1.5d", "99999999999d", "1w"] {
            assert_eq!(parse_long(bad), None, "{bad}");
        }
        assert_eq!(show_long(Duration::from_secs(2 * 24 * 3600)), "2d");
        assert_eq!(show_long(Duration::from_secs(3600)), "1h");
        assert_eq!(show_long(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn a_long_span_shown_and_read_is_the_same(seconds in 0..10_000_000u64) {
            let span = Duration::from_secs(seconds * 60);
            prop_assert_eq!(parse_long(&show_long(span)), Some(span));
        }

        #[test]
        fn a_span_shown_and_read_is_the_same(ms in 0..10_000_000_000u64) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(span)), Some(span));
        }
    }
}
