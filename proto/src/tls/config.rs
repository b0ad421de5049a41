//! rustls configurations. They read [`LiveCredentials`] at each handshake, so one configuration
//! serves for the life of the process.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;

use super::peer::Expect;
use super::verify::{ClientVerifier, LeafVerifier, PinnedVerifier, ServerVerifier};
use crate::ca::Fingerprint;
use crate::credentials::LiveCredentials;

/// Whether a listener asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without a valid certificate of the site is refused.
    Required,
    /// Clients stay unknown: for enrolment only.
    None,
}

/// The protocol inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2, for gRPC.
    H2,
    /// HTTP/1.1, for metrics.
    Http1,
}

impl Alpn {
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::H2 => vec![b"h2".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
        }
    }
}

const TLS13_IS_THERE: &str = "ring's provider speaks TLS 1.3";

/// For a listener.
pub fn server_config(live: &LiveCredentials, auth: ClientAuth, alpn: Alpn) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect(TLS13_IS_THERE);
    let builder = match auth {
        ClientAuth::Required => {
            builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(live.clone())))
        }
        ClientAuth::None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(LiveResolver(live.clone())));
    config.alpn_protocols = alpn.protocols();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// For dialling a member of the site that is as `expect` says, showing our own certificate.
pub fn client_config(live: &LiveCredentials, expect: Expect, alpn: Alpn) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect(TLS13_IS_THERE)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(live.clone(), expect)))
        .with_client_cert_resolver(Arc::new(LiveResolver(live.clone())));
    config.alpn_protocols = alpn.protocols();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// For dialling a coordinator of a site of which only the CA's fingerprint is known.
pub fn pinned_config(ca: Fingerprint) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect(TLS13_IS_THERE)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier::new(ca)))
        .with_no_client_auth();
    config.alpn_protocols = Alpn::H2.protocols();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// For dialling a program of the site that is none of ours: it shows a certificate of one of the
/// CAs of the moment, made out to the address that is dialled, and sees our own.
pub(crate) fn program_config(live: &LiveCredentials) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let current = live.current();
    let ders = current.trust().ders().iter();
    roots.add_parsable_certificates(ders.map(|der| CertificateDer::from(der.as_slice())));
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect(TLS13_IS_THERE)
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(LiveResolver(live.clone())));
    config.alpn_protocols = Alpn::Http1.protocols();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// For looking whether a server shows exactly this certificate. Nothing is to be said to it.
pub(super) fn leaf_config(der: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect(TLS13_IS_THERE)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LeafVerifier::new(der)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Presents the certificate of the moment.
#[derive(Debug)]
struct LiveResolver(LiveCredentials);

impl ResolvesServerCert for LiveResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }
}

impl ResolvesClientCert for LiveResolver {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
