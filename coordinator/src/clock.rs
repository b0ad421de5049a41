//! The wall clock, as a value: it stamps records and judges certificates and tokens, and a test
//! can move it. Nothing between two machines is decided by comparing it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// How long the wall clock is trusted: it may be set, and the machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A clock that can be set ahead of the system's.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds ahead of the system's clock.
    ahead_ms: watch::Sender<u64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Moves this clock and all its clones forward.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms
            .send_modify(|ahead_ms| *ahead_ms += milliseconds(by));
    }

    /// Now.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_millis(*self.ahead_ms.borrow())
    }

    /// Now, in Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        unix_ms(self.now())
    }

    /// Resolves when the time is later than `unix_ms`.
    pub async fn passed(&self, unix_ms: u64) {
        let mut ahead = self.ahead_ms.subscribe();
        loop {
            let now_unix_ms = self.unix_ms();
            if now_unix_ms > unix_ms {
                return;
            }
            let left = Duration::from_millis((unix_ms - now_unix_ms).saturating_add(1));
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK_EVERY)) => {}
                // The sender is this very clock.
                _ = ahead.changed() => {}
            }
        }
    }
}

/// A time in Unix milliseconds; before 1970 is 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// A duration in whole milliseconds, at most `u64::MAX`.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
