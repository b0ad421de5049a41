//! One simulated agent: enrolled with a token of its own, in session with the leader, holding.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use hamesh_agent::apply_link;
use hamesh_agent::claims::Report;
use hamesh_agent::claims::holder::Holder;
use hamesh_agent::database;
use hamesh_agent::enrol::{EnrolError, Enrolment};
use hamesh_agent::gossip::PeersView;
use hamesh_agent::held::Held;
use hamesh_agent::metrics::Metrics;
use hamesh_agent::observe::Observed;
use hamesh_agent::observe::system;
use hamesh_agent::publish::Publisher;
use hamesh_agent::session::lookout::{Lookout, Term};
use hamesh_agent::session::{Session, SessionState};
use hamesh_agent::state::StateDir;
use hamesh_agent::upgrade::Upgrades;
use hamesh_agent::version;
use hamesh_claims::ids::BootId;
use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::ids::NodeId;
use hamesh_proto::ports;
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_roles::Vip;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::driver::Driver;
use super::layout;
use super::world::{Machine, Tally};

/// How often an enrolment is tried whose connection was not let in: those before it may not be
/// closed yet.
const ATTEMPTS: u32 = 10;

/// What all agents have together.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Kernel and boot.
    pub machine: system::Machine,
    /// The agent's own metrics, of all of them.
    pub metrics: Arc<Metrics>,
    /// What they saw.
    pub tally: Arc<Tally>,
    /// None of them is a database.
    pub database: watch::Sender<v1::DatabaseState>,
}

impl Shared {
    /// For a crowd that begins.
    ///
    /// # Errors
    /// A defect of the agent's metrics.
    pub fn new() -> Result<Self> {
        Ok(Self {
            machine: system::Machine::read(),
            metrics: Arc::new(Metrics::new(version())?),
            tally: Arc::default(),
            database: watch::Sender::new(v1::DatabaseState::Unspecified),
        })
    }
}

/// One that has an identity.
#[derive(Debug)]
pub struct Enrolled {
    agent: u32,
    node: NodeId,
    state: StateDir,
    credentials: Credentials,
}

/// One that runs, until it is dropped.
#[derive(Debug)]
pub struct Running {
    session: watch::Receiver<SessionState>,
    _tasks: JoinSet<()>,
    _inputs: Inputs,
}

/// What would come from parts of an agent that are not simulated. They are silent, not gone.
type Inputs = (
    watch::Sender<Observed>,
    watch::Sender<Arc<PeersView>>,
    watch::Sender<u64>,
);

/// Trades a token for an identity.
///
/// # Errors
/// The coordinator refuses, or cannot be reached.
pub async fn enrol(agent: u32, token: EnrolmentToken, root: &Path) -> Result<Enrolled> {
    let name = layout::name(agent);
    let path = root.join(&name);
    std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
    let state = StateDir::open(&path)?;
    let node: NodeId = name.parse().context("a node's name")?;
    let coordinator = SocketAddr::new(layout::COORDINATOR_ADDRESS.into(), ports::ENROLMENT);
    let enrolment = Enrolment {
        coordinator,
        token,
        node: node.clone(),
        replace: false,
    };
    let mut attempt = 1;
    let credentials = loop {
        match enrolment.run(&state).await {
            Err(EnrolError::Unreachable { .. }) if attempt < ATTEMPTS => attempt += 1,
            result => break result.with_context(|| format!("enrolling {node}"))?,
        }
    };
    Ok(Enrolled {
        agent,
        node,
        state,
        credentials,
    })
}

impl Enrolled {
    /// Its node.
    pub const fn agent(&self) -> u32 {
        self.agent
    }

    /// Starts it. Its session is opened by and by.
    ///
    /// # Errors
    /// Its address cannot be used.
    pub async fn start(self, shared: Shared) -> Result<Running> {
        let own = SocketAddr::new(layout::address(self.agent).into(), ports::AGENT_LEASES);
        let socket = UdpSocket::bind(own).await;
        let socket = Arc::new(socket.with_context(|| format!("listening on {own}"))?);
        let start = self.state.next_start(unix_ms(SystemTime::now()))?;
        let site = self.credentials.spiffe_id().site.clone();
        let live = LiveCredentials::new(self.credentials.clone());
        let held = Held::load(
            site,
            self.node.clone(),
            self.state.clone(),
            live.clone(),
            Arc::clone(&shared.metrics),
        );
        Ok(self.connect(start, socket, (live, held), shared))
    }

    /// Connects the parts as the agent does.
    fn connect(
        self,
        start: u64,
        socket: Arc<UdpSocket>,
        (credentials, held): (LiveCredentials, Held),
        shared: Shared,
    ) -> Running {
        let (observed_tx, observed) = watch::channel(Observed::default());
        let (peers_tx, peers) = watch::channel(Arc::new(PeersView::new()));
        let (renewed_tx, renewed) = watch::channel(0);
        let (facts_tx, facts) = watch::channel(None);
        let (session_tx, session) = watch::channel(SessionState::default());
        let (keys_tx, keys) = watch::channel(None);
        let (report, claims) = watch::channel(Report::default());
        let mut tasks = JoinSet::new();
        let upgrades = Upgrades::new(self.state.clone());
        let publisher = Publisher {
            node: self.node.to_string(),
            credentials: credentials.clone(),
            start,
            machine: shared.machine.clone(),
            observed,
            database: shared.database.subscribe(),
            assignment: held.assignment(),
            claims: claims.clone(),
            session: session.clone(),
            packages: upgrades.packages(),
            renewed: renewed.clone(),
            plain: facts_tx,
            signed: watch::Sender::new(None),
        };
        tasks.spawn(publisher.run());
        let lookout = Lookout {
            credentials: credentials.clone(),
            held: held.clone(),
            peers: peers.clone(),
            claims,
            followed: Term::default(),
        };
        // Nothing applies roles here, nor does a database run: nobody is asked.
        let (_, roles, heard) = apply_link::link(PathBuf::new(), shared.metrics.roles.clone());
        let talker = Session {
            databases: database::desk(credentials.clone(), held.assignment()).1,
            credentials,
            held: held.clone(),
            start,
            boot_id: format!("{}/{}", shared.machine.boot_id, self.node),
            facts,
            peers,
            lookout,
            lease_keys: keys_tx,
            outcome: upgrades.outcome(),
            upgrades,
            roles,
            heard,
            renewed,
            state: session_tx,
            metrics: Arc::clone(&shared.metrics),
        };
        tasks.spawn(talker.run());
        let metrics = Arc::clone(&shared.metrics.claims);
        let tally = Arc::clone(&shared.tally);
        let driver = Driver {
            holder: Holder::new(self.node, start, BootId(1), metrics),
            world: Machine::new(Arc::clone(&socket), Arc::clone(&tally), Vip::DEFAULT_TTL),
            socket,
            state: self.state,
            assignment: held.assignment(),
            keys,
            report,
            tally,
        };
        tasks.spawn(driver.run());
        Running {
            session,
            _tasks: tasks,
            _inputs: (observed_tx, peers_tx, renewed_tx),
        }
    }
}

impl Running {
    /// Waits until it has a session.
    pub async fn in_session(&mut self) {
        // An error means that the session's task has ended, which it must not: the wait is bounded.
        let opened = self.session.wait_for(|state| state.coordinator.is_some());
        if opened.await.is_err() {
            std::future::pending().await
        }
    }

    /// Why it has no session, as it knows.
    pub fn problem(&self) -> Option<String> {
        self.session.borrow().problem.clone()
    }
}
