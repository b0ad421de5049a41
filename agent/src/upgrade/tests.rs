//! The notes, and apt as scripts that stand in for it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::install::{Tools, carry_out};
use super::*;

fn state(root: &TempDir) -> StateDir {
    StateDir::open(&root.path().join("state")).expect("a state directory")
}

fn order(id: &str, version: &str) -> v1::UpgradeOrder {
    v1::UpgradeOrder {
        order: id.to_owned(),
        version: version.to_owned(),
    }
}

/// A program that is a shell script; what it was called with is in NAME.log beside it.
fn script(root: &Path, name: &str, body: &str) -> Vec<OsString> {
    let path = root.join(name);
    let log = root.join(format!("{name}.log"));
    let text = format!("echo \"$@\" >> {}\n{body}\n", log.display());
    fs::write(&path, text).expect("written");
    vec!["sh".into(), path.into()]
}

fn tools(root: &TempDir, apt: &str, systemctl: &str) -> Tools {
    let root = root.path();
    let known = "echo 'hamesh-agent installed'; echo 'hamesh-cli config-files'; \
                 echo 'hamesh-coordinator half-configured'; exit 1";
    Tools {
        apt_get: script(root, "apt-get", apt),
        dpkg_query: script(root, "dpkg-query", known),
        systemctl: script(root, "systemctl", systemctl),
        patience: Duration::ZERO,
    }
}

fn log(root: &TempDir, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root.path().join(format!("{name}.log")));
    text.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn an_order_is_carried_out_by_apt_once_however_often_it_is_told() {
    let root = TempDir::new().expect("a folder");
    let (state, tools) = (state(&root), tools(&root, "umask", "true"));
    let upgrades = Upgrades::new(state.clone());
    assert_eq!(upgrades.take(order("ab12", "0.1.0+next1")).await, None);
    assert!(files::waits(&state));
    assert!(carry_out(&state, &tools).expect("the notes are there"));
    let always = "--yes --quiet -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300";
    let install = "install --no-install-recommends --allow-downgrades";
    let packages = "hamesh-agent=0.1.0+next1 hamesh-coordinator=0.1.0+next1";
    let wanted = [
        format!("{always} update"),
        format!("{always} {install} {packages}"),
    ];
    assert_eq!(log(&root, "apt-get"), wanted);

    // The next run of the agent, which the coordinator tells the order again.
    let upgrades = Upgrades::new(state.clone());
    let outcome = upgrades.outcome().borrow().clone().expect("an outcome");
    assert_eq!(
        (outcome.order.as_str(), outcome.problem.as_str()),
        ("ab12", "")
    );
    assert!(!upgrades.packages().borrow().upgrading);
    assert_eq!(upgrades.take(order("ab12", "0.1.0+next1")).await, None);
    assert!(carry_out(&state, &tools).expect("nothing to do"));
    assert_eq!(log(&root, "apt-get").len(), 2);
}

#[tokio::test]
async fn what_apt_says_is_told_when_it_fails() {
    let root = TempDir::new().expect("a folder");
    let apt = "echo Reading package lists...\n\
               case $* in *install*) \
               echo \"E: Version '9' for 'hamesh-agent' was not found\" >&2; exit 100;; esac";
    let (state, tools) = (state(&root), tools(&root, apt, "true"));
    let upgrades = Upgrades::new(state.clone());
    upgrades.take(order("ab12", "9")).await;
    assert!(!carry_out(&state, &tools).expect("the notes are there"));
    upgrades.look();
    let outcome = upgrades.outcome().borrow().clone().expect("an outcome");
    let problem = "apt-get install hamesh-agent=9 hamesh-coordinator=9: \
                   E: Version '9' for 'hamesh-agent' was not found";
    assert_eq!(outcome.problem, problem);
    let said = [
        "Reading package lists...",
        "E: Version '9' for 'hamesh-agent' was not found",
    ];
    assert_eq!(outcome.said, said);
}

#[tokio::test]
async fn a_service_that_does_not_run_again_is_a_failure_and_one_that_never_ran_is_not() {
    let root = TempDir::new().expect("a folder");
    let flag = root.path().join("upgraded");
    let apt = format!("touch {}", flag.display());
    // The store never ran; the agent does not run any more after apt.
    let systemctl = format!(
        "case \"$*\" in *store*) exit 3;; *status*) echo 'it crashed';; \
         *agent*) test ! -e {};; esac",
        flag.display()
    );
    let (state, tools) = (state(&root), tools(&root, &apt, &systemctl));
    Upgrades::new(state.clone()).take(order("ab12", "9")).await;
    assert!(!carry_out(&state, &tools).expect("the notes are there"));
    let outcome = files::outcome(&state).expect("an outcome");
    let problem = "the packages are installed, but hamesh-agent does not run";
    assert_eq!(outcome.problem.as_deref(), Some(problem));
    assert_eq!(outcome.said, ["it crashed"]);
}

#[tokio::test]
async fn what_is_no_order_reaches_nobody() {
    let root = TempDir::new().expect("a folder");
    let state = state(&root);
    let upgrades = Upgrades::new(state.clone());
    for (id, version) in [
        ("ab12", "9; reboot"),
        ("ab12", "--help"),
        ("../x", "9"),
        ("", "9"),
    ] {
        let refused = upgrades.take(order(id, version)).await.expect("refused");
        assert!(
            refused.problem.contains("did not pass the order on"),
            "{refused:?}"
        );
    }
    assert!(!files::waits(&state));
    // Nor does what somebody else wrote into the file.
    let file = state.path().join("upgrade-order.json");
    fs::write(&file, r#"{"id":"ab12","version":"9 hamesh-evil"}"#).expect("written");
    let tools = tools(&root, "true", "true");
    assert!(!carry_out(&state, &tools).expect("the notes are there"));
    fs::write(&file, "no JSON").expect("written");
    assert!(carry_out(&state, &tools).is_err());
    assert!(!file.exists(), "it would be tried for ever");
    assert!(log(&root, "apt-get").is_empty());
}

#[tokio::test]
async fn an_order_that_a_power_cut_ended_gives_way_to_the_next() {
    let root = TempDir::new().expect("a folder");
    let state = state(&root);
    let upgrades = Upgrades::new(state.clone());
    upgrades.take(order("ab12", "9")).await;
    let begun = files::begin(&state).expect("renamed").expect("an order");
    upgrades.look();
    assert!(upgrades.packages().borrow().upgrading);
    drop(begun);
    upgrades.look();
    assert!(!upgrades.packages().borrow().upgrading, "nobody is at work");
    assert_eq!(upgrades.take(order("ab12", "9")).await, None);
    assert!(!files::waits(&state), "told again, not done again");
    upgrades.take(order("cd34", "9")).await;
    assert!(carry_out(&state, &tools(&root, "true", "true")).expect("the notes are there"));
    assert_eq!(files::outcome(&state).expect("an outcome").id, "cd34");
    assert!(!files::waits(&state) && !files::under_way(&state));
}
