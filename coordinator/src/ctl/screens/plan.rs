//! A plan, and how far a key rotation is.

use super::node_plans;
use crate::ctl::failure::plural;
use crate::ctl::paint::{Look, Tone, clean};
use crate::ctl::views::{PlanView, RotationView, StepView};

/// The steps, one line each, and their number.
pub fn plan(plan: &PlanView, look: Look) -> String {
    if plan.steps.is_empty() && plan.nodes.is_empty() {
        return "Nothing would change: the site is as wanted already.\n".to_owned();
    }
    let text = steps(&plan.steps, look) + &node_plans(&plan.nodes, look);
    let count = plan.steps.len();
    let base = plan.base.map_or("no site".to_owned(), |id| {
        format!("generation {}", id.generation)
    });
    text + &format!("{count} change{} to {base}.\n", plural(count))
}

/// One line each.
pub(super) fn steps(steps: &[StepView], look: Look) -> String {
    let mut text = String::new();
    for step in steps {
        let (sign, tone) = match step.verb.as_str() {
            "add" => ("+", Tone::Good),
            "remove" => ("-", Tone::Bad),
            _ => ("~", Tone::Doubtful),
        };
        let what = look.paint(
            tone,
            &format!("{sign} {} {}", step.verb, clean(&step.subject)),
        );
        text.push_str(&format!("{what}: {}\n", clean(&step.detail)));
    }
    text
}

/// One line of progress.
pub fn rotation(progress: &RotationView) -> String {
    let what = match progress.phase.as_str() {
        "distribute" => "every node gets the new key",
        "switch" => "every node seals with the new key",
        "retire" => "every node forgets the old key",
        other => other,
    };
    let waiting = match progress.waiting_for.as_slice() {
        [] => String::new(),
        nodes => format!(", waiting for {}", nodes.join(", ")),
    };
    let end = if progress.done {
        "\nThe gossip key is another one."
    } else {
        ""
    };
    let RotationView {
        acknowledged,
        expected,
        ..
    } = progress;
    clean_lines(&format!(
        "{what}: {acknowledged} of {expected}{waiting}{end}"
    ))
}

fn clean_lines(text: &str) -> String {
    text.lines().map(|line| clean(line) + "\n").collect()
}
