//! The running agent: builds the parts, connects them, and ends them in order.
//!
//! ```text
//! observe --> publish --> gossip --> peers --> session <--> coordinator
//!               |                                 |
//!               +----------- facts -------------->+--> held --> gossip, publish
//! held, session, peers, checks --> claims (a thread of their own) --> kernel, publish
//! held --> checks
//! held, etcd, processes --> keeper of the database <--> claims
//! peers --> marker --> this node's HAProxy
//! session <--> apply link <--> the process that applies roles
//! session <--> desk --> Patroni and etcd of this node
//! renewal --> live credentials (TLS, signatures)
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::ids::NodeId;
use hamesh_proto::metrics_http::{serve_tls, serve_unix};
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::ListenerCounters;
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::checks::Reports;
use crate::checks::memory::MemoryFile;
use crate::checks::runner::Checks;
use crate::checks::units::Systemd;
use crate::claims::Report;
use crate::claims::lease::DatabaseLease;
use crate::claims::run_dir::RunDir;
use crate::claims::service::{DatabaseInputs, Service};
use crate::cli::Places;
use crate::gossip::clock::Offset;
use crate::gossip::{Mesh, PeersView};
use crate::haproxy::marker::Marker;
use crate::held::{Held, describe};
use crate::http::{accept, bind_local, bind_metrics, local_pages, site_pages};
use crate::metrics::Metrics;
use crate::observe::system::Machine;
use crate::observe::units::UnitsObserver;
use crate::observe::{Observed, Observer};
use crate::primary::keeper::Keeper;
use crate::publish::Publisher;
use crate::renewal::Renewal;
use crate::session::lookout::{Lookout, Term};
use crate::session::{Session, SessionState};
use crate::state::{StateDir, StateLock};
use crate::status::Sources;
use crate::upgrade::Upgrades;
use crate::version;
use crate::{apply, apply_link, database, primary};

mod start_error;

pub use start_error::StartError;

/// How long the clean end may take before systemd would see to it.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long giving back may take: it is a few commits to the kernel.
const GIVING_BACK: Duration = Duration::from_millis(500);

/// A running agent. Dropping it stops everything at once.
#[derive(Debug)]
pub struct Agent {
    tasks: JoinSet<()>,
    status: Sources,
    stop_claims: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    metrics_address: std::net::SocketAddr,
    socket: std::path::PathBuf,
    _lock: StateLock,
}

impl Agent {
    /// Starts an agent on its state directory. Returns once its sockets are open; coordinators
    /// and peers are found by and by.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(places: &Places, metrics_port: u16) -> Result<Self, StartError> {
        let state = StateDir::open(&places.state_dir)?;
        let lock = state.lock()?;
        let credentials = state
            .identity()?
            .ok_or_else(|| StartError::NotEnrolled(places.state_dir.clone()))?;
        let node = own_name(&credentials)?;
        let start = first_number(&state);
        let runtime = |source| StartError::Runtime {
            path: places.runtime_dir.clone(),
            source,
        };
        let run = RunDir::open(&places.runtime_dir).map_err(runtime)?;
        let parts = Parts::new(node, credentials, state, run, start)?;

        let socket = places.socket();
        let local = bind_local(&socket).map_err(|source| StartError::Listen {
            what: socket.display().to_string(),
            source,
        })?;
        let listen = |source| StartError::Listen {
            what: format!("TCP port {metrics_port} for metrics"),
            source,
        };
        let remote = bind_metrics(metrics_port).await.map_err(listen)?;
        let metrics_address = remote.local_addr().map_err(listen)?;

        let (metrics, credentials) = (Arc::clone(&parts.metrics), parts.credentials.clone());
        let mut tasks = JoinSet::new();
        let (status, stop_claims) = parts.spawn(&mut tasks);
        let counters = Arc::new(ListenerCounters::default());
        let pages = local_pages(Arc::clone(&metrics), Arc::clone(&counters), status.clone());
        tasks.spawn(serve_unix(local, pages));
        let pages = site_pages(Arc::clone(&metrics), Arc::clone(&counters));
        tasks.spawn(serve_tls(accept(remote, &credentials, &counters), pages));
        Ok(Self {
            tasks,
            status,
            stop_claims,
            metrics,
            metrics_address,
            socket,
            _lock: lock,
        })
    }

    /// What the agent says of itself.
    pub fn status(&self) -> crate::status::Status {
        self.status.status()
    }

    /// What the agent tells Prometheus.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> std::net::SocketAddr {
        self.metrics_address
    }

    /// Waits until a part of the agent ends, which none should: its process then ends, and
    /// systemd starts it anew.
    pub async fn broken(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) | None => "a part of the agent ended".to_owned(),
        }
    }

    /// Gives back every claim, and waits for a moment until that is done.
    pub async fn give_back(&self) {
        self.stop_claims.send_replace(true);
        let mut claims = self.status.claims.clone();
        let none_held = claims.wait_for(|report| !report.holds_any());
        if tokio::time::timeout(GIVING_BACK, none_held).await.is_err() {
            tracing::warn!("not every claim could be given back; the kernel lets go by itself");
        }
    }

    /// Ends everything: the coordinator and the peers see connections close, not time out.
    pub async fn stop(mut self) {
        self.tasks.abort_all();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // What has not ended by then (a hanging disk) ends with the process.
        drop(tokio::time::timeout(LAST_WORDS, ended).await);
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the local socket was gone already");
        }
    }
}

/// Keys of lease datagrams, what the checks say, the peers, whether to give everything back, how
/// the session stands, and what is said of the database.
type HolderInputs = (
    watch::Receiver<Option<v1::LeaseKeys>>,
    watch::Receiver<Reports>,
    watch::Receiver<Arc<PeersView>>,
    watch::Receiver<bool>,
    watch::Receiver<SessionState>,
    DatabaseInputs,
);

/// What all parts share.
struct Parts {
    node: NodeId,
    start: u64,
    machine: Machine,
    credentials: LiveCredentials,
    state: StateDir,
    run: RunDir,
    held: Held,
    upgrades: Upgrades,
    metrics: Arc<Metrics>,
}

impl Parts {
    fn new(
        node: NodeId,
        credentials: Credentials,
        state: StateDir,
        run: RunDir,
        start: u64,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(version())?);
        let site = credentials.spiffe_id().site.clone();
        tracing::info!(%site, start, version = version(), "agent of {node} starting");
        let live = LiveCredentials::new(credentials);
        let held = Held::load(
            site,
            node.clone(),
            state.clone(),
            live.clone(),
            Arc::clone(&metrics),
        );
        let machine = Machine::read();
        let upgrades = Upgrades::new(state.clone());
        Ok(Self {
            node,
            start,
            machine,
            credentials: live,
            state,
            run,
            held,
            upgrades,
            metrics,
        })
    }

    fn spawn(self, tasks: &mut JoinSet<()>) -> (Sources, watch::Sender<bool>) {
        let (offset_tx, offset) = watch::channel(None);
        let (facts_tx, facts) = watch::channel(None);
        let (signed_tx, signed) = watch::channel(None);
        let (peers_tx, peers) = watch::channel(Arc::new(PeersView::new()));
        let (renewed_tx, renewed) = watch::channel(0);
        let (session_tx, session) = watch::channel(SessionState::default());
        let (keys_tx, keys) = watch::channel(None);
        let (claims_tx, claims) = watch::channel(Report::default());
        let (stop_claims, stop) = watch::channel(false);
        let metrics = || Arc::clone(&self.metrics);

        let publisher = Publisher {
            node: self.node.to_string(),
            credentials: self.credentials.clone(),
            start: self.start,
            machine: self.machine.clone(),
            observed: self.observed(tasks, offset),
            assignment: self.held.assignment(),
            claims: claims.clone(),
            session: session.clone(),
            packages: self.upgrades.packages(),
            renewed: renewed.clone(),
            plain: facts_tx,
            signed: signed_tx,
        };
        tasks.spawn(publisher.run());
        tasks.spawn(self.gossip(signed, peers_tx, offset_tx).run());
        let (link, roles, heard) =
            apply_link::link(apply::socket::usual(), self.metrics.roles.clone());
        tasks.spawn(link.run());
        let talker = Session {
            credentials: self.credentials.clone(),
            held: self.held.clone(),
            start: self.start,
            boot_id: format!("{}/{}", self.machine.boot_id, self.run.life()),
            facts: facts.clone(),
            peers: peers.clone(),
            lookout: self.lookout(&peers, &claims),
            lease_keys: keys_tx,
            outcome: self.upgrades.outcome(),
            upgrades: self.upgrades.clone(),
            roles,
            heard,
            databases: database::start(tasks, &self.credentials, &self.held),
            renewed,
            state: session_tx,
            metrics: metrics(),
        };
        tasks.spawn(talker.run());
        tasks.spawn(self.upgrades.clone().run());
        tasks.spawn(self.renewal(renewed_tx).run());
        tasks.spawn(Marker::here(peers.clone(), self.metrics.marks.clone()).run());
        let database = self.database(tasks);
        let inputs = (
            keys,
            self.checks(tasks),
            peers.clone(),
            stop,
            session.clone(),
            database,
        );
        tasks.spawn(self.holder(inputs, claims_tx).run());
        let sources = Sources {
            credentials: self.credentials,
            held: self.held,
            start: self.start,
            session,
            facts,
            peers,
            claims,
        };
        (sources, stop_claims)
    }

    /// What is seen of the machine.
    fn observed(
        &self,
        tasks: &mut JoinSet<()>,
        offset: watch::Receiver<Option<Offset>>,
    ) -> watch::Receiver<Observed> {
        let (sender, observed) = watch::channel(Observed::default());
        let (units, metrics) = (UnitsObserver::system(), Arc::clone(&self.metrics));
        let observer = Observer::new(&self.machine, units, offset, metrics);
        tasks.spawn(observer.run(sender));
        observed
    }

    /// What tells the session of other leaders.
    fn lookout(
        &self,
        peers: &watch::Receiver<Arc<PeersView>>,
        claims: &watch::Receiver<Report>,
    ) -> Lookout {
        Lookout {
            credentials: self.credentials.clone(),
            held: self.held.clone(),
            peers: peers.clone(),
            claims: claims.clone(),
            followed: Term::default(),
        }
    }

    /// What tells the others how this node is, and hears how they are.
    fn gossip(
        &self,
        facts: watch::Receiver<Option<v1::SignedFacts>>,
        view: watch::Sender<Arc<PeersView>>,
        offset: watch::Sender<Option<Offset>>,
    ) -> Mesh {
        Mesh {
            credentials: self.credentials.clone(),
            start: self.start,
            assignment: self.held.assignment(),
            ring: self.held.ring(),
            facts,
            view,
            offset,
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// What looks after the node's database.
    fn database(&self, tasks: &mut JoinSet<()>) -> DatabaseInputs {
        let (words_tx, words) = watch::channel(primary::Word::default());
        let lease = DatabaseLease::default();
        let keeper = Keeper {
            node: self.node.clone(),
            credentials: self.credentials.clone(),
            assignment: self.held.assignment(),
            run: self.run.clone(),
            lease: lease.clone(),
            words: words_tx,
        };
        tasks.spawn(keeper.run());
        DatabaseInputs { words, lease }
    }

    /// What keeps the node's identity fresh.
    fn renewal(&self, renewed: watch::Sender<u64>) -> Renewal {
        Renewal {
            credentials: self.credentials.clone(),
            state: self.state.clone(),
            held: self.held.clone(),
            renewed,
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// What checks how well the node could serve its claims.
    fn checks(&self, tasks: &mut JoinSet<()>) -> watch::Receiver<Reports> {
        let memory = MemoryFile::within(self.run.path());
        let series = self.metrics.checks.clone();
        let assignment = self.held.assignment();
        let (checks, reports) = Checks::new(assignment, Systemd::default(), memory, series);
        tasks.spawn(checks.run());
        reports
    }

    /// What holds the claims.
    fn holder(&self, inputs: HolderInputs, report: watch::Sender<Report>) -> Service {
        let (keys, health, peers, stop, session, database) = inputs;
        Service {
            node: self.node.clone(),
            start: self.start,
            boot_id: self.machine.boot_id.clone(),
            state: self.state.clone(),
            run: self.run.clone(),
            assignment: self.held.assignment(),
            keys,
            health,
            database,
            peers,
            stop,
            session,
            report,
            metrics: Arc::clone(&self.metrics.claims),
            superseded: false,
        }
    }
}

fn own_name(credentials: &Credentials) -> Result<NodeId, StartError> {
    match &credentials.spiffe_id().principal {
        Principal::Agent(node) => Ok(node.clone()),
        Principal::Coordinator(_) | Principal::Operator(_) => {
            Err(StartError::NoAgent(credentials.spiffe_id().to_string()))
        }
    }
}

fn first_number(state: &StateDir) -> u64 {
    let now = unix_ms(SystemTime::now());
    state.next_start(now).unwrap_or_else(|error| {
        let why = describe(&error);
        tracing::error!(
            why,
            "the number of this run cannot be kept; going on without"
        );
        now
    })
}
