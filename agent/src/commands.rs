//! What each command of `hamesh-agent` does.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use clap::CommandFactory as _;
use clap_complete::Shell;
use hamesh_proto::ids::NodeId;
use hamesh_proto::metrics_http::fetch_unix;
use hamesh_proto::unix_time::unix_ms;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Agent;
use crate::apply;
use crate::claims::by_hand;
use crate::claims::run_dir::RunDir;
use crate::cli::{
    BreakGlassAction, Cli, Command, Enroll, FenceAction, Generate, Generated, Output, Places,
    ReEnroll,
};
use crate::enrol::{EnrolError, Enrolment, re_enrol};
use crate::notify::notify;
use crate::state::{StateDir, StateError};
use crate::status::Status;
use crate::stopping;
use crate::upgrade::install::{self, Tools};

/// The unit that runs the agent.
const UNIT: &str = "hamesh-agent.service";

/// Carries out one command.
///
/// # Errors
/// For people: what is wrong, whether anything changed, what to do next.
pub async fn carry_out(cli: Cli) -> anyhow::Result<()> {
    let places = cli.places;
    match cli.command {
        Command::Run(run) => run_agent(&places, run.metrics_port).await,
        Command::Enroll(enroll) => enrol(&places, enroll).await,
        Command::ReEnroll(again) => enrol_again(&places, again).await,
        Command::Status(status) => show_status(&places, status.output).await,
        Command::Metrics => {
            print!("{}", ask_agent(&places, "/metrics").await?);
            Ok(())
        }
        Command::Fence(fence) => keep_fence(&places, fence.action),
        Command::BreakGlass(wanted) => break_glass(&places, &wanted.action),
        Command::Upgrade => upgrade(&places),
        Command::Apply => apply::run(&places.state_dir, &places.apply_dir).await,
        Command::Generate(generate) => write_generated(&generate),
    }
}

async fn run_agent(places: &Places, metrics_port: u16) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut agent = Agent::start(places, metrics_port).await?;
    if let Err(error) = notify("READY=1") {
        tracing::warn!(%error, "systemd could not be told that the agent is ready");
    }
    let for_good = tokio::select! {
        _ = terminate.recv() => stopping::for_good().await,
        _ = interrupt.recv() => true,
        why = agent.broken() => bail!("the agent broke: {why}"),
    };
    tracing::info!(for_good, "agent stopping");
    drop(notify("STOPPING=1"));
    if for_good {
        agent.give_back().await;
    }
    agent.stop().await;
    Ok(())
}

async fn enrol(places: &Places, wanted: Enroll) -> anyhow::Result<()> {
    let state = StateDir::open(&places.state_dir)?;
    let lock = state.lock()?;
    let node = match wanted.node {
        Some(node) => node,
        None => host_name()?,
    };
    let enrolment = Enrolment {
        coordinator: wanted.coordinator,
        token: wanted.token,
        node,
        replace: wanted.replace,
    };
    let credentials = enrolment.run(&state).await?;
    // The agent cannot write there: nobody but root says anew whose orders are believed.
    apply::store::anchor_to(&places.apply_dir, &credentials).context(
        "the node is enrolled, but would believe no orders; run the same command again with \
         --replace and a new token",
    )?;
    drop(lock);
    println!("enrolled as {}", credentials.spiffe_id());
    start_unit(wanted.no_start).await
}

async fn enrol_again(places: &Places, wanted: ReEnroll) -> anyhow::Result<()> {
    let state = StateDir::open(&places.state_dir)?;
    let lock = match state.lock() {
        Ok(lock) => lock,
        Err(StateError::Locked { .. }) => bail!(
            "the agent is running, and re-enrols by itself once `coordctl node re-enrol NODE` \
             has opened the window (`journalctl -u {UNIT}` shows its attempts)"
        ),
        Err(error) => return Err(error.into()),
    };
    let present = state.identity()?.ok_or(EnrolError::NotEnrolled)?;
    let known = match wanted.coordinator {
        Some(address) => vec![address],
        None => known_ports(&state)?,
    };
    let credentials = re_enrol(&state, &present, &known).await?;
    drop(lock);
    println!("re-enrolled as {}", credentials.spiffe_id());
    start_unit(wanted.no_start).await
}

fn known_ports(state: &StateDir) -> Result<Vec<std::net::SocketAddr>, StateError> {
    let mut coordinators = state.coordinators()?;
    if let Some(assignment) = state.assignment()? {
        coordinators.splice(0..0, assignment.coordinators);
    }
    let mut ports = Vec::new();
    for coordinator in coordinators {
        if !ports.contains(&coordinator.enrolment) {
            ports.push(coordinator.enrolment);
        }
    }
    Ok(ports)
}

async fn start_unit(no_start: bool) -> anyhow::Result<()> {
    if no_start {
        return Ok(());
    }
    let ran = tokio::process::Command::new("systemctl")
        .args(["start", UNIT])
        .status()
        .await;
    match ran {
        Ok(status) if status.success() => {
            println!("{UNIT} started");
            Ok(())
        }
        Ok(_) => {
            bail!("the node is enrolled, but {UNIT} did not start; see `systemctl status {UNIT}`")
        }
        Err(error) => bail!(
            "the node is enrolled, but systemctl cannot be run ({error}); \
             start the agent with `hamesh-agent run`"
        ),
    }
}

async fn show_status(places: &Places, output: Output) -> anyhow::Result<()> {
    let json = ask_agent(places, "/status").await?;
    match output {
        Output::Json => println!("{json}"),
        Output::Table => {
            let status: Status = serde_json::from_str(&json)
                .context("the running agent is of another version; restart it")?;
            print!("{}", status.table(unix_ms(SystemTime::now())));
        }
    }
    Ok(())
}

fn keep_fence(places: &Places, action: FenceAction) -> anyhow::Result<()> {
    match action {
        FenceAction::Load => {
            let addresses = by_hand::load_fence(&places.state_dir)?;
            println!("the fence is loaded for {addresses} addresses");
            Ok(())
        }
        FenceAction::Clear => by_hand::clear_fence(&StateDir::open(&places.state_dir)?),
    }
}

fn break_glass(places: &Places, action: &BreakGlassAction) -> anyhow::Result<()> {
    let run = RunDir::open(&places.runtime_dir)
        .with_context(|| format!("cannot use {}", places.runtime_dir.display()))?;
    let state = StateDir::open(&places.state_dir)?;
    match action {
        BreakGlassAction::Open {
            claim,
            i_made_sure_that_no_other_node_holds_it,
        } => {
            ensure!(
                i_made_sure_that_no_other_node_holds_it,
                "{claim} is not opened: {}",
                by_hand::DANGER
            );
            by_hand::open(&state, &run, claim)?;
            println!("{claim} is open on this node until `hamesh-agent break-glass close {claim}`");
        }
        BreakGlassAction::Close { claim } => {
            if by_hand::close(&state, &run, claim)? {
                println!("{claim} is closed on this node and obeys its lease again");
            } else {
                println!("{claim} was not opened by hand here; nothing was changed");
            }
        }
        BreakGlassAction::Status => {
            let opened = by_hand::opened(&run);
            for claim in &opened {
                println!("{claim} is open by hand on this node, answering to nobody");
            }
            if opened.is_empty() {
                println!("nothing is open by hand on this node");
            }
        }
    }
    Ok(())
}

fn upgrade(places: &Places) -> anyhow::Result<()> {
    let state = StateDir::open(&places.state_dir)?;
    let done = install::carry_out(&state, &Tools::default())?;
    ensure!(
        done,
        "the order was not carried out, for the reason above; the coordinator is told"
    );
    Ok(())
}

async fn ask_agent(places: &Places, path: &str) -> anyhow::Result<String> {
    let socket = places.socket();
    let (status, body) = fetch_unix(&socket, path).await.with_context(|| {
        format!("no running agent could be asked; see `systemctl status {UNIT}`")
    })?;
    ensure!(status.is_success(), "the running agent answered {status}");
    String::from_utf8(body.to_vec()).context("the running agent's answer is not text")
}

fn host_name() -> anyhow::Result<NodeId> {
    let name = nix::unistd::gethostname().context("this machine's host name cannot be read")?;
    let name = name.to_string_lossy();
    let label = name.split('.').next().unwrap_or_default();
    label
        .parse()
        .with_context(|| format!("host name {name:?} is no node name; give --node"))
}

fn write_generated(generate: &Generate) -> anyhow::Result<()> {
    let directory = &generate.directory;
    std::fs::create_dir_all(directory)
        .and_then(|()| match generate.what {
            Generated::Man => clap_mangen::generate_to(Cli::command(), directory),
            Generated::Completions => completions(directory),
        })
        .with_context(|| format!("cannot write to {}", directory.display()))
}

fn completions(directory: &Path) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "hamesh-agent", directory)?;
    }
    Ok(())
}
