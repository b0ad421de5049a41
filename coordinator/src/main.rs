//! `hamesh-coordinator`: parse, build, run.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use hamesh_coordinator::cli::{Cli, Command, generate};
use hamesh_coordinator::config::{Config, Dirs};
use hamesh_coordinator::notify::{READY, STOPPING, notify};
use hamesh_coordinator::server::{Parts, Running, start};
use hamesh_proto::logging;
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run {
            state_dir,
            certificate_lifetime,
        } => run(Dirs::under(state_dir), certificate_lifetime),
        Command::Generate { what, directory } => generate(what, &directory).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hamesh-coordinator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(dirs: Dirs, agents_valid: Duration) -> anyhow::Result<()> {
    let config = Config::load(&dirs)?;
    let fields = [
        ("NODE", config.node.as_str()),
        ("SITE", config.site.as_str()),
    ];
    logging::init("hamesh-coordinator", &fields)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(dirs, agents_valid))
}

async fn serve(dirs: Dirs, agents_valid: Duration) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let starting = async {
        let parts = Parts::on_this_machine(dirs).await?;
        start(Parts {
            agents_valid,
            ..parts
        })
        .await
    };
    let running = tokio::select! {
        running = starting => running?,
        // The store may keep it waiting for long.
        () = either(&mut terminate, &mut interrupt) => return Ok(()),
    };
    notify(READY);
    tracing::info!(
        version = hamesh_coordinator::VERSION,
        epoch = running.core.epoch,
        api = %running.api,
        "the coordinator serves"
    );
    until_stopped(running, terminate, interrupt).await
}

async fn until_stopped(
    mut running: Running,
    mut terminate: Signal,
    mut interrupt: Signal,
) -> anyhow::Result<()> {
    tokio::select! {
        () = either(&mut terminate, &mut interrupt) => {
            notify(STOPPING);
            tracing::info!("the coordinator stops");
            running.stop().await;
            Ok(())
        }
        () = running.failed() => anyhow::bail!("a listener failed; see the log above"),
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
