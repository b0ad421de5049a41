//! Spans of time as a document writes them: `350ms`, `2s`, `10m`, `1h 30m`.
//!
//! Read and written by jiff's friendly format; whole milliseconds, never negative.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads a span; `None` when it is none, negative, or finer than a millisecond.
pub fn parse(text: &str) -> Option<Duration> {
    let span = text.parse::<SignedDuration>().ok()?;
    let span = Duration::try_from(span).ok()?;
    span.subsec_nanos()
        .is_multiple_of(1_000_000)
        .then_some(span)
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

    proptest! {
        #[test]
        fn a_span_shown_and_read_is_the_same(ms in 0..10_000_000_000u64) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(span)), Some(span));
        }
    }
}
