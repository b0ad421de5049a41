//! Who this process is, and whom it trusts: private key, certificate and CA bundle.
//!
//! On disk they are one PEM file (key, certificate, CAs), so that they change together or not at
//! all. In a running process they are [`LiveCredentials`]: every TLS handshake reads the current
//! ones, so that a renewal needs neither a restart nor a new listener.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::ca::BACKDATED;
use crate::files;
pub use crate::key::{KeyError, PrivateKey};
pub use crate::leaf::{Leaf, LeafError};
use crate::pem_text::{self, PemError};
use crate::spiffe::SpiffeId;
pub use crate::trust::{BundleError, ChainError, TrustBundle, Usage};
use crate::unix_time::unix_ms;

/// A key with its certificate and the CAs to trust. They belong together: the constructors check.
#[derive(Clone)]
pub struct Credentials {
    key: PrivateKey,
    leaf_der: Vec<u8>,
    leaf: Leaf,
    trust: TrustBundle,
    certified: Arc<CertifiedKey>,
}

/// Why a key, a certificate and CAs do not make credentials. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The file is damaged.
    #[error("the identity file is damaged; re-enrol, or restore it from a backup")]
    Pem(#[from] PemError),
    /// The CA list is not usable.
    #[error("the CA bundle is not usable")]
    Bundle(#[from] BundleError),
    /// The certificate is not from these CAs.
    #[error("the certificate does not fit the CA bundle")]
    Chain(#[from] ChainError),
    /// The key is another one.
    #[error("the private key does not belong to the certificate")]
    OtherKey,
}

/// Why credentials could not be read from a file. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It was read, but is not usable.
    #[error("{path} does not hold a usable identity")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CredentialsError,
    },
}

impl Credentials {
    /// Puts credentials together. An expired certificate is accepted: its holder may re-enrol.
    pub fn new(
        key: PrivateKey,
        leaf_der: Vec<u8>,
        ca_ders: Vec<Vec<u8>>,
    ) -> Result<Self, CredentialsError> {
        let trust = TrustBundle::new(ca_ders)?;
        let leaf = trust.verify_chain_ignoring_expiry(&leaf_der)?;
        if leaf.public_key != key.public_key() {
            return Err(CredentialsError::OtherKey);
        }
        let certified = Arc::new(certified(&key, &leaf_der, &trust)?);
        Ok(Self {
            key,
            leaf_der,
            leaf,
            trust,
            certified,
        })
    }

    /// The same identity, trusting these CAs.
    pub fn trusting(self, ca_ders: Vec<Vec<u8>>) -> Result<Self, CredentialsError> {
        Self::new(self.key, self.leaf_der, ca_ders)
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote.
    pub fn from_pem(text: &str) -> Result<Self, CredentialsError> {
        let (key, mut certificates) = pem_text::parse(text)?;
        let ca_ders = certificates.split_off(1);
        Self::new(key, certificates.remove(0), ca_ders)
    }

    /// Private key, certificate, then the CAs. A secret.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = self.key.to_pem();
        text.push_str(&pem_text::certificate(&self.leaf_der));
        for der in self.trust.ders() {
            text.push_str(&pem_text::certificate(der));
        }
        text
    }

    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_pem(&Zeroizing::new(text)).map_err(|source| LoadError::Content {
            path: path.to_owned(),
            source,
        })
    }

    /// Writes the file at `path`, 0600, atomically and durably.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        files::write_atomic(path, self.to_pem().as_bytes(), files::SECRET)
    }

    /// Whom the certificate names.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The certificate's serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.leaf.serial
    }

    /// The end of its validity.
    pub fn not_after_unix_ms(&self) -> u64 {
        self.leaf.not_after_unix_ms
    }

    /// When two thirds of its life are over.
    pub fn renew_at_unix_ms(&self) -> u64 {
        let backdated = u64::try_from(BACKDATED.as_millis()).unwrap_or(u64::MAX);
        let issued = self.leaf.not_before_unix_ms.saturating_add(backdated);
        let life = self.leaf.not_after_unix_ms.saturating_sub(issued);
        issued.saturating_add(life / 3 * 2)
    }

    /// Whether the certificate's validity is over at `now`.
    pub fn expired(&self, now: SystemTime) -> bool {
        unix_ms(now) > self.leaf.not_after_unix_ms
    }

    /// Signs with the private key (ECDSA P-256 / SHA-256, ASN.1).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message)
    }

    /// The certificate.
    pub fn leaf_der(&self) -> &[u8] {
        &self.leaf_der
    }

    /// The CAs that its holder trusts.
    pub fn trust(&self) -> &TrustBundle {
        &self.trust
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// The chain shown in handshakes ends in the CA itself: an enrolling node, which knows no more
/// than a fingerprint, finds the CA there.
fn certified(
    key: &PrivateKey,
    leaf_der: &[u8],
    trust: &TrustBundle,
) -> Result<CertifiedKey, CredentialsError> {
    let pkcs8 = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    let signer = rustls::crypto::ring::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(pkcs8))
        .map_err(|_| CredentialsError::OtherKey)?;
    let mut chain = vec![CertificateDer::from(leaf_der.to_vec())];
    chain.extend(
        trust
            .issuer_of(leaf_der)
            .map(|der| CertificateDer::from(der.to_vec())),
    );
    Ok(CertifiedKey::new(chain, signer))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("leaf", &self.leaf)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// The credentials of a running process; clones share them. Cheap to clone and to read.
///
/// Also holds the serial numbers that handshakes refuse although their certificates have not
/// expired. A connection that already stands is not touched by either change.
#[derive(Clone)]
pub struct LiveCredentials(Arc<Live>);

struct Live {
    credentials: ArcSwap<Credentials>,
    revoked: ArcSwap<BTreeSet<String>>,
}

/// The new credentials are another identity's. The old ones stay in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the new certificate is for {new}, but this process is {old}; the old one stays in use")]
pub struct OtherIdentity {
    old: SpiffeId,
    new: SpiffeId,
}

impl LiveCredentials {
    /// Starts with `credentials` and nothing revoked.
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(Live {
            credentials: ArcSwap::from_pointee(credentials),
            revoked: ArcSwap::from_pointee(BTreeSet::new()),
        }))
    }

    /// The credentials in use.
    pub fn current(&self) -> Arc<Credentials> {
        self.0.credentials.load_full()
    }

    /// From now on handshakes use `credentials`. They must be for the same identity.
    pub fn replace(&self, credentials: Credentials) -> Result<(), OtherIdentity> {
        let old = self.current();
        if old.spiffe_id() != credentials.spiffe_id() {
            let (old, new) = (old.spiffe_id().clone(), credentials.spiffe_id().clone());
            return Err(OtherIdentity { old, new });
        }
        self.0.credentials.store(Arc::new(credentials));
        Ok(())
    }

    /// From now on handshakes refuse exactly these serial numbers (lower-case hexadecimal).
    pub fn set_revoked(&self, serials: BTreeSet<String>) {
        self.0.revoked.store(Arc::new(serials));
    }

    /// The serial numbers that handshakes refuse.
    pub fn revoked(&self) -> Arc<BTreeSet<String>> {
        self.0.revoked.load_full()
    }
}

impl fmt::Debug for LiveCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveCredentials")
            .field(&self.current())
            .finish()
    }
}
