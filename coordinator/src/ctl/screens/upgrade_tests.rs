//! The screens of an upgrade, against golden files.

use hamesh_proto::v1;

use super::tests::golden;
use super::{upgrade, upgrade_plan};
use crate::ctl::output::json;
use crate::ctl::views::{UpgradePlanView, UpgradeView};

fn step(node: &str, part: &str, packages: &[(&str, &str)]) -> v1::UpgradeStep {
    let package = |(name, version): &(&str, &str)| v1::Package {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
    };
    v1::UpgradeStep {
        node: node.to_owned(),
        part: part.to_owned(),
        packages: packages.iter().map(package).collect(),
        ..v1::UpgradeStep::default()
    }
}

#[test]
fn the_plan_says_who_comes_when_and_why() {
    let all = [
        ("hamesh-agent", "0.1.0"),
        ("hamesh-cli", "0.1.0"),
        ("hamesh-coordinator", "0.1.0"),
    ];
    let mixed = [("hamesh-agent", "0.1.1"), ("hamesh-cli", "0.1.0")];
    let edge = vec!["vip/edge".to_owned()];
    let steps = vec![
        step("control-2", "coordinator", &all),
        step("control-1", "leader", &all),
        step("node-1", "agent", &mixed),
        v1::UpgradeStep {
            stands_by: edge.clone(),
            ..step("haproxy-ext-2", "agent", &all[..1])
        },
        v1::UpgradeStep {
            holds: edge,
            ..step("haproxy-ext-1", "agent", &all[..1])
        },
    ];
    let plan = UpgradePlanView::new("0.2.0", v1::UpgradePlan { steps });
    golden("upgrade-plan.txt", &upgrade_plan(&plan));
    golden("upgrade-plan.json", &json(&plan));
    let nothing = UpgradePlanView::new("0.2.0", v1::UpgradePlan::default());
    golden("upgrade-nothing.txt", &upgrade_plan(&nothing));
}

#[test]
fn progress_is_told_line_by_line() {
    let progress = |phase: &str, text: &str| v1::UpgradeProgress {
        phase: phase.to_owned(),
        node: "control-2".to_owned(),
        number: 1,
        of: 13,
        text: text.to_owned(),
        done: phase == "finished",
    };
    let told = [
        progress("begins", ""),
        progress("waits", "nobody holds vip/edge, which was held before"),
        progress("done", ""),
        progress("finished", ""),
    ];
    let told = told.map(|it| upgrade(&UpgradeView::from(it))).concat();
    golden("upgrade.txt", &told);
}
