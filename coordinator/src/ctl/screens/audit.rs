//! The audit trail: a table of calls, and below each that was not done what its caller was told.

use crate::ctl::paint::{Cell, Column, Look, Tone, table};
use crate::ctl::time::Moment;
use crate::ctl::views::{AuditView, CallResult};

/// Calls, the oldest first.
pub fn audit(trail: &[AuditView], now: Moment, wide: bool, look: Look) -> String {
    let mut columns = vec![
        Column::kept("AGE"),
        Column::kept("BY"),
        Column::kept("CALL"),
        Column::kept("RESULT"),
        Column::kept("WHAT"),
    ];
    if wide {
        columns.insert(0, Column::kept("NUMBER"));
        columns.insert(1, Column::kept("AT"));
        columns.insert(4, Column::kept("CERTIFICATE"));
    }
    let rows = trail.iter().map(|entry| {
        let moment = |shown: fn(Moment, Moment) -> String| {
            let shown = entry.at.map(|at| shown(at, now));
            shown.map_or_else(Cell::nothing, Cell::plain)
        };
        let mut row = vec![
            moment(|at, now| at.ago(now)),
            Cell::plain(&entry.actor),
            Cell::plain(&entry.call),
            Cell::new(tone(entry.result), entry.result.name()),
            Cell::plain(what(entry)),
        ];
        if wide {
            row.insert(0, Cell::plain(entry.number.to_string()));
            row.insert(1, moment(|at, _| at.rfc3339()));
            row.insert(4, Cell::plain(&entry.certificate));
        }
        row
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

fn what(entry: &AuditView) -> String {
    match &entry.told {
        Some(told) => format!("{}: {told}", entry.request),
        None => entry.request.clone(),
    }
}

fn tone(result: CallResult) -> Tone {
    match result {
        CallResult::Done => Tone::Good,
        CallResult::Refused => Tone::Bad,
        CallResult::Unknown => Tone::Doubtful,
    }
}
