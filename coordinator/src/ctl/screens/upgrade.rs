//! The plan of an upgrade, and how far it is.

use crate::ctl::failure::plural;
use crate::ctl::paint::clean;
use crate::ctl::views::{UpgradePlanView, UpgradeStepView, UpgradeView};

/// The steps, one line each, in their order.
pub fn upgrade_plan(plan: &UpgradePlanView) -> String {
    let to = &plan.to;
    if plan.steps.is_empty() {
        return format!("Nothing to do: every node that is meant runs {to} already.\n");
    }
    let lines = plan.steps.iter().enumerate().map(|(n, step)| {
        let (node, about, packages) = (&step.node, about(step), packages(step));
        clean(&format!(
            "{:>3}. {node} ({about}): {packages} -> {to}",
            n + 1
        )) + "\n"
    });
    let count = plan.steps.len();
    lines.collect::<String>()
        + &format!(
            "{count} node{}, one after the other: the next begins when the one before is well.\n",
            plural(count)
        )
}

/// One line of progress.
pub fn upgrade(progress: &UpgradeView) -> String {
    let UpgradeView {
        number, of, text, ..
    } = progress;
    let node = progress.node.as_deref().unwrap_or("the site");
    let text = text.as_deref().unwrap_or("a moment");
    let line = match progress.phase.as_str() {
        "begins" => format!("{number} of {of}: {node} is upgraded"),
        "waits" => format!("  waits: {text}"),
        "done" => format!("  {node} is well"),
        "finished" => "Every node that was meant has the version and is well.".to_owned(),
        other => format!("  {node}: {other}"),
    };
    clean(&line) + "\n"
}

fn about(step: &UpgradeStepView) -> String {
    let part = match step.part.as_str() {
        "leader" => "coordinator, leads",
        other => other,
    };
    let claims = |verb: &str, claims: &[String]| match claims {
        [] => String::new(),
        claims => format!(", {verb} {}", claims.join(", ")),
    };
    let (holds, stands_by) = (&step.holds, &step.stands_by);
    format!(
        "{part}{}{}",
        claims("holds", holds),
        claims("stands by for", stands_by)
    )
}

/// Every name with its version; one version for all of them where it is the same.
fn packages(step: &UpgradeStepView) -> String {
    let mut packages = step.packages.iter();
    let same = step.packages.first();
    let same = same.filter(|first| packages.all(|it| it.version == first.version));
    let named = step.packages.iter().map(|it| match same {
        Some(_) => it.name.clone(),
        None => format!("{} {}", it.name, it.version),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match same {
        Some(first) => format!("{named} {}", first.version),
        None => named,
    }
}
