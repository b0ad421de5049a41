//! What is counted of the scheduled backups.

use prometheus::{IntCounter, IntGauge};

use crate::metrics::Families;

/// The families.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
pub struct BackupMetrics {
    pub last: IntGauge,
    pub every: IntGauge,
    pub bytes: IntGauge,
    pub failures: IntCounter,
}

impl BackupMetrics {
    pub(crate) fn new(register: &Families<'_>) -> Self {
        Self {
            last: register.gauge(
                "backup_last_success_timestamp_seconds",
                "When the newest scheduled backup was made, in Unix time; 0: never.",
            ),
            every: register.gauge(
                "backup_interval_seconds",
                "How often the site document asks for a backup; 0: it does not.",
            ),
            bytes: register.gauge("backup_size_bytes", "The newest scheduled backup's length."),
            failures: register.counter(
                "backup_failures_total",
                "Scheduled backups that could not be made.",
            ),
        }
    }
}
