//! Dialling.
//!
//! A connection counts as made only when the other side has spoken: in TLS 1.3 a client finishes
//! its handshake before the server has looked at the client's certificate, so that a refusal would
//! otherwise surface later, as an unexplained broken connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::config::{Alpn, client_config, leaf_config, pinned_config};
use super::peer::Expect;
use super::{KEEP_ALIVE_EVERY, KEEP_ALIVE_TIMEOUT, tune};
use crate::ca::Fingerprint;
use crate::credentials::LiveCredentials;

/// For the TCP connection, the handshake and the first byte together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(2500);

/// Why there is no connection. Nothing was sent beyond the handshake; dialling again is safe.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer in time.
    #[error("{addr} did not answer within {CONNECT_TIMEOUT:?}")]
    Timeout {
        /// Whom we dialled.
        addr: SocketAddr,
    },
    /// The network or the other machine said no.
    #[error("cannot connect to {addr}")]
    Tcp {
        /// Whom we dialled.
        addr: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The other side refused our certificate.
    #[error("{addr} refused our certificate: {reason}")]
    Refused {
        /// Whom we dialled.
        addr: SocketAddr,
        /// What to do about it.
        reason: &'static str,
    },
    /// We do not believe the other side, or it does not speak TLS 1.3.
    #[error("no trusted connection to {addr}")]
    Tls {
        /// Whom we dialled.
        addr: SocketAddr,
        /// The reason of the TLS library.
        source: io::Error,
    },
}

/// A gRPC channel to a member of our own site. It dials when first used, and again when the
/// connection broke, always with the credentials of the moment.
pub fn channel(addr: SocketAddr, live: &LiveCredentials, expect: Expect) -> Channel {
    lazy_channel(addr, client_config(live, expect, Alpn::H2))
}

/// A gRPC channel for enrolment: we show nothing, and trust the CA with this fingerprint alone.
pub fn pinned_channel(addr: SocketAddr, ca: Fingerprint) -> Channel {
    lazy_channel(addr, pinned_config(ca))
}

/// Dials `addr`; [`Alpn::H2`] servers of ours speak first, others are not waited for.
pub async fn connect(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    match timeout(CONNECT_TIMEOUT, dial(addr, config)).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::Timeout { addr }),
    }
}

/// Looks whether whoever listens at `addr` shows this certificate (DER), and has its key.
///
/// # Errors
/// [`ConnectError::Tls`] when it is another; nobody answers.
pub async fn shows(addr: SocketAddr, leaf: &[u8]) -> Result<(), ConnectError> {
    connect(addr, leaf_config(leaf)).await.map(drop)
}

async fn dial(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let server_speaks_first = config.alpn_protocols == Alpn::H2.protocols();
    let tcp = async {
        let stream = TcpStream::connect(addr).await?;
        tune(&stream)?;
        Ok(stream)
    };
    let stream = tcp
        .await
        .map_err(|source| ConnectError::Tcp { addr, source })?;
    let name = ServerName::from(addr.ip());
    let connecting = TlsConnector::from(config).connect(name, stream).await;
    let mut stream = connecting.map_err(|error| tls_error(addr, error))?;
    if server_speaks_first {
        let spoken = stream
            .fill_buf()
            .await
            .map_err(|error| tls_error(addr, error))?;
        if spoken.is_empty() {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(ConnectError::Tls { addr, source });
        }
    }
    Ok(stream)
}

fn tls_error(addr: SocketAddr, source: io::Error) -> ConnectError {
    let inner = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => match alert_reason(*alert) {
            Some(reason) => ConnectError::Refused { addr, reason },
            None => ConnectError::Tls { addr, source },
        },
        Some(_) | None => ConnectError::Tls { addr, source },
    }
}

/// What an alert about our own certificate asks for.
fn alert_reason(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateExpired => {
            Some("it has expired or is not valid yet; compare the clocks, then re-enrol")
        }
        AlertDescription::CertificateRevoked => Some("it has been revoked"),
        AlertDescription::UnknownCA => Some("it is not from a CA that this site trusts"),
        AlertDescription::CertificateRequired => Some("none was shown"),
        AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::AccessDenied => Some("it is not an identity of this site"),
        _ => None,
    }
}

impl ConnectError {
    /// The connection failed because one side did not believe the other: trying again will not
    /// help until someone acts.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Timeout { .. } | Self::Tcp { .. } => false,
            Self::Tls { source, .. } => {
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
                matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
            }
        }
    }

    /// Our side refused because the other's certificate has expired.
    pub fn server_expired(&self) -> bool {
        let Self::Tls { source, .. } = self else {
            return false;
        };
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(
            inner,
            Some(rustls::Error::InvalidCertificate(CertificateError::Expired))
        )
    }

    /// The [`ConnectError`] behind an error of a channel, if there is one.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

fn lazy_channel(addr: SocketAddr, config: Arc<ClientConfig>) -> Channel {
    let connector = tower::service_fn(move |_uri: http::Uri| {
        let config = Arc::clone(&config);
        async move { connect(addr, config).await.map(TokioIo::new) }
    });
    endpoint().connect_with_connector_lazy(connector)
}

/// The other end of a gRPC channel, whose connector dials and does TLS. A connection that fell
/// silent is noticed within [`KEEP_ALIVE_EVERY`] and [`KEEP_ALIVE_TIMEOUT`].
pub fn endpoint() -> Endpoint {
    // The name only fills HTTP's authority field: the peer is known by its certificate. The
    // scheme is that of what flows inside TLS.
    Endpoint::from_static("http://hamesh")
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}
