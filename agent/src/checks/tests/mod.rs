//! Checks at work: real sockets on 127.0.0.1, real programs, a real bus.

use std::time::Duration;

use hamesh_roles::{Check, CheckKind};

mod board;
mod probes;
mod process;
mod programs;
mod runner;
mod units;

/// How long a functional wait may take on a loaded machine.
const GENEROUS: Duration = Duration::from_secs(60);

fn tcp(port: u16) -> Check {
    Check::new(CheckKind::Tcp(([127, 0, 0, 1], port).into()))
}

fn command(words: &[&str]) -> Check {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    Check::new(CheckKind::Command(words.try_into().expect("a command")))
}

/// A check of a shell's own: what a real one would be in a file.
fn shell(script: &str) -> Check {
    let mut check = command(&["/bin/sh", "-c", script]);
    check.every = GENEROUS;
    check.timeout = GENEROUS;
    check
}
