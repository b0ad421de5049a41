//! Asks the store how it is, and says so when that changes.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

/// How often the store is asked.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the gauge current. Runs for ever.
pub(super) async fn watch(core: Arc<Core>) {
    let mut healthy = true;
    loop {
        let problem = match core.ledger.store().health().await {
            Ok(health) if health.alarms.is_empty() => None,
            Ok(health) => Some(health.alarms.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        core.metrics.store_healthy.set(i64::from(problem.is_none()));
        match (&problem, healthy) {
            (Some(problem), true) => tracing::error!(problem, "the store is not healthy"),
            (None, false) => tracing::info!("the store is healthy again"),
            (Some(_), false) | (None, true) => {}
        }
        healthy = problem.is_none();
        tokio::time::sleep(EVERY).await;
    }
}
