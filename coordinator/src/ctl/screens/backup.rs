//! A backup that was found sound: what a restore from it would bring back.

use std::fmt::Write as _;

use super::size;
use crate::ctl::failure::plural;
use crate::ctl::paint::{Look, Tone, clean};
use crate::ctl::time::Moment;
use crate::ctl::views::BackupView;

/// The screen.
pub fn backup(view: &BackupView, now: Moment, look: Look) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}  {value}");
    };
    let sound = look.paint(Tone::Good, "whole and sound");
    line(
        "backup",
        format!("{} ({}), {sound}", clean(&view.file), size(view.bytes)),
    );
    line("site", clean(&view.site));
    let made = view.made.map_or("unknown".to_owned(), |at| {
        format!("{} ({} ago)", at.rfc3339(), at.ago(now))
    });
    let (by, version) = (clean(&view.coordinator), clean(&view.version));
    line("made", format!("{made} by {by}, version {version}"));
    line(
        "state",
        format!(
            "incarnation {}, generation {}, epoch {}, revision {}, {} records",
            view.desired.incarnation,
            view.desired.generation,
            view.epoch,
            view.revision,
            view.records
        ),
    );
    let (nodes, enrolled) = (view.nodes, view.enrolled.len());
    line(
        "nodes",
        format!("{nodes} node{}, {enrolled} enrolled", plural(nodes)),
    );
    let operators = view.operators.iter().map(|it| {
        format!(
            "{}{}",
            clean(&it.name),
            if it.admin { " (admin)" } else { "" }
        )
    });
    line("operators", operators.collect::<Vec<_>>().join(", "));
    let expires = view
        .ca_expires
        .map_or("unknown".to_owned(), |at| at.left(now));
    line(
        "CA",
        format!("{}, expires in {expires}", clean(&view.ca_fingerprint)),
    );
    text
}
