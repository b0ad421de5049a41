//! Wall-clock time as it is stored and shown: Unix milliseconds.
//!
//! Certificates are the one thing that is decided by the wall clock; leases and liveness never are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `time` in Unix milliseconds; 0 for anything before 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whole seconds since 1970; 0 for anything before.
pub(crate) fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
