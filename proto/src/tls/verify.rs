//! Decides in a handshake whether the peer's certificate is believed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::peer::Expect;
use crate::ca::Fingerprint;
use crate::credentials::LiveCredentials;
use crate::leaf::Leaf;
use crate::spiffe::{Principal, SpiffeId};
use crate::trust::{ChainError, TrustBundle, Usage};

/// Why a certificate that chains is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unwelcome {
    #[error("the peer is {0}, of another site")]
    OtherSite(SpiffeId),
    #[error("the peer is {shown}, where {expected} was expected")]
    NotExpected { shown: SpiffeId, expected: String },
    #[error("the peer shows the certificate {shown}, not {expected}")]
    OtherLeaf {
        shown: Fingerprint,
        expected: Fingerprint,
    },
    #[error("the peer's chain does not hold the CA with the pinned fingerprint {0}")]
    NotPinned(Fingerprint),
}

/// Accepts members of our own site: any of them as a client.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    live: LiveCredentials,
}

impl ClientVerifier {
    pub(super) fn new(live: LiveCredentials) -> Self {
        Self { live }
    }
}

/// Accepts those servers of our own site that are expected.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    live: LiveCredentials,
    expect: Expect,
}

impl ServerVerifier {
    pub(super) fn new(live: LiveCredentials, expect: Expect) -> Self {
        Self { live, expect }
    }
}

/// Accepts services of our own site that are named as they were dialled.
#[derive(Debug)]
pub(super) struct ServiceVerifier {
    live: LiveCredentials,
}

impl ServiceVerifier {
    pub(super) fn new(live: LiveCredentials) -> Self {
        Self { live }
    }
}

/// Accepts a coordinator whose chain ends in the CA with one fingerprint: for enrolment.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    ca: Fingerprint,
}

impl PinnedVerifier {
    pub(super) fn new(ca: Fingerprint) -> Self {
        Self { ca }
    }
}

/// Accepts exactly one certificate, whoever issued it: to see that a server has it.
#[derive(Debug)]
pub(super) struct LeafVerifier {
    leaf: Fingerprint,
}

impl LeafVerifier {
    pub(super) fn new(der: &[u8]) -> Self {
        let leaf = Fingerprint::of(der);
        Self { leaf }
    }
}

fn verify(
    live: &LiveCredentials,
    der: &CertificateDer<'_>,
    now: UnixTime,
    usage: Usage,
) -> Result<Leaf, Error> {
    let own = live.current();
    let leaf = own
        .trust()
        .verify_for(der, system_time(now), usage)
        .map_err(chain_error)?;
    if leaf.id.site != own.spiffe_id().site {
        return Err(unwelcome(Unwelcome::OtherSite(leaf.id)));
    }
    if live.revoked().contains(&leaf.serial) {
        return Err(CertificateError::Revoked.into());
    }
    Ok(leaf)
}

fn system_time(now: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

/// Chooses the TLS alert that tells the peer what to do about it.
fn chain_error(error: ChainError) -> Error {
    let certificate_error = match error {
        ChainError::Expired { .. } => CertificateError::Expired,
        ChainError::NotYetValid => CertificateError::NotValidYet,
        ChainError::UnknownCa => CertificateError::UnknownIssuer,
        ChainError::Leaf(_) | ChainError::Other(_) => {
            CertificateError::Other(OtherError(Arc::new(error)))
        }
    };
    Error::InvalidCertificate(certificate_error)
}

fn unwelcome(reason: Unwelcome) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

/// Certificates carry P-256 keys only, and TLS 1.3 ties such a key to this scheme.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ECDSA_NISTP256_SHA256]
}

/// How every verifier checks the signature of a handshake.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &algorithms())
        }
    };
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        verify(&self.live, end_entity, now, Usage::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = verify(&self.live, end_entity, now, Usage::Server)?;
        if !self.expect.accepts(&leaf.id.principal) {
            let expected = self.expect.to_string();
            return Err(unwelcome(Unwelcome::NotExpected {
                shown: leaf.id,
                expected,
            }));
        }
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = self.live.current();
        let named = own
            .trust()
            .verify_service(end_entity, server_name, system_time(now));
        named.map_err(chain_error)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates
            .iter()
            .find(|der| Fingerprint::of(der) == self.ca)
            .ok_or_else(|| unwelcome(Unwelcome::NotPinned(self.ca)))?;
        let bundle = TrustBundle::new(vec![pinned.to_vec()])
            .map_err(|_| unwelcome(Unwelcome::NotPinned(self.ca)))?;
        let leaf = bundle
            .verify_for(end_entity, system_time(now), Usage::Server)
            .map_err(chain_error)?;
        match leaf.id.principal {
            Principal::Coordinator(_) => Ok(ServerCertVerified::assertion()),
            Principal::Agent(_) | Principal::Operator(_) => {
                let expected = Expect::Coordinator.to_string();
                Err(unwelcome(Unwelcome::NotExpected {
                    shown: leaf.id,
                    expected,
                }))
            }
        }
    }

    tls13_signatures!();

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ServerCertVerifier for LeafVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (shown, expected) = (Fingerprint::of(end_entity), self.leaf);
        match shown == expected {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(unwelcome(Unwelcome::OtherLeaf { shown, expected })),
        }
    }

    tls13_signatures!();

    /// Operators' keys are of any kind.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
