//! `hamesh-coordinator`: parse, build, run.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use hamesh_coordinator::cli::{Cli, Command, generate};
use hamesh_coordinator::config::{Config, Dirs};
use hamesh_coordinator::join::{Settled, settle};
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
        Command::Coordinate {
            agent_dir,
            state_dir,
        } => coordinate(&agent_dir, &Dirs::under(state_dir)),
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

fn coordinate(agent_dir: &Path, dirs: &Dirs) -> anyhow::Result<()> {
    logging::init("hamesh-coordinator", &[])?;
    let settled = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(settle(agent_dir, dirs))?;
    match settled {
        Settled::Unchanged => {}
        Settled::Joined => tracing::info!("this machine is a coordinator now"),
        Settled::Left => tracing::info!("this machine is no coordinator any more"),
    }
    Ok(())
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
    // Each turn is one time of standing by and one leadership.
    loop {
        let starting = async {
            let parts = Parts::on_this_machine(dirs.clone()).await?;
            start(Parts {
                agents_valid,
                ..parts
            })
            .await
        };
        let running = tokio::select! {
            running = starting => running?,
            // The store, or another leader, may keep it waiting for long.
            () = either(&mut terminate, &mut interrupt) => return Ok(()),
        };
        notify(READY);
        tracing::info!(
            version = hamesh_coordinator::version(),
            epoch = running.core.epoch(),
            api = %running.api,
            "the coordinator serves"
        );
        match until_over(running, &mut terminate, &mut interrupt).await? {
            Over::Stopped | Over::Outdated => return Ok(()),
            Over::Deposed => {}
        }
    }
}

/// How a leadership ended.
enum Over {
    Stopped,
    Deposed,
    /// The site was restored elsewhere.
    Outdated,
}

async fn until_over(
    mut running: Running,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> anyhow::Result<Over> {
    let (leadership, core) = (running.core.leadership.clone(), Arc::clone(&running.core));
    let over = tokio::select! {
        () = either(terminate, interrupt) => Over::Stopped,
        () = leadership.deposed() => Over::Deposed,
        () = core.is_outdated() => Over::Outdated,
        () = running.failed() => anyhow::bail!("a listener failed; see the log above"),
    };
    match over {
        Over::Stopped | Over::Outdated => {
            notify(STOPPING);
            tracing::info!("the coordinator stops");
        }
        Over::Deposed => tracing::info!("another coordinator leads; this one stands by"),
    }
    running.stop().await;
    Ok(over)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
