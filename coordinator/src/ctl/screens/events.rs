//! Events: a table of past ones, and one line for each that comes.

use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::time::Moment;
use crate::ctl::views::EventView;

/// Past events, the oldest first.
pub fn events(events: &[EventView], now: Moment, wide: bool, look: Look) -> String {
    let mut columns = vec![
        Column::kept("AGE"),
        Column::kept("EVENT"),
        Column::kept("NODE"),
        Column::dropped("BY", 1),
        Column::kept("WHAT"),
    ];
    if wide {
        columns.insert(0, Column::kept("NUMBER"));
        columns.insert(1, Column::kept("AT"));
    }
    let rows = events.iter().map(|event| {
        let mut row = vec![
            event
                .at
                .map_or_else(Cell::nothing, |at| Cell::plain(at.ago(now))),
            Cell::new(tone(&event.kind), &event.kind),
            event.node.as_ref().map_or_else(Cell::nothing, Cell::plain),
            Cell::plain(&event.actor),
            Cell::plain(&event.text),
        ];
        if wide {
            row.insert(0, Cell::plain(event.number.to_string()));
            row.insert(
                1,
                event
                    .at
                    .map_or_else(Cell::nothing, |at| Cell::plain(at.rfc3339())),
            );
        }
        row
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

/// An event as it comes: "2026-11-22T18:43:15Z node.dead node-2 ...".
pub fn event_line(event: &EventView, look: Look) -> String {
    let at = event.at.map_or("-".to_owned(), Moment::rfc3339);
    let kind = look.paint(tone(&event.kind), &clean(&event.kind));
    let node = event.node.as_deref().map_or("-".to_owned(), clean);
    let by = look.paint(Tone::Faint, &format!("({})", clean(&event.actor)));
    format!("{at} {kind} {node} {} {by}\n", clean(&event.text))
}

fn tone(kind: &str) -> Tone {
    let last = kind.rsplit('.').next().unwrap_or_default();
    match last {
        "dead" | "refused" | "failed" => Tone::Bad,
        "suspect" | "removed" | "revoked" => Tone::Doubtful,
        "alive" => Tone::Good,
        _ => Tone::Plain,
    }
}
