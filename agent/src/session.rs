//! The agent's stream with a coordinator: tells facts and peers, takes assignments and keys.
//!
//! ```text
//!          connect, Hello             Welcome
//! (pause) ----------------> greeting ---------> talking --- broken, renewed ---> (pause)
//!    ^                          | refused, no answer in time                       |
//!    +--------------------------+---------------- next coordinator ----------------+
//! ```
//!
//! Guarantees: one stream at a time, to the coordinator that leads, for ever; pauses from 0.2 s to
//! 5 s. Any other coordinator says who leads, and that one is dialled without a pause.
//! A certificate that was renewed is shown at once, by a new stream. A refusal is logged when its
//! words change, not at each attempt.
//!
//! Where another coordinator leads by now while the stream is silent, it is broken off:
//! [`lookout`].
//!
//! Absent: judging what comes ([`crate::held`]).

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::NodeId;
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::tls::{ConnectError, Expect, channel};
use hamesh_proto::v1::agent_message::Kind;
use hamesh_proto::v1::agents_client::AgentsClient;
use hamesh_proto::v1::{self, coordinator_message};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::apply_link::{Heard, Roles};
use crate::assignment::Coordinator;
use crate::backoff::Backoff;
use crate::database::Databases;
use crate::gossip::PeersView;
use crate::held::{Held, describe};
use crate::metrics::Metrics;
use crate::upgrade::Upgrades;

pub mod lookout;
mod take;
mod teller;

use lookout::{Leadership, Lookout};
use take::Assemblies;
use teller::Teller;

/// The version of the stream's rules that this agent keeps to.
pub const PROTOCOL: u32 = 4;

/// The first pause between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// How often in a row one coordinator may point to another: a leadership may just be changing.
const HOPS: u32 = 3;
/// How long a coordinator may take from the connection to its Welcome, or to take a message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait for the network. More than one agent ever has to say at once.
const OUTBOX: usize = 16;
/// How often what could not be written to disk is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// How the session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// The coordinator that holds it.
    pub coordinator: Option<String>,
    /// Its leadership, if it told.
    pub leadership: Option<Leadership>,
    /// Why there is none.
    pub problem: Option<String>,
    /// Whether another machine took the node's name over: its agent started later.
    pub superseded: bool,
}

/// What a session works with.
#[derive(Debug)]
pub struct Session {
    /// Whom the agent is.
    pub credentials: LiveCredentials,
    /// What it was told.
    pub held: Held,
    /// This run's number.
    pub start: u64,
    /// This life's of the machine, from one boot to the next.
    pub boot_id: String,
    /// The node's own facts.
    pub facts: watch::Receiver<Option<v1::Facts>>,
    /// What gossip says of the others.
    pub peers: watch::Receiver<Arc<PeersView>>,
    /// What tells of other leaders.
    pub lookout: Lookout,
    /// Takes the keys of lease datagrams.
    pub lease_keys: watch::Sender<Option<v1::LeaseKeys>>,
    /// Takes orders to upgrade.
    pub upgrades: Upgrades,
    /// What became of the newest one.
    pub outcome: watch::Receiver<Option<v1::UpgradeOutcome>>,
    /// Takes what the node is to have on it.
    pub roles: Roles,
    /// How it is with that.
    pub heard: Heard,
    /// Asks what runs on the node of a database.
    pub databases: Databases,
    /// Changes when the certificate was renewed.
    pub renewed: watch::Receiver<u64>,
    /// Where the session's state is published.
    pub state: watch::Sender<SessionState>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The certificate was renewed: dial again at once.
    Renewed,
    /// Another agent under the node's name started later, and is served.
    Superseded(String),
    /// That other one is gone.
    AloneAgain,
    /// This coordinator does not lead.
    Elsewhere(Elsewhere),
    /// While it was silent, another one was found to lead.
    Found(Coordinator),
    /// Anything else, in words.
    Broken(String),
}

impl End {
    /// What a coordinator, or the way to it, said.
    fn said(status: &tonic::Status) -> Self {
        match Elsewhere::of(status) {
            Some(elsewhere) => Self::Elsewhere(elsewhere),
            None if status.code() == tonic::Code::AlreadyExists => {
                Self::Superseded(status.message().to_owned())
            }
            None => Self::Broken(words(status)),
        }
    }
}

impl Session {
    /// Holds a session until the task is dropped; ends when another machine that had taken the
    /// node's name over is gone. The others in the site do not listen to this run any more: the
    /// agent has to start anew, under a number of its own.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, Duration::from_secs(5));
        // Where to dial next, if not simply the next one.
        let mut hint: Option<Coordinator> = None;
        let mut hops = 0;
        for turn in 0.. {
            let coordinators = self.held.coordinators();
            let next = coordinators.get(turn % coordinators.len().max(1)).cloned();
            let Some(coordinator) = hint.take().or(next) else {
                self.disconnected("no coordinator is known".to_owned(), false);
                sleep(backoff.pause()).await;
                continue;
            };
            let end = self.attempt(&coordinator).await;
            if self.state.borrow().coordinator.is_some() {
                backoff.reset();
                hops = 0;
            }
            match end {
                // Not worth a line: the next stream begins at once.
                End::Renewed => {
                    hint = Some(coordinator);
                    continue;
                }
                End::Elsewhere(Elsewhere::At(leader)) if hops < HOPS => {
                    hops += 1;
                    hint = Some(leader.into());
                    continue;
                }
                End::Found(leader) => {
                    let why = format!("{} leads now", leader.node);
                    self.disconnected(why, false);
                    hint = Some(leader);
                    continue;
                }
                End::Elsewhere(_) => {
                    let superseded = self.state.borrow().superseded;
                    self.disconnected("no coordinator leads at present".to_owned(), superseded);
                    // An election takes a few seconds at most.
                    backoff.reset();
                }
                End::AloneAgain => {
                    tracing::info!("no other machine has this node's name any more");
                    return;
                }
                End::Superseded(why) => {
                    self.disconnected(format!("{}: {why}", coordinator.api), true);
                }
                End::Broken(why) => {
                    let superseded = self.state.borrow().superseded;
                    self.disconnected(format!("{}: {why}", coordinator.api), superseded);
                }
            }
            hops = 0;
            hint = self.pause(backoff.pause()).await;
        }
    }

    /// Ends early with word of a new leader.
    async fn pause(&mut self, pause: Duration) -> Option<Coordinator> {
        tokio::select! {
            () = sleep(pause) => None,
            leadership = self.lookout.clone().told() => {
                self.lookout.follow(leadership.term);
                Some(leadership.at)
            }
        }
    }

    async fn attempt(&mut self, coordinator: &Coordinator) -> End {
        self.renewed.mark_unchanged();
        let channel = channel(coordinator.api, &self.credentials, Expect::Coordinator);
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let assignment = self.held.assignment().borrow().clone();
        let hello = v1::Hello {
            version: crate::version().to_owned(),
            protocol: PROTOCOL,
            assignment: assignment.as_ref().map(|held| held.id.into()),
            proof: assignment
                .map(|held| held.proof.clone())
                .unwrap_or_default(),
            key_ring_version: self.held.ring_version(),
            started_unix_ms: self.start,
            boot_id: self.boot_id.clone(),
        };
        if let Err(end) = send(&outbox, Kind::Hello(hello)).await {
            return end;
        }
        let mut client = AgentsClient::new(channel);
        let opened = timeout(PATIENCE, client.session(ReceiverStream::new(messages))).await;
        let mut inbox = match opened {
            Err(_) => return End::Broken(format!("no answer within {PATIENCE:?}")),
            Ok(Err(status)) => return End::said(&status),
            Ok(Ok(stream)) => stream.into_inner(),
        };
        match timeout(PATIENCE, welcomed(&mut inbox)).await {
            Err(_) => return End::Broken(format!("no welcome within {PATIENCE:?}")),
            Ok(Err(end)) => return end,
            Ok(Ok(_)) if self.state.borrow().superseded => return End::AloneAgain,
            Ok(Ok(welcome)) => self.connected(welcome),
        }
        match self.talk(&coordinator.node, &outbox, &mut inbox).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn talk(
        &mut self,
        leader: &NodeId,
        outbox: &mpsc::Sender<v1::AgentMessage>,
        inbox: &mut tonic::Streaming<v1::CoordinatorMessage>,
    ) -> Result<std::convert::Infallible, End> {
        let mut retry = interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let another = self.lookout.clone().another(leader.clone());
        tokio::pin!(another);
        let (mut teller, mut parts) = (Teller::default(), Assemblies::default());
        self.facts.mark_changed();
        self.peers.mark_changed();
        self.outcome.mark_changed();
        self.heard.report.mark_changed();
        loop {
            tokio::select! {
                message = inbox.message() => {
                    let message = message.map_err(|status| End::said(&status))?;
                    let message = message
                        .ok_or_else(|| End::Broken("the coordinator ended it".to_owned()))?;
                    self.take(outbox, &mut parts, message).await?;
                }
                Ok(()) = self.facts.changed() => {
                    let facts = self.facts.borrow_and_update().clone();
                    if let Some(facts) = facts {
                        send(outbox, Kind::Facts(facts)).await?;
                    }
                }
                Ok(()) = self.peers.changed() => {
                    let view = self.peers.borrow_and_update().clone();
                    if let Some(told) = teller.tell(&view, Instant::now()) {
                        send(outbox, Kind::Peers(told)).await?;
                    }
                }
                Ok(()) = self.outcome.changed() => {
                    let outcome = self.outcome.borrow_and_update().clone();
                    if let Some(outcome) = outcome {
                        send(outbox, Kind::Upgrade(outcome)).await?;
                    }
                }
                Ok(()) = self.heard.report.changed() => {
                    let report = self.heard.report.borrow_and_update().clone();
                    if let Some(report) = report {
                        send(outbox, Kind::Role(report)).await?;
                    }
                }
                Some(plan) = self.heard.plans.recv() => {
                    send(outbox, Kind::RolePlan(plan)).await?;
                }
                Some(answer) = self.databases.answer() => {
                    send(outbox, Kind::Database(answer)).await?;
                }
                Ok(()) = self.renewed.changed() => return Err(End::Renewed),
                leader = &mut another => return Err(End::Found(leader)),
                _ = retry.tick() => {
                    for ack in self.held.retry().await {
                        send(outbox, ack).await?;
                    }
                }
            }
        }
    }

    fn connected(&mut self, welcome: v1::Welcome) {
        let leadership = welcome.leadership.map(Leadership::try_from);
        // One that cannot be read, or of an older release, is not told on.
        let leadership = leadership.and_then(Result::ok);
        if let Some(leadership) = &leadership {
            self.lookout.follow(leadership.term);
        }
        self.metrics.sessions.inc();
        self.metrics.session_connected.set(1);
        let (coordinator, version) = (&welcome.coordinator, &welcome.version);
        tracing::info!(coordinator, version, "session with {coordinator}");
        let coordinator = Some(coordinator.clone());
        self.state.send_replace(SessionState {
            coordinator,
            leadership,
            problem: None,
            superseded: false,
        });
    }

    fn disconnected(&self, problem: String, superseded: bool) {
        self.metrics.session_connected.set(0);
        let state = SessionState {
            coordinator: None,
            leadership: None,
            problem: Some(problem),
            superseded,
        };
        self.state.send_if_modified(|present| {
            let changed = *present != state;
            if changed {
                let why = state.problem.as_deref().unwrap_or_default();
                tracing::warn!(why, "no session with a coordinator: {why}");
                *present = state;
            }
            changed
        });
    }
}

async fn send(outbox: &mpsc::Sender<v1::AgentMessage>, kind: Kind) -> Result<(), End> {
    let message = v1::AgentMessage { kind: Some(kind) };
    match timeout(PATIENCE, outbox.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Broken("the stream is closed".to_owned())),
        Err(_) => Err(End::Broken(format!("nothing was taken for {PATIENCE:?}"))),
    }
}

async fn welcomed(
    inbox: &mut tonic::Streaming<v1::CoordinatorMessage>,
) -> Result<v1::Welcome, End> {
    let first = inbox.message().await.map_err(|status| End::said(&status))?;
    match first.and_then(|message| message.kind) {
        Some(coordinator_message::Kind::Welcome(welcome)) => Ok(welcome),
        Some(_) | None => Err(End::Broken("the first message was no welcome".to_owned())),
    }
}

/// What went wrong, for people: the connection's own error where there is one.
pub fn words(status: &tonic::Status) -> String {
    match ConnectError::find(status) {
        Some(error) => describe(error),
        None => format!("{}: {}", status.code(), status.message()),
    }
}
