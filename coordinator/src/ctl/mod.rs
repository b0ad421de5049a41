//! `coordctl`: the operator's command.
//!
//! Every command ends with one of five exit codes and, when it failed, with what went wrong and
//! what to do next. What it prints is a pure function of what the coordinator said, the time and
//! the terminal.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`context`] | the context file: site, coordinators, identity |
//! | [`link`] | the connection to the coordinator that leads |
//! | `leader` | which one that is |
//! | [`views`] | what is shown, in stable shapes: the names of `--output json` |
//! | [`screens`], [`paint`] | views to text for people: pure |
//! | [`output`] | the form that was asked for, on standard output |
//! | [`commands`] | each command |
//! | [`failure`], [`time`] | errors with their exit codes, times and spans |

pub mod cli;
mod commands;
pub mod context;
pub mod failure;
mod leader;
pub mod link;
pub mod output;
pub mod paint;
pub mod screens;
pub mod time;
pub mod views;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use failure::{Exit, Failure, Told};

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no failure; clap knows.
            let code = if error.use_stderr() {
                Exit::Invalid.into()
            } else {
                ExitCode::SUCCESS
            };
            return if error.print().is_ok() {
                code
            } else {
                Exit::Failed.into()
            };
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => Err(Failure::Failed {
            message: format!("cannot start: {error}"),
            next: None,
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{}", Told(&failure));
            failure.exit().into()
        }
    }
}
