//! The way to a coordinator: each is tried in turn, and the first that answers is used.
//!
//! A request is sent once and to one coordinator only. What fails before that, while connecting,
//! is told for every address; what fails after it is told as such, because something may have been
//! changed. The operator's certificate is renewed in passing once two thirds of its life are over.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::tls::{self, Alpn, ConnectError, Expect, KEEP_ALIVE_EVERY, KEEP_ALIVE_TIMEOUT};
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_proto::v1::claims_client::ClaimsClient;
use hamesh_proto::v1::operators_client::OperatorsClient;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::context::Context;
use super::failure::{Failure, chain};
use super::time::{Moment, span};

/// How long a coordinator may take for one answer; the longest are a few writes to the store.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer: the status of 200 nodes is under 1 MiB.
const LARGEST_ANSWER: usize = 16 << 20;

/// The Operators service of one coordinator.
pub type Client = OperatorsClient<Channel>;

/// A connection to a coordinator, and the context it was made from.
pub struct Link {
    /// The service.
    pub client: Client,
    /// The service for claims.
    pub claims: ClaimsClient<Channel>,
    live: LiveCredentials,
    file: PathBuf,
    context: Context,
}

impl Link {
    /// Connects to the first coordinator of the context in `file` that answers. `now` decides
    /// whether the certificate is to be renewed.
    pub async fn open(file: PathBuf, now: SystemTime) -> Result<Link, Failure> {
        let context = Context::load(&file)?;
        let credentials = &context.credentials;
        let now_ms = unix_ms(now);
        if credentials.expired(now) {
            let past = now_ms.saturating_sub(credentials.not_after_unix_ms());
            let operator = credentials.spiffe_id().principal.path();
            return Err(Failure::Expired {
                operator,
                ago: span(past),
            });
        }
        let live = LiveCredentials::new(credentials.clone());
        let channel = first_channel(&context.coordinators, &live).await?;
        let claims = ClaimsClient::new(channel.clone());
        let mut link = Link {
            client: client(channel),
            claims: claims.max_decoding_message_size(LARGEST_ANSWER),
            live,
            file,
            context,
        };
        if now_ms >= link.context.credentials.renew_at_unix_ms() {
            link.renew(Moment(now_ms)).await;
        }
        Ok(link)
    }

    /// The context in use.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether the certificate of this connection has run out.
    pub fn expired(&self, now: SystemTime) -> bool {
        self.context.credentials.expired(now)
    }

    /// Whether the connection was lost, so that it is worth opening another.
    pub fn lost(status: &tonic::Status) -> bool {
        use tonic::Code;
        let lost = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled
        );
        lost || ConnectError::find(status).is_some()
    }

    /// Renews the certificate. The old one is good for a while yet: a renewal that fails is told
    /// and tried again with the next command.
    async fn renew(&mut self, now: Moment) {
        if let Err(reason) = self.try_renew().await {
            let left = Moment(self.context.credentials.not_after_unix_ms()).left(now);
            eprintln!("warning: your certificate expires in {left} and was not renewed: {reason}");
        }
    }

    async fn try_renew(&mut self) -> Result<(), String> {
        let key = PrivateKey::generate();
        let message = v1::RenewCertificateRequest {
            csr_der: key.csr_der(),
        };
        let answer = self.client.renew_operator(request(message)).await;
        let bundle = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let renewed = Credentials::new(key, bundle.certificate_der, bundle.ca_der)
            .map_err(|error| chain(&error))?;
        self.live
            .replace(renewed.clone())
            .map_err(|error| chain(&error))?;
        self.context.credentials = renewed;
        self.context
            .save(&self.file)
            .map_err(|failure| failure.to_string())
    }
}

/// `message` with the time that its answer may take.
pub fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// A connection to the first of `addresses` that answers, or why each of them did not. A
/// coordinator that refuses our certificate speaks for the site: that is told before all else.
pub async fn first_of(addresses: &[SocketAddr], live: &LiveCredentials) -> Result<Client, Failure> {
    Ok(client(first_channel(addresses, live).await?))
}

fn client(channel: Channel) -> Client {
    Client::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

async fn first_channel(
    addresses: &[SocketAddr],
    live: &LiveCredentials,
) -> Result<Channel, Failure> {
    let config = tls::client_config(live, Expect::Coordinator, Alpn::H2);
    let mut refused = None;
    let mut tried = Vec::new();
    for address in addresses {
        let reason = match tls::connect(*address, Arc::clone(&config)).await {
            Ok(stream) => match channel_over(stream, *address, Arc::clone(&config)).await {
                Ok(channel) => return Ok(channel),
                Err(reason) => reason,
            },
            Err(error) => {
                let reason = chain(&error);
                if let ConnectError::Refused { .. } = error {
                    refused = Some(reason.clone());
                }
                reason
            }
        };
        tried.push((address.to_string(), reason));
    }
    match refused {
        Some(message) => Err(Failure::Refused { message }),
        None => Err(Failure::Unreachable { tried }),
    }
}

/// The service over an open connection: a failure is known before anything is asked.
async fn channel_over(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<Channel, String> {
    let first = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let config = Arc::clone(&config);
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => tls::connect(address, config).await.map(TokioIo::new),
            }
        }
    });
    // The name only fills HTTP's authority field: the coordinator is known by its certificate.
    Endpoint::from_static("http://hamesh")
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|error| chain(&error))
}
