//! How nodes are with their roles, what a plan means on them, and the secrets of roles.

use std::fmt::Write as _;

use hamesh_roles::adoption::Stage;

use crate::ctl::failure::plural;
use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::time::{Moment, span};
use crate::ctl::views::{AdoptionView, NodePlanView, RolePlace, RoleStateView, SecretView};

const ROLES: [Column; 4] = [
    Column::kept("NODE"),
    Column::kept("ROLE"),
    Column::kept("IS"),
    Column::kept("WHY"),
];

const SECRETS: [Column; 6] = [
    Column::kept("NAME"),
    Column::kept("VERSION"),
    Column::kept("MADE BY"),
    Column::kept("SET"),
    Column::kept("BY"),
    Column::kept("EXPIRES"),
];

/// Every node that has a role which hamesh applies.
pub fn roles(states: &[RoleStateView], look: Look) -> String {
    if states.is_empty() {
        return "No role of the site is configured: hamesh leaves the nodes as they are.\n"
            .to_owned();
    }
    let rows: Vec<_> = states.iter().map(row).collect();
    let mut text = table(&ROLES, &rows, look);
    for state in states {
        if let Some(refusals) = state.refusals() {
            let told = format!("{} {}", state.node, clean(&refusals));
            let _ = writeln!(text, "\n{}", look.paint(Tone::Bad, &told));
        }
    }
    text
}

fn row(state: &RoleStateView) -> Vec<Cell> {
    vec![
        Cell::plain(&state.node),
        state.role.as_ref().map_or_else(Cell::nothing, Cell::plain),
        Cell::new(tone(state.place), state.place.name()),
        why(state).map_or_else(Cell::nothing, Cell::plain),
    ]
}

/// How a place looks.
pub(super) fn tone(place: RolePlace) -> Tone {
    match place {
        RolePlace::AsWanted => Tone::Good,
        RolePlace::Waits | RolePlace::Applying | RolePlace::Away => Tone::Doubtful,
        RolePlace::Observed => Tone::Plain,
        RolePlace::Failed => Tone::Bad,
    }
}

fn why(state: &RoleStateView) -> Option<String> {
    match (&state.step, state.place) {
        (Some(step), RolePlace::Applying) => Some(format!(
            "{} of {}: {step} ({})",
            state.number,
            state.of,
            span(state.elapsed_ms)
        )),
        (_, RolePlace::Observed) => Some(match state.drift.len() {
            0 => "as its role would have it".to_owned(),
            count => format!("{count} step{} from it", plural(count)),
        }),
        (_, _) => state.reason.clone(),
    }
}

/// A node's role among everything else about it.
pub(super) fn lines(
    state: &RoleStateView,
    now: Moment,
    look: Look,
    line: &mut impl FnMut(&str, String),
) {
    let is = look.paint(tone(state.place), state.place.name());
    let why = why(state).map(|why| format!(": {}", clean(&why)));
    line("role is", format!("{is}{}", why.unwrap_or_default()));
    for said in &state.said {
        line("", clean(said));
    }
    for drift in &state.drift {
        line("drift", clean(drift));
    }
    for unknown in &state.unknown {
        line("not known", clean(unknown));
    }
    if let Some(refusals) = state.refusals() {
        line("orders", clean(&refusals));
    }
    if state.corrected > 0 {
        line("put right", format!("{} times", state.corrected));
    }
    for certificate in &state.certificates {
        let left = certificate
            .expires
            .map_or("unknown".to_owned(), |at| at.left(now));
        line(
            "service",
            clean(&format!("certificate {}: {left} left", certificate.name)),
        );
    }
}

/// One line of progress.
pub fn role_progress(state: &RoleStateView, look: Look) -> String {
    let is = look.paint(tone(state.place), state.place.name());
    let node = clean(&state.node);
    let mut text = match why(state) {
        Some(why) => format!("{node}: {is}: {}\n", clean(&why)),
        None => format!("{node}: {is}\n"),
    };
    if state.place == RolePlace::Failed {
        for line in &state.said {
            let _ = writeln!(text, "  {}", clean(line));
        }
    }
    text
}

/// What a plan means on the nodes.
pub fn node_plans(plans: &[NodePlanView], look: Look) -> String {
    let mut text = String::new();
    for plan in plans {
        let _ = writeln!(text, "\n{}", look.paint(Tone::Strong, &clean(&plan.node)));
        if let Some(problem) = &plan.problem {
            let _ = writeln!(text, "  not known: {}", clean(problem));
        } else if plan.steps.is_empty() {
            let _ = writeln!(text, "  nothing to do");
        }
        for (n, step) in plan.steps.iter().enumerate() {
            let _ = writeln!(text, "{:>4}. {}", n + 1, clean(&step.text));
            for line in &step.change {
                let tone = match line.as_bytes().first() {
                    Some(b'+') => Tone::Good,
                    Some(b'-') => Tone::Bad,
                    _ => Tone::Faint,
                };
                let _ = writeln!(text, "        {}", look.paint(tone, &clean(line)));
            }
        }
        for unknown in &plan.unknown {
            let _ = writeln!(text, "  could not look: {}", clean(unknown));
        }
    }
    text
}

/// What taking a node over means on it.
pub fn adoption(view: &AdoptionView, look: Look) -> String {
    let mut text = format!("{} as {}\n", clean(&view.node), clean(&view.role));
    let mut part = |title: &str, tone: Tone, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for line in lines {
            let _ = writeln!(text, "  {}", look.paint(tone, &clean(line)));
        }
    };
    if let Some(plan) = &view.plan {
        part("taken over as it is", Tone::Good, &plan.as_is);
        part(
            "lost, for the document does not say it",
            Tone::Bad,
            &plan.lost,
        );
        part("in the way", Tone::Doubtful, &plan.in_the_way);
    }
    match &view.plan {
        Some(plan) => text.push_str(&node_plans(std::slice::from_ref(plan), look)),
        None => text.push_str("\nThe node has all of it.\n"),
    }
    let _ = writeln!(text, "\nnext: {}", clean(&view.next));
    text
}

/// What the next stage of taking a node over does.
pub fn stage(stage: &Stage) -> String {
    match stage {
        Stage::Take => {
            "The role is applied beside what serves now; addresses stay where they are.".to_owned()
        }
        Stage::Await(others) => {
            let names: Vec<&str> = others.iter().map(AsRef::as_ref).collect();
            format!(
                "The role is in place. Addresses follow with the last node of the role: take {} \
                 over next.",
                names.join(", ")
            )
        }
        Stage::Narrow => {
            "What served before is stopped on all nodes of the role but the holder.".to_owned()
        }
        Stage::Join(node) => {
            format!("hamesh takes the addresses on {node}, which has them: half a minute.")
        }
        Stage::Finish(node) => {
            format!("hamesh holds the addresses: what served before is stopped on {node}, too.")
        }
        Stage::Share => "Other nodes of the role may have the addresses, too.".to_owned(),
        Stage::Over => "hamesh has the node, and the addresses of its role.".to_owned(),
    }
}

/// The secrets, never their values.
pub fn secrets(secrets: &[SecretView], now: Moment, look: Look) -> String {
    if secrets.is_empty() {
        return "No role of the site needs a secret.\n".to_owned();
    }
    let row = |secret: &SecretView| {
        vec![
            Cell::plain(&secret.name),
            match secret.version {
                0 => Cell::new(Tone::Bad, "missing"),
                version => Cell::plain(version.to_string()),
            },
            Cell::plain(if secret.generated {
                "the site"
            } else {
                "operators"
            }),
            match secret.set {
                Some(at) => Cell::plain(format!("{} ago", at.ago(now))),
                None => Cell::nothing(),
            },
            secret
                .set_by
                .as_ref()
                .map_or_else(Cell::nothing, Cell::plain),
            secret
                .expires
                .map_or_else(Cell::nothing, |at| Cell::plain(at.left(now))),
        ]
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    table(&SECRETS, &rows, look)
}
