//! The table of nodes.

use super::percent;
use crate::ctl::paint::{Cell, Column, Look, Tone, table};
use crate::ctl::time::Moment;
use crate::ctl::views::{HealthView, NodeView, State};

const COLUMNS: [Column; 12] = [
    Column::kept("NAME"),
    Column::kept("ROLE"),
    Column::kept("STATE"),
    Column::dropped("ROLE IS", 4),
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
    let health = current(node);
    vec![
        Cell::plain(&node.name),
        node.role.as_ref().map_or_else(Cell::nothing, Cell::plain),
        Cell::new(tone(node.state), node.state.name()),
        node.role_state.as_ref().map_or_else(Cell::nothing, |it| {
            Cell::new(super::roles::tone(it.place), it.place.name())
        }),
        node.state_since
            .map_or_else(Cell::nothing, |since| Cell::plain(since.ago(now))),
        node.version
            .as_ref()
            .map_or_else(Cell::nothing, Cell::plain),
        certificate(node, now),
        health.map_or_else(Cell::nothing, |health| {
            Cell::plain(format!("{:.2}", health.load1))
        }),
        health
            .and_then(memory)
            .map_or_else(Cell::nothing, Cell::plain),
        health.map_or_else(Cell::nothing, failed),
        health.map_or_else(Cell::nothing, clock),
        seen(node),
    ]
}

/// How the node is; what a dead one said last is no news.
fn current(node: &NodeView) -> Option<&HealthView> {
    match node.state {
        State::Alive | State::Suspect => node.health.as_ref(),
        State::Dead | State::Unknown | State::NotEnrolled => None,
    }
}

fn more(node: &NodeView) -> Vec<Cell> {
    let health = current(node);
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
fn memory(health: &HealthView) -> Option<String> {
    let used = health
        .memory_total_bytes
        .saturating_sub(health.memory_available_bytes);
    percent(used, health.memory_total_bytes)
}

fn failed(health: &HealthView) -> Cell {
    match health.failed_units.len() {
        _ if health.units_unknown.is_some() => Cell::new(Tone::Doubtful, "?"),
        0 => Cell::plain("0"),
        count => Cell::new(Tone::Bad, count.to_string()),
    }
}

fn clock(health: &HealthView) -> Cell {
    let offset = health.clock_offset_ms;
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
