//! The CAs that a member trusts now: one, or several while a CA is being rotated.
//!
//! A certificate counts only if one of these CAs signed it directly (there are no intermediates),
//! it is within its validity, allows the use it is put to, and names exactly one identity.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::ca::Fingerprint;
use crate::leaf::{self, Leaf, LeafError, MAX_CERTIFICATE_BYTES};

/// A rotation needs two; more than a few are a mistake.
pub const MAX_CAS: usize = 8;

/// Trusted CAs, at least one.
#[derive(Clone)]
pub struct TrustBundle {
    ders: Vec<Vec<u8>>,
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why a list of CAs cannot be trusted. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An empty list.
    #[error("no CA certificate is given")]
    Empty,
    /// More than [`MAX_CAS`].
    #[error("more than {MAX_CAS} CA certificates are given")]
    TooMany,
    /// One is not the certificate of a P-256 CA.
    #[error("certificate {0} of the bundle is not that of an ECDSA P-256 CA")]
    NotACa(usize),
}

/// Why a certificate is not believed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is not one of a site.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Its validity is over.
    #[error("the certificate expired at {not_after_unix_ms} (Unix ms); renew or re-enrol")]
    Expired {
        /// When.
        not_after_unix_ms: u64,
    },
    /// Its validity has not begun.
    #[error("the certificate is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// None of the trusted CAs signed it.
    #[error("the certificate is not from a CA of this site")]
    UnknownCa,
    /// Anything else.
    #[error("the certificate is not acceptable ({0})")]
    Other(String),
}

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// By the side that dials, or as a signer of messages.
    Client,
    /// By the side that listens.
    Server,
}

impl TrustBundle {
    /// Trusts the CAs of `ders`.
    pub fn new(ders: Vec<Vec<u8>>) -> Result<Self, BundleError> {
        if ders.is_empty() {
            return Err(BundleError::Empty);
        }
        if ders.len() > MAX_CAS {
            return Err(BundleError::TooMany);
        }
        let mut anchors = Vec::with_capacity(ders.len());
        for (place, der) in ders.iter().enumerate() {
            leaf::ca_facts(der).ok_or(BundleError::NotACa(place))?;
            let certificate = CertificateDer::from(der.as_slice());
            let anchor =
                anchor_from_trusted_cert(&certificate).map_err(|_| BundleError::NotACa(place))?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self { ders, anchors })
    }

    /// The certificates, in the order given.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// Whether the CA with this fingerprint is trusted.
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.ders
            .iter()
            .any(|der| Fingerprint::of(der) == *fingerprint)
    }

    /// Whether one of the CAs signed a message that is no certificate and names its purpose.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut cas = self.ders.iter().filter_map(|der| leaf::ca_facts(der));
        cas.any(|ca| crate::key::signature_is_valid(&ca.public_key, message, signature))
    }

    /// Checks signature, validity at `now` and use as a client; says whom the certificate names.
    pub fn verify_chain(&self, leaf_der: &[u8], now: SystemTime) -> Result<Leaf, ChainError> {
        self.verify_for(leaf_der, now, Usage::Client)
    }

    /// As [`verify_chain`](Self::verify_chain), for either side of a connection.
    pub fn verify_for(
        &self,
        leaf_der: &[u8],
        now: SystemTime,
        usage: Usage,
    ) -> Result<Leaf, ChainError> {
        if leaf_der.len() > MAX_CERTIFICATE_BYTES {
            return Err(LeafError::Malformed.into());
        }
        let leaf = Leaf::parse_unverified(leaf_der)?;
        self.chained(leaf_der, now, usage, None)?;
        Ok(leaf)
    }

    /// Checks the certificate of a service of the site, which names no identity but where it is
    /// reached: signature, validity at `now`, use as a server, and that name.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn verify_service(
        &self,
        leaf_der: &[u8],
        name: &ServerName<'_>,
        now: SystemTime,
    ) -> Result<(), ChainError> {
        if leaf_der.len() > MAX_CERTIFICATE_BYTES {
            return Err(LeafError::Malformed.into());
        }
        self.chained(leaf_der, now, Usage::Server, Some(name))
    }

    fn chained(
        &self,
        leaf_der: &[u8],
        now: SystemTime,
        usage: Usage,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), ChainError> {
        let der = CertificateDer::from(leaf_der);
        let certificate = EndEntityCert::try_from(&der).map_err(|_| LeafError::Malformed)?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let usage = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        let chained = certificate.verify_for_usage(
            &[webpki::ring::ECDSA_P256_SHA256],
            &self.anchors,
            &[],
            UnixTime::since_unix_epoch(since),
            usage,
            None,
            None,
        );
        chained.map_err(|error| refusal(&error))?;
        match name {
            Some(name) => certificate
                .verify_is_valid_for_subject_name(name)
                .map_err(|error| refusal(&error)),
            None => Ok(()),
        }
    }

    /// Checks everything but the present: signature and use, at the last second of the
    /// certificate's own validity. For the re-enrolment of a node that slept past its expiry.
    pub fn verify_chain_ignoring_expiry(&self, leaf_der: &[u8]) -> Result<Leaf, ChainError> {
        let end_unix_ms = Leaf::parse_unverified(leaf_der)?.not_after_unix_ms;
        self.verify_chain(leaf_der, UNIX_EPOCH + Duration::from_millis(end_unix_ms))
    }

    /// The CA that signed `leaf_der`, whatever the time.
    pub(crate) fn issuer_of(&self, leaf_der: &[u8]) -> Option<&[u8]> {
        self.ders.iter().map(Vec::as_slice).find(|der| {
            Self::new(vec![der.to_vec()])
                .is_ok_and(|one| one.verify_chain_ignoring_expiry(leaf_der).is_ok())
        })
    }
}

fn refusal(error: &webpki::Error) -> ChainError {
    match error {
        webpki::Error::CertExpired { not_after, .. } => ChainError::Expired {
            not_after_unix_ms: not_after.as_secs().saturating_mul(1000),
        },
        webpki::Error::CertNotValidYet { .. } => ChainError::NotYetValid,
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            ChainError::UnknownCa
        }
        other => ChainError::Other(other.to_string()),
    }
}

impl std::fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fingerprints = self.ders.iter().map(|der| Fingerprint::of(der).to_string());
        f.debug_list().entries(fingerprints).finish()
    }
}
