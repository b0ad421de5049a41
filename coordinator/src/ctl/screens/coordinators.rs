//! The coordinators, and which of them leads.

use crate::ctl::paint::{Cell, Column, Look, Tone, table};
use crate::ctl::time::Moment;
use crate::ctl::views::PartView;

/// Every coordinator.
pub fn coordinators(parts: &[PartView], now: Moment, look: Look) -> String {
    let columns = [
        Column::kept("NODE"),
        Column::kept("PART"),
        Column::kept("LEADS"),
        Column::dropped("API", 1),
        Column::dropped("AGE", 2),
        Column::dropped("BY", 3),
    ];
    let rows = parts.iter().map(|part| {
        let tone = match part.part {
            "member" => Tone::Good,
            _ => Tone::Doubtful,
        };
        vec![
            Cell::plain(&part.node),
            Cell::new(tone, part.part),
            match part.leads {
                true => Cell::new(Tone::Strong, "yes"),
                false => Cell::nothing(),
            },
            part.api.as_ref().map_or_else(Cell::nothing, Cell::plain),
            part.added
                .map_or_else(Cell::nothing, |at| Cell::plain(at.ago(now))),
            Cell::plain(&part.added_by),
        ]
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

/// "control-1 (leads), control-2, control-3 (joining)"
pub(super) fn in_one_line(parts: &[PartView], look: Look) -> String {
    let one = |part: &PartView| {
        let node = crate::ctl::paint::clean(&part.node);
        match (part.leads, part.part) {
            (true, _) => look.paint(Tone::Strong, &format!("{node} (leads)")),
            (false, "member") => node,
            (false, other) => look.paint(Tone::Doubtful, &format!("{node} ({other})")),
        }
    };
    parts.iter().map(one).collect::<Vec<_>>().join(", ")
}
