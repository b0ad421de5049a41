//! From files and an answering store to the shared parts.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hamesh_proto::ca::CertificateAuthority;
use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::ids::SiteName;
use hamesh_proto::seal::SealKey;
use hamesh_roles::Site;
use tokio::sync::watch;

use super::listeners::ListenError;
use super::{Parts, recovering, renewal, restore};
use crate::authority::Authority;
use crate::claims::keys::{LeaseSecret, SecretError};
use crate::claims::{Claims, Served};
use crate::config::{ConfigError, Dirs, read};
use crate::core::Core;
use crate::databases::Databases;
use crate::init::Bootstrap;
use crate::leadership::{self, Elector};
use crate::ledger::{Change, CommitError, EventKind, Kept, Ledger, ReadError};
use crate::metrics::Metrics;
use crate::notify::notify;
use crate::records::{CoordinatorPart, CoordinatorRecord, EpochRecord, SiteRecord, keys};
use crate::roles::Roles;
use crate::rotation::{self, Progress};
use crate::sessions::Sessions;
use crate::store::{Membership, MeteredStore, StoreError};
use crate::upgrade::Upgrades;
use crate::world::{World, WorldError};

/// The pause between two attempts to reach the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its certificates.
    #[error("the coordinator's own certificates cannot be renewed: {0}")]
    Renewal(#[from] renewal::RenewalError),
    /// Its ports.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of the store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A first record that could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The state in the store.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The lease keys' secret in the store.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The grantors' thread.
    #[error("the grantors' thread cannot start: {0}; is the machine out of descriptors?")]
    Thread(std::io::Error),
    /// The number of this machine.
    #[error("the file `instance` cannot be used: {0}; it must belong to the user `hamesh`")]
    Instance(std::io::Error),
    /// The site was restored elsewhere.
    #[error(
        "this coordinator stopped for good, for its site was restored elsewhere; {path} tells more"
    )]
    Outdated {
        /// The note of that.
        path: std::path::PathBuf,
    },
    /// The store is empty, and there is nothing to fill it with.
    #[error(
        "the store is empty, but this coordinator is not new ({path} is missing); restore the \
             store from a backup"
    )]
    Emptied {
        /// What a new coordinator has.
        path: std::path::PathBuf,
    },
    /// Another site's store.
    #[error(
        "the store is that of the site {found}, but this coordinator is of {configured}; \
             nothing was changed; restore the right files or the right store"
    )]
    OtherSite {
        /// The site in the store.
        found: SiteName,
        /// The site of `coordinator.json`.
        configured: SiteName,
    },
}

/// The shared parts, read and renewed.
pub(super) async fn core(parts: &Parts) -> Result<(Core, Served, Elector), StartError> {
    let metrics = Metrics::new();
    let store = MeteredStore::new(
        Arc::clone(&parts.store),
        metrics.store_seconds.clone(),
        metrics.store_failures.clone(),
    );
    let ledger = Arc::new(Ledger::new(Arc::new(store), metrics.events.clone()));
    let seal = seal_key(&parts.dirs)?;
    let authority = authority(&parts.dirs)?.with_agents_valid(parts.agents_valid);
    answering(&ledger).await;
    let actor = format!("coordinator/{}", parts.config.node);
    import(parts, &ledger, &seal, &actor).await?;
    let world = World::read(ledger.store().as_ref(), &seal, None).await?;
    let identity = identity(parts, &authority, &world.desired.site)?;
    let change = Change::new(actor, parts.clock.unix_ms());
    let secret = LeaseSecret::load(&ledger, &seal, change).await?;
    let (claims, served) = Claims::new(secret).map_err(StartError::Thread)?;
    let instance = leadership::instance(&parts.dirs.instance()).map_err(StartError::Instance)?;
    let (node, clock) = (parts.config.node.clone(), parts.clock.clone());
    let (elector, leadership) = Elector::new(Arc::clone(&ledger), clock, node, instance);
    let core = Core {
        site: parts.config.site.clone(),
        node: parts.config.node.clone(),
        term: OnceLock::new(),
        leadership,
        clock: parts.clock.clone(),
        ledger,
        authority,
        live: LiveCredentials::new(identity),
        dirs: parts.dirs.clone(),
        members: parts.etcd.clone().map(|etcd| etcd as Arc<dyn Membership>),
        store_expires_unix_ms: parts.store_expires_unix_ms.into(),
        seal,
        metrics,
        sessions: Sessions::default(),
        claims,
        upgrades: Upgrades::default(),
        roles: Roles::default(),
        databases: Databases::default(),
        world: watch::channel(Arc::new(world)).0,
        verdicts: watch::channel(Arc::new(BTreeMap::new())).0,
        rotation: watch::channel(Progress::unknown()).0,
        outdated: watch::channel(false).0,
        stopping: watch::channel(false).0,
    };
    Ok((core, served, elector))
}

/// This coordinator leads from now on: what it writes passes only as long as nobody succeeded it,
/// and what it knows is read anew.
pub(super) async fn lead(core: &Core, term: u64) -> Result<(), StartError> {
    let kept: Option<Kept<EpochRecord>> = core.ledger.read(keys::EPOCH).await?;
    if let Some(kept) = kept.filter(|kept| kept.value.epoch == term) {
        core.ledger.guard_by(&kept);
    }
    core.term.get_or_init(|| term);
    let key = keys::coordinator(&core.node);
    let own: Option<Kept<CoordinatorRecord>> = core.ledger.read(&key).await?;
    if own.is_none() {
        let record = CoordinatorRecord {
            part: CoordinatorPart::Member,
            added_unix_ms: core.clock.unix_ms(),
            added_by: core.path(),
        };
        let change = core.own_change().create(&key, &record);
        match core.ledger.commit(change).await {
            // A conflict: it was succeeded already, and will hear of it.
            Ok(()) | Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let world = World::read(core.ledger.store().as_ref(), &core.seal, None).await?;
    core.leadership.alone(alone(core, &world));
    core.world.send_replace(Arc::new(world));
    Ok(())
}

/// Keeps it known whether there are other coordinators. Runs for ever.
pub(super) async fn mind_the_others(core: Arc<Core>) {
    let mut world = core.world.subscribe();
    loop {
        let alone = alone(&core, &world.borrow_and_update());
        core.leadership.alone(alone);
        if world.changed().await.is_err() {
            return;
        }
    }
}

/// Whether nobody else can lead.
fn alone(core: &Core, world: &World) -> bool {
    world.coordinators.keys().all(|node| *node == core.node)
}

fn seal_key(dirs: &Dirs) -> Result<SealKey, ConfigError> {
    let path = dirs.seal_key();
    SealKey::load(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::NotInitialised { path },
        std::io::ErrorKind::InvalidData => ConfigError::Damaged {
            path,
            problem: source.to_string(),
        },
        _ => ConfigError::Read { path, source },
    })
}

pub(super) fn authority(dirs: &Dirs) -> Result<Authority, ConfigError> {
    Ok(Authority::new(certificate_authority(&dirs.ca())?))
}

/// A CA's key and certificate.
pub(super) fn certificate_authority(
    path: &std::path::Path,
) -> Result<CertificateAuthority, ConfigError> {
    let damaged = |problem: String| ConfigError::Damaged {
        path: path.to_owned(),
        problem,
    };
    let text = zeroize::Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&text).map_err(|error| damaged(error.to_string()))?;
    CertificateAuthority::from_pem(text).map_err(|error| damaged(error.to_string()))
}

/// The coordinator's identity, renewed if it is due: the CA is here, so that a coordinator that
/// was off for longer than its certificate lives gets a new one.
pub(super) fn identity(
    parts: &Parts,
    authority: &Authority,
    site: &Site,
) -> Result<Credentials, StartError> {
    let path = parts.dirs.identity();
    let damaged = |problem: String| ConfigError::Damaged {
        path: path.clone(),
        problem,
    };
    let text = zeroize::Zeroizing::new(read(&path)?);
    let text = std::str::from_utf8(&text).map_err(|error| damaged(error.to_string()))?;
    let found = Credentials::from_pem(text).map_err(|error| damaged(error.to_string()))?;
    if found.renew_at_unix_ms() > parts.clock.unix_ms() {
        return Ok(found);
    }
    Ok(renewal::fresh_identity(
        &path,
        authority,
        site,
        &parts.config.node,
        &parts.clock,
    )?)
}

/// Waits until the store answers.
async fn answering(ledger: &Ledger) {
    let mut told = false;
    while let Err(problem) = ledger.read::<SiteRecord>(keys::SITE).await {
        // What is damaged stays so: the next reading reports it.
        if matches!(problem, ReadError::Decode(_)) {
            return;
        }
        if !told {
            tracing::warn!(%problem, "waiting for the store");
            notify("STATUS=waiting for the store");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if told {
        tracing::info!("the store answers");
        notify("STATUS=");
    }
}

/// Puts the first desired state, the first operator and the first gossip key into an empty store.
async fn import(
    parts: &Parts,
    ledger: &Ledger,
    seal: &SealKey,
    actor: &str,
) -> Result<(), StartError> {
    let path = parts.dirs.bootstrap();
    let mut found: Option<Kept<SiteRecord>> = ledger.read(keys::SITE).await?;
    if found.is_none() && parts.dirs.recover().exists() && !parts.dirs.rebirth().exists() {
        recovering::until_finished(parts, seal).await?;
    }
    if found.is_none() && parts.dirs.rebirth().exists() {
        restore::import(parts, ledger, actor).await?;
        found = ledger.read(keys::SITE).await?;
    }
    if found.is_none() {
        let bytes = std::fs::read(&path).map_err(|_| StartError::Emptied { path: path.clone() })?;
        let bootstrap: Bootstrap =
            serde_json::from_slice(&bytes).map_err(|error| ConfigError::Damaged {
                path: path.clone(),
                problem: error.to_string(),
            })?;
        let operator = &bootstrap.operator;
        let change = Change::new(actor, parts.clock.unix_ms())
            .create(keys::SITE, &bootstrap.site)
            .create(keys::DESIRED, &bootstrap.desired)
            .create(keys::GOSSIP, &rotation::first(seal))
            .create(&keys::operator(&operator.name), operator)
            .event(
                EventKind::SiteInitialised,
                None,
                format!(
                    "the site {} begins, its first admin is {}",
                    bootstrap.site.site, operator.name
                ),
            );
        match ledger.commit(change).await {
            // A conflict: another coordinator was faster.
            Ok(()) | Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        found = ledger.read(keys::SITE).await?;
    }
    if let Some(found) = found
        && found.value.site != parts.config.site
    {
        let configured = parts.config.site.clone();
        return Err(StartError::OtherSite {
            found: found.value.site,
            configured,
        });
    }
    // It has served: a store that is emptied later must not be filled with the site's first day.
    for path in [path, parts.dirs.recover(), parts.dirs.rebirth()] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove what was imported");
        }
    }
    Ok(())
}
