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

use hamesh_proto::credentials::Credentials;
use hamesh_proto::ids::NodeId;
use hamesh_proto::metrics_http::{serve_tls, serve_unix};
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::ListenerCounters;
use hamesh_proto::unix_time::unix_ms;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::claims::run_dir::RunDir;
use crate::cli::Places;
use crate::held::describe;
use crate::http::{accept, bind_local, bind_metrics, local_pages, site_pages};
use crate::metrics::Metrics;
use crate::state::{StateDir, StateLock};
use crate::status::Sources;

mod parts;
mod start_error;

use parts::Parts;
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
