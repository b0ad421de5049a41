//! The program itself, as a person or systemd starts it.

use std::process::Command;

#[test]
fn on_a_machine_that_was_never_set_up_it_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_hamesh-coordinator"))
        .arg("run")
        .arg("--state-dir")
        .arg(directory.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("coordctl init"), "{said}");
}

#[test]
fn a_wrong_command_line_is_told_apart_from_a_failure() {
    let output = Command::new(env!("CARGO_BIN_EXE_hamesh-coordinator"))
        .arg("walk")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}
