//! The operator's command: parse and run.

use std::process::ExitCode;

fn main() -> ExitCode {
    hamesh_coordinator::ctl::run()
}
