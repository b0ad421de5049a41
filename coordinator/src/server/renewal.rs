//! Renews the coordinator's own certificates and the store's, without a restart of anything.
//!
//! The CAs are on this machine, so a renewal asks nobody. What was written is complete at any
//! instant, and a connection that stands is left alone.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hamesh_proto::ca::IssueError;
use hamesh_proto::credentials::{Credentials, CredentialsError, OtherIdentity, PrivateKey};
use hamesh_proto::ids::NodeId;
use hamesh_roles::Site;
use tokio::time::Instant;

use super::start::certificate_authority;
use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::{ConfigError, Dirs};
use crate::core::Core;
use crate::init::store_tls::{self, StoreTlsError};
use crate::store::{EtcdStore, StoreError};

/// How often it is looked at whether something is due: short beside the lives of certificates.
const EVERY: Duration = Duration::from_secs(600);

/// Why a certificate was not renewed. The one in use stays.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it all")]
pub enum RenewalError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Identity(#[from] OtherIdentity),
    #[error("cannot write {path}: {source}")]
    Write {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    StoreTls(#[from] StoreTlsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A new identity with a new key, on disk.
pub(super) fn fresh_identity(
    path: &Path,
    authority: &Authority,
    site: &Site,
    node: &NodeId,
    clock: &Clock,
) -> Result<Credentials, RenewalError> {
    let key = PrivateKey::generate();
    let issued = authority.coordinator(site, node, &key.csr_der(), clock.now())?;
    let ca = authority.ca().certificate_der().to_vec();
    let credentials = Credentials::new(key, issued.der, vec![ca])?;
    credentials
        .save(path)
        .map_err(|source| RenewalError::Write {
            path: path.to_owned(),
            source,
        })?;
    Ok(credentials)
}

/// New certificates for both ends of the store. Returns when they expire.
pub(super) fn renew_store(
    dirs: &Dirs,
    address: IpAddr,
    clock: &Clock,
) -> Result<u64, RenewalError> {
    let ca = certificate_authority(&dirs.store_ca())?;
    Ok(store_tls::issue(
        &dirs.store_tls(),
        &ca,
        &[address],
        clock.now(),
    )?)
}

/// Renews what is due.
pub(super) struct Renewals {
    pub core: Arc<Core>,
    pub dirs: Dirs,
    pub address: IpAddr,
    /// `None`: the store has no certificates of ours.
    pub etcd: Option<Arc<EtcdStore>>,
}

impl Renewals {
    /// Runs for ever.
    pub async fn run(self) {
        // The store's certificates were renewed just before this start.
        let mut store_renewed = Instant::now();
        loop {
            if self.core.live.current().renew_at_unix_ms() <= self.core.clock.unix_ms() {
                report("identity", self.identity());
            }
            if let Some(etcd) = &self.etcd
                && store_renewed.elapsed() >= store_tls::VALID / 3
            {
                let renewed = self.store(etcd);
                if renewed.is_ok() {
                    store_renewed = Instant::now();
                }
                report("store", renewed);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn identity(&self) -> Result<(), RenewalError> {
        let core = &self.core;
        let site = &core.world().desired.site;
        let path = self.dirs.identity();
        let fresh = fresh_identity(&path, &core.authority, site, &core.node, &core.clock)?;
        Ok(core.live.replace(fresh)?)
    }

    fn store(&self, etcd: &EtcdStore) -> Result<(), RenewalError> {
        let expires = renew_store(&self.dirs, self.address, &self.core.clock)?;
        self.core
            .store_expires_unix_ms
            .store(expires, Ordering::Relaxed);
        Ok(etcd.reload()?)
    }
}

fn report(certificate: &str, renewed: Result<(), RenewalError>) {
    match renewed {
        Ok(()) => tracing::info!(certificate, "renewed"),
        Err(error) => tracing::error!(certificate, %error, "cannot be renewed; trying again"),
    }
}

/// Tells the handshakes which serial numbers are revoked. Runs for ever.
pub(super) async fn follow_revocations(core: Arc<Core>) {
    let mut world = core.world.subscribe();
    loop {
        let revoked = world
            .borrow_and_update()
            .desired
            .record
            .revoked
            .keys()
            .cloned()
            .collect();
        core.live.set_revoked(revoked);
        if world.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_slept_past_its_certificates_gets_new_ones() {
        let temporary = tempfile::tempdir().expect("a directory");
        let request = crate::testing::init_request(temporary.path());
        crate::init::init(&request).expect("a site");
        let clock = Clock::system();
        let before = std::fs::read(request.dirs.store_tls().server).expect("a certificate");
        clock.advance(store_tls::VALID * 2);
        let address = IpAddr::from([192, 168, 56, 31]);
        let expires = renew_store(&request.dirs, address, &clock).expect("renewed");
        let after = std::fs::read(request.dirs.store_tls().server).expect("a certificate");
        assert_ne!(before, after);
        assert!(expires > clock.unix_ms());
    }
}
