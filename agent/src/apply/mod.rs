//! The executor: makes the machine what its role asks, and keeps it so. A process of its own.
//!
//! ```text
//! session <--> apply_link <-- control.sock --> socket --order--> converge <--> machine --> drivers
//!  (hamesh-agent.service)             signed?    ^                  |
//!                                                +---- report ------+   (hamesh-apply.service)
//! ```
//! | module | does |
//! |---|---|
//! | [`anchor`] | pure: whose orders are believed |
//! | [`decide`] | pure: what is aimed at, and what a failure means |
//! | [`converge`] | the loop: observe, plan, take the steps |
//! | [`machine`], [`drivers`] | looks at and changes the real machine |
//! | [`systemd`], [`program`] | the two ways to do anything: D-Bus, and programs |
//! | [`store`] | what must not be forgotten |
//! | [`intake`] | lets in what is believed |
//! | [`report`], [`socket`], [`wire`] | what is told, to whom and how |
//! | [`trouble`] | why a step was not done |
//!
//! Guarantees: it does what a coordinator of its site signed for it, whoever passes that on, and
//! nothing else; it may be killed at any moment, and goes on with exactly what is left; an order
//! that fails is followed by what worked before it; what drifts is put right, with or without an
//! agent or a coordinator; an order to observe changes nothing.
//!
//! The idea: the agent holds leases on a thread that must never wait, and is locked in a sandbox.
//! What installs packages and writes to `/etc` can be neither. So it is another process, and all
//! that they share is one socket.

pub mod anchor;
pub mod converge;
pub mod decide;
pub mod drivers;
pub mod intake;
pub mod machine;
pub mod program;
pub mod report;
pub mod socket;
pub mod store;
pub mod systemd;
#[cfg(test)]
mod tests;
pub mod trouble;
pub mod wire;

use std::path::Path;

use anyhow::Context as _;
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::http::bind_local;
use crate::notify::notify;
use converge::Converge;
use intake::{Intake, anchor_once};
use machine::Machine;
use socket::Server;
use store::{RUNTIME, Store};

/// Keeps this machine as its role asks, until it is told to stop. `identity` is where the agent
/// keeps that of the node, `notes` where the executor keeps its own.
///
/// # Errors
/// For people: what is wrong.
pub async fn run(identity: &Path, notes: &Path) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let store = Store::open(notes, Path::new(RUNTIME))?;
    anchor_once(&store, identity);
    let socket = store.socket();
    let listener =
        bind_local(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    // What apt and other programs make is for others to read; secrets are given their mode.
    umask(Mode::from_bits_truncate(0o022));
    let machine = Machine::new(store.clone(), identity.to_owned());
    let intake = Intake::new(store.clone());
    let unseen = report::unseen(store.good()?.as_ref());
    let (told, report) = watch::channel(unseen);
    let server = Server {
        intake: intake.clone(),
        report,
        machine: machine.clone(),
        store: store.clone(),
    };
    let converge = Converge::new(store, machine, intake.orders(), told);
    if let Err(error) = notify("READY=1") {
        tracing::warn!(%error, "systemd could not be told that roles are applied");
    }
    tracing::info!(
        version = crate::version(),
        "applying what this node's role asks"
    );
    tokio::select! {
        error = server.run(listener) => Err(error).context("the socket broke"),
        ended = converge.run() => match ended {
            Ok(never) => match never {},
            Err(error) => Err(error).context("the executor's notes are of no use"),
        },
        // Nothing waits for the step that is being taken: a program goes on without this process,
        // and the next run goes on from what it finds.
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
