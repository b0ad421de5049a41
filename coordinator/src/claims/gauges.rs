//! Keeps the metrics of claims current: once a second, because the grantors must be asked.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use crate::core::Core;

/// How old a gauge of a claim may be.
const EVERY: Duration = Duration::from_secs(1);

/// Runs for ever.
pub async fn keep(core: Arc<Core>) {
    loop {
        show(&core, &Board::of(&core, &core.world()).await);
        tokio::time::sleep(EVERY).await;
    }
}

fn show(core: &Core, board: &Board) {
    let metrics = &core.metrics.claims;
    metrics.looked_after.set(i64::from(board.looked_after()));
    if !board.looked_after() {
        return;
    }
    // Claims and holders come and go: what is not so any more must not be shown for ever.
    metrics.holder.reset();
    metrics.held.reset();
    metrics.remaining.reset();
    metrics.paused.reset();
    metrics.awaited.reset();
    for status in board.statuses() {
        let claim = [status.claim.as_str()];
        let held = !status.holder.is_empty();
        metrics.held.with_label_values(&claim).set(i64::from(held));
        if held {
            let holder = [status.claim.as_str(), status.holder.as_str()];
            metrics.holder.with_label_values(&holder).set(1);
        }
        let remaining = Duration::from_millis(status.remaining_ms).as_secs_f64();
        metrics.remaining.with_label_values(&claim).set(remaining);
        metrics
            .paused
            .with_label_values(&claim)
            .set(i64::from(status.paused));
        let awaited = i64::try_from(status.awaited.len()).unwrap_or(i64::MAX);
        metrics.awaited.with_label_values(&claim).set(awaited);
    }
}
