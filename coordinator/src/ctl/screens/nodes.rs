//! The table of nodes.

use super::percent;
use crate::ctl::paint::{Cell, Column, Look, Tone, table};
use crate::ctl::time::Moment;
use crate::ctl::views::{NodeView, State};

const COLUMNS: [Column; 11] = [
    Column::kept("NAME"),
    Column::kept("ROLE"),
    Column::kept("STATE"),
    Column::dropped("SINCE", 4),
    Column::dropped("VERSION", 5),
    Column::dropped("CERT", 3),
    Column::dropped("LOAD", 7),
    Column::dropped("MEMORY", 8),
    Column::dropped("FAILED", 2),
    Column::dropped("CLOCK", 6),
    Column::dropped("SEEN BY", 1),
];

const WIDE: [Column; 5] = [
    Column::kept("SESSION"),
    Column::kept("GENERATION"),
    Column::kept("UPTIME"),
    Column::kept("KERNEL"),
    Column::kept("ADDRESSES"),
];

/// Every node, one line each.
pub fn nodes(nodes: &[NodeView], now: Moment, wide: bool, look: Look) -> String {
    let mut columns = COLUMNS.to_vec();
    let mut rows = nodes.iter().map(|node| row(node, now)).collect::<Vec<_>>();
    let mut look = look;
    if wide {
        columns.extend(WIDE);
        for (row, node) in rows.iter_mut().zip(nodes) {
            row.extend(more(node));
        }
        look.width = None;
    }
    table(&columns, &rows, look)
}

fn row(node: &NodeView, now: Moment) -> Vec<Cell> {
    let health = node.health.as_ref();
    vec![
        Cell::plain(&node.name),
        node.role.as_ref().map_or_else(Cell::nothing, Cell::plain),
        Cell::new(tone(node.state), node.state.name()),
        node.state_since
            .map_or_else(Cell::nothing, |since| Cell::plain(since.ago(now))),
        node.version
            .as_ref()
            .map_or_else(Cell::nothing, Cell::plain),
        certificate(node, now),
        health.map_or_else(Cell::nothing, |health| {
            Cell::plain(format!("{:.2}", health.load1))
        }),
        memory(node),
        failed(node),
        clock(node),
        seen(node),
    ]
}

fn more(node: &NodeView) -> Vec<Cell> {
    let health = node.health.as_ref();
    vec![
        Cell::plain(if node.session { "yes" } else { "no" }),
        node.applied
            .map_or_else(Cell::nothing, |id| Cell::plain(id.generation.to_string())),
        health.map_or_else(Cell::nothing, |health| {
            Cell::plain(crate::ctl::time::span(health.uptime_s.saturating_mul(1000)))
        }),
        node.kernel.as_ref().map_or_else(Cell::nothing, Cell::plain),
        Cell::plain(node.addresses.join(" ")),
    ]
}

/// How a state looks.
pub(super) fn tone(state: State) -> Tone {
    match state {
        State::Alive => Tone::Good,
        State::NotEnrolled => Tone::Faint,
        State::Suspect | State::Unknown => Tone::Doubtful,
        State::Dead => Tone::Bad,
    }
}

fn certificate(node: &NodeView, now: Moment) -> Cell {
    match node.certificate_expires {
        None => Cell::nothing(),
        Some(expires) if expires.0 <= now.0 => Cell::new(Tone::Bad, expires.left(now)),
        Some(expires) => Cell::plain(expires.left(now)),
    }
}

/// The share in use.
fn memory(node: &NodeView) -> Cell {
    let used = node.health.as_ref().and_then(|health| {
        let used = health
            .memory_total_bytes
            .saturating_sub(health.memory_available_bytes);
        percent(used, health.memory_total_bytes)
    });
    used.map_or_else(Cell::nothing, Cell::plain)
}

fn failed(node: &NodeView) -> Cell {
    match &node.health {
        None => Cell::nothing(),
        Some(health) if health.units_unknown.is_some() => Cell::new(Tone::Doubtful, "?"),
        Some(health) if health.failed_units.is_empty() => Cell::plain("0"),
        Some(health) => Cell::new(Tone::Bad, health.failed_units.len().to_string()),
    }
}

fn clock(node: &NodeView) -> Cell {
    let offset = node
        .health
        .as_ref()
        .and_then(|health| health.clock_offset_ms);
    offset.map_or_else(Cell::nothing, |offset| Cell::plain(format!("{offset:+}ms")))
}

fn seen(node: &NodeView) -> Cell {
    if node.seen_of == 0 {
        return Cell::nothing();
    }
    let tone = if node.seen_by == node.seen_of {
        Tone::Plain
    } else {
        Tone::Doubtful
    };
    Cell::new(tone, format!("{}/{}", node.seen_by, node.seen_of))
}
