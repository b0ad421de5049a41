//! Until when this node leads the databases, for those that are not the holder's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hamesh_claims::Moment;
use hamesh_kernel::fence::Written;

/// Written where the fence is, and nowhere else. Cheap to clone: all are one.
#[derive(Clone, Debug, Default)]
pub struct DatabaseLease(Arc<AtomicU64>);

impl DatabaseLease {
    /// What a write to the fence came to.
    pub(super) fn leads(&self, written: Option<&Written>, until: Moment) {
        let nanos = match written {
            Some(Written::Live) => until.nanos(),
            Some(Written::Lapsed | Written::TooLate) | None => 0,
        };
        self.0.store(nanos, Ordering::Release);
    }

    /// Until when the fence is open, by the monotonic clock.
    pub fn until(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::Acquire))
    }
}
