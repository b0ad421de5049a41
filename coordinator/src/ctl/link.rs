//! The way to the coordinator that leads: all are asked at once, and any of them knows.
//!
//! A request is sent once and to one coordinator only; what is asked of all is who leads. What
//! fails before that, while connecting, is told for every address; what fails after it is told as
//! such, because something may have been changed. The operator's certificate is renewed in passing
//! once two thirds of its life are over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::tls::{self, Alpn, ConnectError, Expect, KEEP_ALIVE_EVERY, KEEP_ALIVE_TIMEOUT};
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_proto::v1::claims_client::ClaimsClient;
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use hamesh_proto::v1::operators_client::OperatorsClient;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::context::Context;
use super::failure::{Failure, chain};
use super::time::{Moment, span};

/// How long a coordinator may take for one answer; the longest are a few writes to the store.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a coordinator may take to say whether it leads.
const LEADS: Duration = Duration::from_secs(3);
/// How long nobody may lead before that is told: twice as long as an election takes at most.
const ELECTION: Duration = Duration::from_secs(8);
/// How long the others may be silent once one has said that it stands by.
const SILENCE: Duration = Duration::from_millis(500);
/// Before all are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
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
    /// The service for coordinators.
    pub coordinators: CoordinatorsClient<Channel>,
    live: LiveCredentials,
    file: PathBuf,
    context: Context,
}

impl Link {
    /// Connects to the leader among the coordinators of the context in `file`. `now` decides
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
        let found = leader(&context.coordinators, &live).await?;
        let channel = found.channel.clone();
        let claims = ClaimsClient::new(channel.clone());
        let coordinators = CoordinatorsClient::new(channel.clone());
        let mut link = Link {
            coordinators,
            client: client(channel),
            claims: claims.max_decoding_message_size(LARGEST_ANSWER),
            live,
            file,
            context,
        };
        link.learn(&found);
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

    /// Keeps where coordinators answer, for the day when those known are gone. Whoever came by
    /// another way than the site's own addresses has no use for them.
    fn learn(&mut self, found: &Found) {
        let known = &mut self.context.coordinators;
        if found.coordinators.contains(&found.address) && *known != found.coordinators {
            known.clone_from(&found.coordinators);
            // It is told again with the next command.
            let _ = self.context.save(&self.file);
        }
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

/// A connection to the leader, or why each of the addresses did not lead to it. A
/// coordinator that refuses our certificate speaks for the site: that is told before all else.
pub async fn first_of(addresses: &[SocketAddr], live: &LiveCredentials) -> Result<Client, Failure> {
    Ok(client(leader(addresses, live).await?.channel))
}

fn client(channel: Channel) -> Client {
    Client::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// A connection to the leader: all addresses are asked at once, and one that does not lead says who
/// does. While nobody leads, for a leader was lost, they are asked again for a while.
async fn leader(addresses: &[SocketAddr], live: &LiveCredentials) -> Result<Found, Failure> {
    let config = tls::client_config(live, Expect::Coordinator, Alpn::H2);
    let begun = Instant::now();
    loop {
        let round = Round::ask(addresses, &config).await;
        match round {
            Round::Found(found) => return Ok(found),
            Round::Nobody if begun.elapsed() < ELECTION => sleep(ASK_AGAIN).await,
            Round::Nobody => return Err(Failure::Leaderless),
            Round::Failed(failure) => return Err(failure),
        }
    }
}

/// The leader.
struct Found {
    address: SocketAddr,
    channel: Channel,
    /// Where coordinators answer, by its word.
    coordinators: Vec<SocketAddr>,
}

/// What came of asking every address.
enum Round {
    Found(Found),
    /// Coordinators answer, and none of them leads.
    Nobody,
    Failed(Failure),
}

impl Round {
    async fn ask(addresses: &[SocketAddr], config: &Arc<ClientConfig>) -> Self {
        let mut asked = JoinSet::new();
        let mut known: BTreeSet<SocketAddr> = addresses.iter().copied().collect();
        for address in addresses {
            asked.spawn(ask(*address, Arc::clone(config)));
        }
        let (mut refused, mut tried, mut stand_by) = (None, Vec::new(), false);
        loop {
            // Where one stands by, another leads, or soon will: the silent are not waited for.
            let patience = if stand_by { SILENCE } else { Duration::MAX };
            let Ok(Some(answer)) = timeout(patience, asked.join_next()).await else {
                break;
            };
            match answer {
                Ok(Ok(found)) => return Self::Found(found),
                Ok(Err(Astray::Elsewhere(Elsewhere::At(leader)))) => {
                    stand_by = true;
                    if known.insert(leader.api) {
                        asked.spawn(ask(leader.api, Arc::clone(config)));
                    }
                }
                Ok(Err(Astray::Elsewhere(Elsewhere::Nowhere))) => stand_by = true,
                Ok(Err(Astray::Refused(address, reason))) => {
                    refused = Some(reason.clone());
                    tried.push((address.to_string(), reason));
                }
                Ok(Err(Astray::Failed(address, reason))) => {
                    tried.push((address.to_string(), reason));
                }
                // A panic of ours: the address counts as not tried.
                Err(_) => {}
            }
        }
        // In the order of the context, whichever failed first.
        let place = |tried: &(String, String)| {
            let is = |address: &SocketAddr| address.to_string() == tried.0;
            addresses.iter().position(is)
        };
        tried.sort_by_key(place);
        match (refused, stand_by) {
            (_, true) => Self::Nobody,
            (Some(message), false) => Self::Failed(Failure::Refused { message }),
            (None, false) => Self::Failed(Failure::Unreachable { tried }),
        }
    }
}

/// Why an address is not the leader's.
enum Astray {
    Elsewhere(Elsewhere),
    Refused(SocketAddr, String),
    Failed(SocketAddr, String),
}

/// Connects, and asks whether it leads.
async fn ask(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Found, Astray> {
    let stream = tls::connect(address, Arc::clone(&config)).await;
    let stream = stream.map_err(|error| match error {
        ConnectError::Refused { .. } => Astray::Refused(address, chain(&error)),
        ConnectError::Timeout { .. } | ConnectError::Tcp { .. } | ConnectError::Tls { .. } => {
            Astray::Failed(address, chain(&error))
        }
    })?;
    let channel = channel_over(stream, address, config).await;
    let channel = channel.map_err(|reason| Astray::Failed(address, reason))?;
    let mut coordinators = CoordinatorsClient::new(channel.clone());
    let mut message = request(v1::LeaderRequest {});
    message.set_timeout(LEADS);
    match coordinators.leader(message).await {
        Ok(answer) => Ok(Found {
            address,
            channel,
            coordinators: endpoints(answer.into_inner()),
        }),
        Err(status) => match Elsewhere::of(&status) {
            Some(elsewhere) => Err(Astray::Elsewhere(elsewhere)),
            None if lost(&status) => Err(Astray::Failed(address, status.message().to_owned())),
            // It leads, or is of a release that knew but one coordinator: what else it has to say,
            // it says to the command.
            None => Ok(Found {
                address,
                channel,
                coordinators: Vec::new(),
            }),
        },
    }
}

/// What can be read of it.
fn endpoints(answer: v1::LeaderAnswer) -> Vec<SocketAddr> {
    let endpoints = answer.coordinators.iter();
    endpoints.filter_map(|it| it.api.parse().ok()).collect()
}

/// Whether no coordinator answered.
fn lost(status: &tonic::Status) -> bool {
    use tonic::Code;
    let silent = matches!(
        status.code(),
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    );
    silent || std::error::Error::source(status).is_some()
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
