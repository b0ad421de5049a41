//! Programs as checks: those that end, hang, flood, leave children behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::command::MOST_OUTPUT;
use super::super::probe::once;
use super::{GENEROUS, command, shell};

async fn fails(script: &str) -> String {
    once(&shell(script)).await.expect_err(script)
}

/// Waits until `gone` holds.
async fn until(what: &str, gone: impl Fn() -> bool) {
    let start = Instant::now();
    while !gone() {
        assert!(start.elapsed() < GENEROUS, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // A zombie has ended; whoever inherited it reaps it.
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn written(path: &Path) -> String {
    until(&format!("{} is empty", path.display()), || {
        std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    std::fs::read_to_string(path).expect("written")
}

#[tokio::test]
async fn a_program_that_exits_with_0_passes() {
    let mut check = command(&["/bin/true"]);
    (check.every, check.timeout) = (GENEROUS, GENEROUS);
    assert_eq!(once(&check).await, Ok(()));
    assert_eq!(once(&shell("echo well; echo fine >&2")).await, Ok(()));
}

#[tokio::test]
async fn any_other_end_fails_with_the_last_line_it_said() {
    assert_eq!(
        fails("echo one; echo two >&2; exit 3").await,
        "exit status: 3: two"
    );
    assert_eq!(fails("exit 1").await, "exit status: 1");
    let killed = fails("kill -9 $$").await;
    assert!(killed.contains("signal: 9"), "{killed}");
    let mut check = command(&["/nonexistent/program"]);
    check.timeout = GENEROUS;
    let why = once(&check).await.expect_err("no such program");
    assert!(why.contains("cannot be started"), "{why}");
}

#[tokio::test]
async fn it_gets_neither_the_agents_environment_nor_its_input() {
    assert_eq!(
        once(&shell("test -z \"$CARGO_MANIFEST_DIR\"")).await,
        Ok(())
    );
    assert_eq!(
        once(&shell("test -z \"$(cat)\" && test \"$PWD\" = /")).await,
        Ok(())
    );
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_children_at_its_timeout() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! $$ > {}; echo waiting; wait",
        pids.display()
    );
    let mut check = shell(&script);
    // Long enough for a busy machine to have started it.
    check.timeout = Duration::from_secs(3);
    let why = once(&check).await.expect_err("hangs");
    assert_eq!(why, "still ran after 3s, was killed: waiting");
    for pid in written(&pids).await.split_whitespace() {
        until(&format!("{pid} still runs"), || !runs(pid)).await;
    }
}

#[tokio::test]
async fn one_that_floods_is_killed() {
    let why = fails("while :; do echo 0123456789012345678901234567890123456789; done").await;
    // The last line may have been cut anywhere.
    let told = format!("printed more than {MOST_OUTPUT} bytes, was killed: 0");
    assert!(why.starts_with(&told) && why.len() < 400, "{why}");
}

#[tokio::test]
async fn children_that_it_leaves_behind_are_killed_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    let script = format!("sleep 1000 & echo $! > {}", pids.display());
    assert_eq!(once(&shell(&script)).await, Ok(()));
    let pid = written(&pids).await;
    until(&format!("{pid} still runs"), || !runs(&pid)).await;
}

#[tokio::test]
async fn one_that_nobody_wants_any_more_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let pids = directory.path().join("pids");
    let check = shell(&format!("echo $$ > {}; sleep 1000", pids.display()));
    let probe = tokio::spawn(async move { once(&check).await });
    let pid = written(&pids).await;
    assert!(runs(&pid));
    probe.abort();
    until(&format!("{pid} still runs"), || !runs(&pid)).await;
}
