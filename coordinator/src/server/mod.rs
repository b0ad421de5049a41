//! Builds a coordinator from its files and its store, and runs it.
//!
//! Guarantees: nothing is served before the store was read; an empty store is filled from
//! `bootstrap.json` once and never again; only who leads serves more than where the leader is, and
//! each leadership has an epoch of its own; when asked to stop, long streams are ended, calls in
//! progress finish, and nothing is accepted any more.

mod expose;
mod grantors;
mod health;
mod instead;
mod listeners;
mod recovering;
mod renewal;
mod restore;
mod standby;
mod start;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ca::NODE_VALID;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{Config, Dirs};
use crate::core::Core;
use crate::records::keys;
use crate::store::{EtcdStore, Store, StoreFiles};

pub use listeners::{ListenError, Listeners};
pub use renewal::RenewalError;
pub use start::StartError;

/// How long calls in progress may take when the process is to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything that a coordinator is built from.
#[derive(Debug)]
pub struct Parts {
    /// Its files.
    pub dirs: Dirs,
    /// What it is.
    pub config: Config,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The same store, if it is etcd: its certificates are renewed.
    pub etcd: Option<Arc<EtcdStore>>,
    /// When its certificates expire; 0: it has none of ours.
    pub store_expires_unix_ms: u64,
    /// The wall clock.
    pub clock: Clock,
    /// Where it listens.
    pub listeners: Listeners,
    /// How long the certificates live that agents are given.
    pub agents_valid: Duration,
}

impl Parts {
    /// As the package runs it: its own etcd, and the ports of the contract. Renews the store's
    /// certificates first, so that it gets in however long it was off.
    pub async fn on_this_machine(dirs: Dirs) -> Result<Self, StartError> {
        let config = Config::load(&dirs)?;
        if dirs.outdated().exists() {
            return Err(StartError::Outdated {
                path: dirs.outdated(),
            });
        }
        let clock = Clock::system();
        let store_expires_unix_ms = renewal::renew_store(&dirs, config.address, &clock)?;
        let tls = dirs.store_tls();
        let files = StoreFiles {
            url: config.store.clone(),
            ca: tls.ca,
            identity: tls.client,
        };
        let etcd = Arc::new(EtcdStore::open(files)?);
        let listeners = Listeners::on_ports(config.listen).await?;
        let store: Arc<dyn Store> = Arc::clone(&etcd) as Arc<dyn Store>;
        let etcd = Some(etcd);
        Ok(Self {
            dirs,
            config,
            store,
            etcd,
            store_expires_unix_ms,
            clock,
            listeners,
            agents_valid: NODE_VALID,
        })
    }
}

/// A coordinator that serves.
#[derive(Debug)]
pub struct Running {
    /// What the services share.
    pub core: Arc<Core>,
    /// Where agents and operators call.
    pub api: SocketAddr,
    /// Where nodes enrol.
    pub enrolment: SocketAddr,
    /// Where metrics are scraped.
    pub metrics: SocketAddr,
    /// Where lease datagrams arrive.
    pub leases: SocketAddr,
    /// End when told to stop.
    servers: JoinSet<()>,
    /// Run for ever, and end with this.
    loops: JoinSet<()>,
}

impl Running {
    /// Waits for a service to fail, which none should ever do.
    pub async fn failed(&mut self) {
        self.servers.join_next().await;
    }

    /// Ends everything in good order.
    pub async fn stop(mut self) {
        self.core.stopping.send_replace(true);
        self.core.claims.stop().await;
        self.core.leadership.resign().await;
        let drained = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::info!("some calls were still running after {DRAIN:?}, they are cut off");
        }
        self.servers.shutdown().await;
        self.loops.shutdown().await;
    }
}

/// Starts a coordinator. Waits for the store, and until it leads, for as long as it takes.
pub async fn start(parts: Parts) -> Result<Running, StartError> {
    let (core, served, elector) = start::core(&parts).await?;
    let core = Arc::new(core);
    let mut loops = JoinSet::new();
    loops.spawn(elector.run());
    loops.spawn(crate::world::follow(
        Arc::clone(&core.ledger),
        core.seal.clone(),
        core.world.clone(),
    ));
    loops.spawn(health::watch(Arc::clone(&core)));
    loops.spawn(renewal::follow_revocations(Arc::clone(&core)));
    let renewals = renewal::Renewals {
        core: Arc::clone(&core),
        dirs: parts.dirs,
        address: parts.config.address,
        etcd: parts.etcd,
    };
    loops.spawn(renewals.run());
    let term = standby::until_leading(&core, &parts.listeners).await?;
    start::lead(&core, term).await?;
    let operators = core.ledger.list(keys::OPERATORS).await?;
    loops.spawn(start::mind_the_others(Arc::clone(&core)));
    loops.spawn(crate::joining::settle(Arc::clone(&core)));
    loops.spawn(crate::watcher::judge(Arc::clone(&core)));
    loops.spawn(crate::rotation::drive(Arc::clone(&core)));
    loops.spawn(crate::roles::rollout::drive(Arc::clone(&core)));
    loops.spawn(crate::backup::schedule::run(Arc::clone(&core)));
    let Listeners {
        api,
        enrolment,
        metrics,
        leases,
    } = parts.listeners;
    let mut servers = JoinSet::new();
    let leases = grantors::serve(&core, leases, served, &mut servers, &mut loops)?;
    let api = listeners::serve_api(&core, api, operators, &mut servers)?;
    let enrolment = listeners::serve_enrolment(&core, enrolment, &mut servers)?;
    let metrics = listeners::serve_metrics(&core, metrics, &[&api, &enrolment], &mut loops)?;
    let (api, enrolment, metrics) = (api.address, enrolment.address, metrics.address);
    Ok(Running {
        core,
        api,
        enrolment,
        metrics,
        leases,
        servers,
        loops,
    })
}
