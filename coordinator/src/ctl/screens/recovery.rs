//! A recovery: who was heard, who is missing, and what the site would become.

use std::fmt::Write as _;

use super::plan::steps;
use crate::ctl::failure::plural;
use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::views::{RecoveryNodeView, RecoveryPlanView, RecoveryView};

/// The screen.
pub fn recovery(view: &RecoveryView, look: Look) -> String {
    let heard = view.nodes.iter().filter(|node| node.part == "heard");
    let mut text = format!(
        "{} recovers site {} from what its nodes hold: {} heard, {} missing.\n\n",
        clean(&view.coordinator),
        clean(&view.site),
        heard.count(),
        view.nodes.iter().filter(|it| it.part == "missing").count(),
    );
    text += &nodes(&view.nodes, look);
    match &view.plan {
        Some(plan) => text += &planned(plan, look),
        None => {
            text += "\nIt cannot be finished like this:\n";
            for obstacle in &view.obstacles {
                let _ = writeln!(text, "- {}", look.paint(Tone::Bad, &clean(obstacle)));
            }
        }
    }
    text
}

fn nodes(nodes: &[RecoveryNodeView], look: Look) -> String {
    let columns = [
        Column::kept("NODE"),
        Column::kept("PART"),
        Column::dropped("FOLLOWS", 2),
        Column::dropped("VERSION", 3),
        Column::dropped("HOLDS", 1),
        Column::kept("WHY"),
    ];
    let rows = nodes.iter().map(|node| {
        let tone = match node.part {
            "heard" => Tone::Good,
            "missing" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let follows = node.applied;
        let follows = follows.map(|id| format!("{}.{}", id.incarnation, id.generation));
        vec![
            Cell::plain(&node.node),
            Cell::new(tone, node.part),
            follows.map_or_else(Cell::nothing, Cell::plain),
            node.version
                .as_ref()
                .map_or_else(Cell::nothing, Cell::plain),
            Cell::plain(node.holds.join(", ")),
            node.reason.as_ref().map_or_else(Cell::nothing, Cell::plain),
        ]
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

fn planned(plan: &RecoveryPlanView, look: Look) -> String {
    let (count, id) = (plan.nodes.len(), plan.desired);
    let id = id.map_or("unknown".to_owned(), |id| {
        format!(
            "incarnation {}, generation {}",
            id.incarnation, id.generation
        )
    });
    let from = match plan.document_from.as_str() {
        "agents" => "put together from what the nodes hold",
        "backup" => "the backup's, which no node is ahead of",
        "operator" => "the one that you gave",
        other => other,
    };
    let mut text = format!(
        "\nThe site becomes {id}, with {count} enrolled node{}. Its document is {from}.\n",
        plural(count)
    );
    for claim in &plan.claims {
        let holders = match claim.holders.as_slice() {
            [] => look.paint(Tone::Doubtful, "nobody says that it holds it"),
            [holder] => format!("stays with {}", clean(holder)),
            several => {
                let names = clean(&several.join(" and "));
                look.paint(Tone::Bad, &format!("{names} say that they hold it"))
            }
        };
        let (name, addresses) = (clean(&claim.claim), clean(&claim.addresses.join(", ")));
        let group = match claim.group_version {
            0 => "a new group".to_owned(),
            version => format!("group v{version}: {}", clean(&claim.group.join(", "))),
        };
        let _ = writeln!(text, "{name} ({addresses}): {holders}; {group}");
        if !claim.awaits.is_empty() {
            let awaits = clean(&claim.awaits.join(", "));
            let told = format!(
                "  it waits until {awaits} is heard, or `coordctl claim confirm-fenced` says that \
                 it is off"
            );
            let _ = writeln!(text, "{}", look.paint(Tone::Doubtful, &told));
        }
    }
    for (heading, changes) in [
        ("Beside the backup's document:", &plan.since_backup),
        (
            "What your document changes of what the nodes hold:",
            &plan.changes,
        ),
    ] {
        if !changes.is_empty() {
            let _ = write!(text, "{heading}\n{}", steps(changes, look));
        }
    }
    for note in &plan.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    text
}
