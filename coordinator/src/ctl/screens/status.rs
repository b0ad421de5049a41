//! The one screen that shows the whole site: who answers, every node, what is wrong, what happened.

use std::fmt::Write as _;

use super::coordinators::in_one_line;
use super::{claims, events, nodes, size};
use crate::ctl::failure::plural;
use crate::ctl::paint::{Look, Tone, clean};
use crate::ctl::time::Moment;
use crate::ctl::views::{Problem, Severity, State, StatusView};

/// The screen.
pub fn status(status: &StatusView, now: Moment, wide: bool, look: Look) -> String {
    let mut text = head(status, now, look);
    text.push('\n');
    text.push_str(&nodes(&status.nodes, now, wide, look));
    if !status.claims.is_empty() {
        text.push('\n');
        text.push_str(&claims(&status.claims, now, wide, look));
    }
    text.push('\n');
    text.push_str(&wrong(&status.problems, look));
    if !status.last_events.is_empty() {
        let _ = writeln!(text, "\n{}", look.paint(Tone::Strong, "last events"));
        text.push_str(&events(&status.last_events, now, wide, look));
    }
    text
}

fn head(status: &StatusView, now: Moment, look: Look) -> String {
    let mut text = String::new();
    let generation = status
        .desired
        .map_or("none".to_owned(), |id| id.generation.to_string());
    let _ = writeln!(
        text,
        "site {}   coordinator {} ({})   generation {generation}   epoch {}",
        look.paint(Tone::Strong, &clean(&status.site)),
        clean(&status.coordinator.node),
        clean(&status.coordinator.version),
        status.epoch,
    );
    if status.coordinators.len() > 1 {
        let all = in_one_line(&status.coordinators, look);
        let _ = writeln!(text, "coordinators {all}");
    }
    let ca = status
        .ca_expires
        .map_or("unknown".to_owned(), |at| match at.left(now).as_str() {
            "expired" => look.paint(Tone::Bad, "expired"),
            left => format!("expires in {left}"),
        });
    let _ = writeln!(
        text,
        "store {}   key ring {}   CA {ca}",
        store(status, look),
        status.key_ring_version
    );
    let _ = writeln!(text, "{}", census(status, look));
    text
}

fn store(status: &StatusView, look: Look) -> String {
    let store = &status.store;
    if !store.healthy {
        return look.paint(Tone::Bad, "does not work");
    }
    let members = store.members;
    format!(
        "{} (etcd {}, {members} member{}, {})",
        look.paint(Tone::Good, "ok"),
        clean(&store.version),
        if members == 1 { "" } else { "s" },
        size(store.size_bytes),
    )
}

/// "13 nodes: 12 alive, 1 dead"
fn census(status: &StatusView, look: Look) -> String {
    let states = [
        State::Alive,
        State::Suspect,
        State::Dead,
        State::Unknown,
        State::NotEnrolled,
    ];
    let counts = states.into_iter().filter_map(|state| {
        let count = status
            .nodes
            .iter()
            .filter(|node| node.state == state)
            .count();
        let told = format!("{count} {}", state.name().replace('-', " "));
        (count > 0).then(|| look.paint(nodes::tone(state), &told))
    });
    let count = status.nodes.len();
    let counts = counts.collect::<Vec<_>>().join(", ");
    format!(
        "{count} node{}: {}",
        plural(count),
        if counts.is_empty() { "none" } else { &counts }
    )
}

/// What is wrong, and what to do about it.
pub(super) fn wrong(problems: &[Problem], look: Look) -> String {
    if problems.is_empty() {
        return format!("{}\n", look.paint(Tone::Good, "nothing is wrong"));
    }
    let mut text = format!("{}\n", look.paint(Tone::Strong, "what is wrong"));
    for problem in problems {
        let tone = match problem.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Doubtful,
            Severity::Notice => Tone::Plain,
        };
        let subject = look.paint(tone, &clean(&problem.subject));
        let _ = writeln!(text, "  {subject}: {}", clean(&problem.text));
        let next = format!("    next: {}", clean(&problem.next));
        let _ = writeln!(text, "{}", look.paint(Tone::Faint, &next));
    }
    text
}
