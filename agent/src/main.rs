//! `hamesh-agent`: parses the command line, builds the runtime, runs the command.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use hamesh_agent::cli::{Cli, Command};
use hamesh_agent::commands::carry_out;
use hamesh_agent::state::StateDir;
use hamesh_proto::logging;
use hamesh_proto::spiffe::Principal;
use nix::sys::stat::{Mode, umask};

/// Threads for what would block: the disk. Two, so that a disk that hangs leaves one.
const BLOCKING_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Nothing that the agent makes is for others to read.
    umask(Mode::from_bits_truncate(0o077));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hamesh-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let logs = match &cli.command {
        Command::Run(_) => Some("hamesh-agent"),
        Command::Apply => Some("hamesh-apply"),
        _ => None,
    };
    if let Some(name) = logs {
        logging::init(name, &[("NODE", &own_name(&cli.places.state_dir))])?;
    }
    // One thread is plenty for what an agent does, and costs the least memory and wake-ups.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?
        .block_on(carry_out(cli))
}

/// The node that this machine is; empty when that is not known, which starting reports better.
fn own_name(state_dir: &Path) -> String {
    let identity = StateDir::open(state_dir).and_then(|state| state.identity());
    match identity {
        Ok(Some(credentials)) => match &credentials.spiffe_id().principal {
            Principal::Agent(node) => node.to_string(),
            Principal::Coordinator(_) | Principal::Operator(_) => String::new(),
        },
        Ok(None) | Err(_) => String::new(),
    }
}
