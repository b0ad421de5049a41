//! The databases on one screen, and what was planned and done with them.

use super::size;
use super::status::wrong;
use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::views::{
    DatabaseMemberView, DatabasePartView as Part, DatabaseView, ReinitView, RestartedView,
    SwitchoverView,
};
use crate::databases::plan::is_up;

const COLUMNS: [Column; 7] = [
    Column::kept("NODE"),
    Column::kept("ROLE"),
    Column::kept("STATE"),
    Column::kept("LAG"),
    Column::dropped("TIMELINE", 2),
    Column::dropped("RESTART", 1),
    Column::kept("ETCD"),
];

const WIDE: [Column; 2] = [Column::kept("POSTGRESQL"), Column::kept("STARTED")];

/// Everything about them.
pub fn databases(view: &DatabaseView, wide: bool, look: Look) -> String {
    let mut columns = COLUMNS.to_vec();
    let mut rows: Vec<_> = view.members.iter().map(row).collect();
    let mut look = look;
    if wide {
        columns.extend(WIDE);
        for (row, member) in rows.iter_mut().zip(&view.members) {
            row.extend([told(member.version.as_ref()), told(member.started.as_ref())]);
        }
        look.width = None;
    }
    let table = table(&columns, &rows, look);
    let wrong = wrong(&view.problems, look);
    format!("{}\n\n{table}\n{wrong}", head(view, look))
}

/// "database-1 leads   synchronous standby: database-2"
fn head(view: &DatabaseView, look: Look) -> String {
    let leads = match (&view.leader, &view.seen_by) {
        (Some(leader), _) => {
            let leader = look.paint(Tone::Strong, &clean(leader));
            format!("{leader} leads")
        }
        (None, Some(_)) => look.paint(Tone::Bad, "nobody leads"),
        (None, None) => look.paint(Tone::Bad, "who leads is not known"),
    };
    let mut parts = vec![leads];
    if !view.sync_standbys.is_empty() {
        let names = clean(&view.sync_standbys.join(", "));
        parts.push(format!("synchronous standby: {names}"));
    }
    let durability = match view.zero_loss {
        true => "no acknowledged commit may be lost",
        false => "the newest commits may be lost with the leader",
    };
    parts.push(durability.to_owned());
    if view.paused {
        parts.push(look.paint(Tone::Doubtful, "paused"));
    }
    parts.join("   ")
}

fn row(member: &DatabaseMemberView) -> Vec<Cell> {
    let state = member.state.as_ref().map_or_else(Cell::nothing, |state| {
        let tone = match is_up(state) {
            true => Tone::Good,
            false => Tone::Doubtful,
        };
        Cell::new(tone, state)
    });
    let etcd = match member.etcd_healthy {
        Some(true) => Cell::new(Tone::Good, "healthy"),
        Some(false) => Cell::new(Tone::Bad, "not healthy"),
        None => Cell::nothing(),
    };
    let part = match (member.role, &member.problem) {
        (Some(Part::Leader), _) => Cell::new(Tone::Strong, Part::Leader.name()),
        (Some(part), _) => Cell::plain(part.name()),
        (None, Some(_)) => Cell::new(Tone::Bad, "not known"),
        (None, None) => Cell::nothing(),
    };
    let restart = match member.pending_restart {
        true => Cell::new(Tone::Doubtful, "pending"),
        false => Cell::nothing(),
    };
    vec![
        Cell::plain(&member.node),
        part,
        state,
        told(member.lag_bytes.map(size)),
        told(member.timeline.map(|it| it.to_string())),
        restart,
        etcd,
    ]
}

fn told(text: Option<impl Into<String>>) -> Cell {
    text.map_or_else(Cell::nothing, Cell::plain)
}

/// What a switchover would do.
pub fn switchover_plan(view: &SwitchoverView) -> String {
    let (from, to) = (clean(&view.from), clean(&view.to));
    let lag = match view.lag_bytes {
        Some(bytes) => format!("{} behind", size(bytes)),
        None => "how far behind is not known".to_owned(),
    };
    let what = match view.synchronous {
        true => "the synchronous standby: it has each acknowledged commit",
        false => "a replica: PostgreSQL there gets the rest before it leads",
    };
    format!("{from} leads, and hands over to {to} ({what}; {lag})\n")
}

/// What came of it.
pub fn switched_over(view: &SwitchoverView) -> String {
    let leader = clean(view.leader.as_deref().unwrap_or_default());
    let took = seconds(view.took_ms.unwrap_or_default());
    let instead = match leader == view.to {
        true => String::new(),
        false => format!(" instead of {}", clean(&view.to)),
    };
    format!("{leader} leads{instead}, and took writes after {took}\n")
}

/// A restart that is over.
pub fn database_restarted(view: &RestartedView) -> String {
    let took = seconds(view.took_ms);
    format!(
        "PostgreSQL on {} runs again, after {took}\n",
        clean(&view.node)
    )
}

/// How far a copy is.
pub fn reinit(view: &ReinitView) -> String {
    let node = clean(&view.node);
    match (view.done, &view.state) {
        (true, _) => format!("{node} follows again\n"),
        (false, Some(state)) => format!("  {node}: {}\n", clean(state)),
        (false, None) => format!("  {node}: nothing is known at present\n"),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
