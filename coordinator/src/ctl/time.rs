//! Times and spans for people and for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// A moment, in Unix milliseconds. Serialised as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// The wire says 0 where there is no such moment.
    pub fn of(unix_ms: u64) -> Option<Moment> {
        (unix_ms > 0).then_some(Moment(unix_ms))
    }

    /// The wall clock, for display only.
    pub fn now() -> Moment {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// "2026-11-22T18:43:15Z"
    pub fn rfc3339(self) -> String {
        let milliseconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(milliseconds) {
            Ok(timestamp) => timestamp.to_string(),
            // Beyond the year 9999: no certificate or event is, but a peer may say anything.
            Err(_) => jiff::Timestamp::MAX.to_string(),
        }
    }

    /// How long ago: "3s", "2d"; "0s" if it has not come yet.
    pub fn ago(self, now: Moment) -> String {
        span(now.0.saturating_sub(self.0))
    }

    /// How long until then: "6d"; "expired" if it is past.
    pub fn left(self, now: Moment) -> String {
        if self.0 <= now.0 {
            "expired".to_owned()
        } else {
            span(self.0 - now.0)
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A span in one unit, the largest that leaves at least two of it.
pub fn span(milliseconds: u64) -> String {
    let units = [(YEAR, 'y'), (DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm')];
    let fitting = units.into_iter().find(|(unit, _)| milliseconds >= 2 * unit);
    let (unit, letter) = fitting.unwrap_or((SECOND, 's'));
    format!("{}{letter}", milliseconds / unit)
}

/// Why a text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number and a unit: 90s, 30m, 12h, 7d")]
pub struct BadSpan;

/// Reads "90s", "30m", "12h" or "7d".
pub fn parse_span(text: &str) -> Result<Duration, BadSpan> {
    let letter = text.chars().last().ok_or(BadSpan)?;
    let unit = match letter {
        's' => SECOND,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        _ => return Err(BadSpan),
    };
    let number = text[..text.len() - 1].parse::<u64>().map_err(|_| BadSpan)?;
    let milliseconds = number
        .checked_mul(unit)
        .filter(|span| *span > 0)
        .ok_or(BadSpan)?;
    Ok(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_unit_that_is_not_too_coarse() {
        for (milliseconds, told) in [
            (0, "0s"),
            (999, "0s"),
            (119_000, "119s"),
            (2 * MINUTE, "2m"),
            (119 * MINUTE, "119m"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (729 * DAY, "729d"),
            (10 * YEAR, "10y"),
        ] {
            assert_eq!(span(milliseconds), told);
        }
    }

    #[test]
    fn spans_are_read_with_their_unit_and_nothing_else_is() {
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_span("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(604_800)));
        for bad in [
            "",
            "h",
            "1",
            "0s",
            "-1h",
            "1.5h",
            "1 h",
            "1w",
            "99999999999999999d",
            "1ä",
        ] {
            assert_eq!(parse_span(bad), Err(BadSpan), "{bad}");
        }
    }

    #[test]
    fn moments_are_rfc_3339_in_utc_and_relative_to_now() {
        let moment = Moment(1_795_372_995_000);
        assert_eq!(moment.rfc3339(), "2026-11-22T18:43:15Z");
        assert_eq!(moment.ago(Moment(moment.0 + 3000)), "3s");
        assert_eq!(moment.ago(Moment(0)), "0s");
        assert_eq!(moment.left(Moment(moment.0 - 3 * DAY)), "3d");
        assert_eq!(moment.left(moment), "expired");
        assert_eq!(Moment::of(0), None);
        assert!(Moment(u64::MAX).rfc3339().starts_with("9999-12-3"));
    }
}
