//! Tables in a network namespace of the test's own, with the kernel's own nft. Needs root.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::*;

fn tables(root: &Path) -> Tables {
    let store = Store::open(&root.join("state"), &root.join("run")).expect("folders");
    let deadman = Deadman::Nobody;
    Tables { store, deadman }
}

fn table(root: &Path, policy: &str) -> Table {
    let chain = format!("chain input {{ type filter hook input priority 0; policy {policy}; }}");
    Table {
        family: "inet".to_owned(),
        name: "hamesh_wall".to_owned(),
        rules: format!("table inet hamesh_wall {{\n    {chain}\n}}\n"),
        path: root.join("etc/wall.nft").display().to_string(),
    }
}

fn seen(seen: Seen) -> (Option<Digest>, Option<Digest>) {
    match seen {
        Seen::Present(State::Table { rules, at_boot }) => (rules, at_boot),
        Seen::Absent => (None, None),
        other => panic!("{other:?}"),
    }
}

/// On this thread, whose children and sockets are in the new namespace then; `false`: not root.
fn own_network() -> bool {
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("not root: nothing is tried");
        return false;
    }
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    up.expect("ip runs").success()
}

#[tokio::test]
async fn a_table_that_cuts_the_node_off_is_undone_and_one_that_does_not_is_kept() {
    if !own_network() {
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let tables = tables(root.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let lifeline = [listener.local_addr().expect("an address")];
    let good = table(root.path(), "accept");
    assert_eq!(tables.look(&good).await, Seen::Absent);
    tables.make(&good, &lifeline).await.expect("loaded");
    let digest = Some(Digest::of(&good.rules));
    assert_eq!(
        seen(tables.look(&good).await),
        (digest.clone(), digest.clone())
    );

    let bad = table(root.path(), "drop");
    let trouble = tables.make(&bad, &lifeline).await.expect_err("cut off");
    assert!(trouble.problem.contains("was undone"), "{trouble}");
    assert_eq!(
        seen(tables.look(&good).await),
        (digest.clone(), digest.clone())
    );

    // By hand.
    let flushed = nft(&["add", "chain", "inet", "hamesh_wall", "other"]).await;
    flushed.expect("added");
    assert_eq!(seen(tables.look(&good).await), (None, digest));
    tables.make(&good, &lifeline).await.expect("put back");
    tables.remove(&good).await.expect("removed");
    assert_eq!(tables.look(&good).await, Seen::Absent);
}

#[tokio::test]
async fn what_an_interrupted_load_left_unconfirmed_is_undone_before_anything_else() {
    if !own_network() {
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let tables = tables(root.path());
    let bad = table(root.path(), "drop");
    tables.arm(&bad).await.expect("armed");
    let script = tables
        .script(&bad, &script(&bad, &bad.rules))
        .expect("written");
    nft(&["-f", &script.path()]).await.expect("loaded");
    assert!(tables.listing(&bad).await.expect("listed").is_some());
    // What the timer runs is what this runs.
    tables.undo_unconfirmed().await.expect("undone");
    assert_eq!(tables.listing(&bad).await.expect("listed"), None);
    assert!(!tables.store.revert().exists());
}

#[tokio::test]
async fn nothing_is_loaded_when_no_lifeline_answers_before() {
    if !own_network() {
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let tables = tables(root.path());
    let lifeline = ["127.0.0.1:9".parse().expect("an address")];
    let wanted = table(root.path(), "accept");
    let trouble = tables
        .make(&wanted, &lifeline)
        .await
        .expect_err("nobody there");
    assert!(trouble.problem.contains("127.0.0.1:9"), "{trouble}");
    assert_eq!(tables.look(&wanted).await, Seen::Absent);
}

#[tokio::test]
async fn rules_that_nft_does_not_accept_are_told_with_its_words() {
    if !own_network() {
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let tables = tables(root.path());
    let mut wanted = table(root.path(), "accept");
    wanted.rules = "table inet hamesh_wall { chain {} }\n".to_owned();
    let trouble = tables.make(&wanted, &[]).await.expect_err("no rules");
    assert!(
        trouble
            .said
            .iter()
            .any(|line| line.contains("syntax error"))
    );
}
