//! Everything about one node.

use std::fmt::Write as _;

use super::{percent, size};
use crate::ctl::paint::{Look, Tone, clean};
use crate::ctl::time::{Moment, span};
use crate::ctl::views::{HealthView, NodeView, Problem, StatusView};

/// Width of the names on the left.
const LEFT: usize = 14;

/// The screen of one node of `status`.
pub fn node(node: &NodeView, status: &StatusView, now: Moment, look: Look) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let value = if value.is_empty() { "-" } else { &value };
        let _ = writeln!(text, "{name:LEFT$}{value}");
    };
    line("node", look.paint(Tone::Strong, &clean(&node.name)));
    line(
        "role",
        node.role.as_deref().map_or("none".to_owned(), clean),
    );
    if let Some(state) = &node.role_state {
        super::roles::lines(state, now, look, &mut line);
    }
    presence(node, now, look, &mut line);
    line("generation", generation(node, status));
    line("certificate", certificate(node, now, look));
    if let Some(until) = node.re_enrol_open_until.filter(|until| until.0 > now.0) {
        line("re-enrolment", format!("open for {}", until.left(now)));
    }
    line(
        "agent",
        node.version.as_deref().map_or("unknown".to_owned(), clean),
    );
    line(
        "kernel",
        node.kernel.as_deref().map_or("unknown".to_owned(), clean),
    );
    if let Some(started) = node.agent_started {
        line("started", format!("{} ago", started.ago(now)));
    }
    if let Some(told) = node.database {
        line("database", told.to_owned());
    }
    if let Some(told) = &node.health {
        health(told, &mut line);
    }
    for interface in &node.interfaces {
        let up = if interface.up { "up" } else { "down" };
        let addresses = interface.addresses.join(" ");
        line(
            "interface",
            clean(&format!(
                "{} {up} {} {addresses}",
                interface.name, interface.mac
            )),
        );
    }
    text.push_str(&wrong(&node.name, &status.problems, look));
    text
}

fn presence(node: &NodeView, now: Moment, look: Look, line: &mut impl FnMut(&str, String)) {
    let state = look.paint(super::nodes::tone(node.state), node.state.name());
    let since = node
        .state_since
        .map(|since| format!(" for {}", since.ago(now)));
    line("state", format!("{state}{}", since.unwrap_or_default()));
    line("why", clean(&node.reason));
    line(
        "session",
        if node.session { "open" } else { "none" }.to_owned(),
    );
    line(
        "seen by",
        format!("{} of {} members", node.seen_by, node.seen_of),
    );
    line("addresses", clean(&node.addresses.join(", ")));
}

fn generation(node: &NodeView, status: &StatusView) -> String {
    match (node.applied, status.desired) {
        (None, _) => "none".to_owned(),
        (Some(applied), Some(desired)) if applied != desired => {
            format!(
                "{}, the site is at {}",
                applied.generation, desired.generation
            )
        }
        (Some(applied), _) => applied.generation.to_string(),
    }
}

fn certificate(node: &NodeView, now: Moment, look: Look) -> String {
    match node.certificate_expires {
        None => "none".to_owned(),
        Some(at) if at.0 <= now.0 => look.paint(Tone::Bad, &format!("expired at {}", at.rfc3339())),
        Some(at) => format!("expires in {} ({})", at.left(now), at.rfc3339()),
    }
}

fn health(health: &HealthView, line: &mut impl FnMut(&str, String)) {
    line(
        "load",
        format!("{:.2} on {} processors", health.load1, health.cpus),
    );
    let used = health
        .memory_total_bytes
        .saturating_sub(health.memory_available_bytes);
    let share = percent(used, health.memory_total_bytes).unwrap_or_default();
    line(
        "memory",
        format!("{share} of {} used", size(health.memory_total_bytes)),
    );
    for disk in &health.disks {
        let used = disk.total_bytes.saturating_sub(disk.available_bytes);
        let share = percent(used, disk.total_bytes).unwrap_or_default();
        let total = size(disk.total_bytes);
        line(
            "disk",
            format!("{}: {share} of {total} used", clean(&disk.mount)),
        );
    }
    let units = match (&health.units_unknown, health.failed_units.as_slice()) {
        (Some(why), _) => format!("unknown: {}", clean(why)),
        (None, []) => "none".to_owned(),
        (None, failed) => clean(&failed.join(", ")),
    };
    line("failed units", units);
    line(
        "clock",
        match health.clock_offset_ms {
            Some(offset) => format!("{offset:+} ms of {} peers'", health.clock_peers),
            None => "not compared".to_owned(),
        },
    );
    line("up", span(health.uptime_s.saturating_mul(1000)));
}

fn wrong(name: &str, problems: &[Problem], look: Look) -> String {
    let mut text = String::new();
    for problem in problems.iter().filter(|problem| problem.subject == name) {
        let _ = writeln!(
            text,
            "{:LEFT$}{}",
            "wrong",
            look.paint(Tone::Bad, &clean(&problem.text))
        );
        let _ = writeln!(text, "{:LEFT$}{}", "next", clean(&problem.next));
    }
    text
}
