//! The parts of a running agent, and how they are connected.

use std::sync::Arc;

use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::ids::NodeId;
use hamesh_proto::v1::{self, DatabaseState};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use crate::checks::Reports;
use crate::checks::memory::MemoryFile;
use crate::checks::runner::Checks;
use crate::checks::units::Systemd;
use crate::claims::Report;
use crate::claims::lease::DatabaseLease;
use crate::claims::run_dir::RunDir;
use crate::claims::service::{DatabaseInputs, Service};
use crate::gossip::clock::Offset;
use crate::gossip::{Mesh, PeersView};
use crate::haproxy::drainer::Drainer;
use crate::haproxy::marker::Marker;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::observe::database::DatabaseObserver;
use crate::observe::system::Machine;
use crate::observe::units::UnitsObserver;
use crate::observe::{Observed, Observer};
use crate::primary::keeper::Keeper;
use crate::publish::Publisher;
use crate::renewal::Renewal;
use crate::session::lookout::{Lookout, Term};
use crate::session::{Session, SessionState};
use crate::state::StateDir;
use crate::status::Sources;
use crate::upgrade::Upgrades;
use crate::version;
use crate::{apply, apply_link, database, primary};

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
pub(super) struct Parts {
    node: NodeId,
    start: u64,
    machine: Machine,
    pub(super) credentials: LiveCredentials,
    state: StateDir,
    run: RunDir,
    held: Held,
    upgrades: Upgrades,
    pub(super) metrics: Arc<Metrics>,
}

impl Parts {
    pub(super) fn new(
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

    /// Starts all of them; gives where their state is read, and what has every claim given back.
    pub(super) fn spawn(self, tasks: &mut JoinSet<()>) -> (Sources, watch::Sender<bool>) {
        let (offset_tx, offset) = watch::channel(None);
        let (facts_tx, facts) = watch::channel(None);
        let (signed_tx, signed) = watch::channel(None);
        let (peers_tx, peers) = watch::channel(Arc::new(PeersView::new()));
        let (renewed_tx, renewed) = watch::channel(0);
        let (session_tx, session) = watch::channel(SessionState::default());
        let (keys_tx, keys) = watch::channel(None);
        let (claims_tx, claims) = watch::channel(Report::default());
        let (stop_claims, stop) = watch::channel(false);

        let publisher = Publisher {
            node: self.node.to_string(),
            credentials: self.credentials.clone(),
            start: self.start,
            machine: self.machine.clone(),
            observed: self.observed(tasks, offset),
            database: self.database(tasks),
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
            metrics: Arc::clone(&self.metrics),
        };
        tasks.spawn(talker.run());
        tasks.spawn(self.upgrades.clone().run());
        tasks.spawn(self.renewal(renewed_tx).run());
        self.proxied(tasks, &peers);
        let inputs = (
            keys,
            self.checks(tasks),
            peers.clone(),
            stop,
            session.clone(),
            self.leading(tasks),
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

    /// What the node is among the databases.
    fn database(&self, tasks: &mut JoinSet<()>) -> watch::Receiver<DatabaseState> {
        let (sender, database) = watch::channel(DatabaseState::Unspecified);
        let observer = DatabaseObserver::here(self.credentials.clone(), self.held.assignment());
        tasks.spawn(observer.run(sender));
        database
    }

    /// What tells this node's HAProxy of the others.
    fn proxied(&self, tasks: &mut JoinSet<()>, peers: &watch::Receiver<Arc<PeersView>>) {
        let marker = Marker::here(peers.clone(), self.metrics.marks.clone());
        tasks.spawn(marker.run());
        let drainer = Drainer::here(self.held.drained(), self.metrics.drains.clone());
        tasks.spawn(drainer.run());
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

    /// What looks after the node's part in leading the databases.
    fn leading(&self, tasks: &mut JoinSet<()>) -> DatabaseInputs {
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
