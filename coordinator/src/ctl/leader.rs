//! Which coordinator leads: all that are known are asked at once, and any of them may know.
//!
//! Guarantees: whoever is silent (a machine that is off, or frozen) is waited for only while no
//! other says anything; while those that answer stand by, for a leader was lost, they are asked
//! again at a short pace until one of them leads.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::leader::{ASK_AGAIN, ELECTION, Elsewhere};
use hamesh_proto::tls::{self, Alpn, ConnectError, Expect};
use hamesh_proto::v1;
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::failure::{Failure, chain};
use super::link::request;

/// How long a coordinator may take to say whether it leads.
const LEADS: Duration = Duration::from_secs(3);
/// How long the others are waited for once one refused us: where the site was restored while
/// coordinators of before still run, those may not know who the restored one knows.
const OTHERS: Duration = Duration::from_millis(500);

/// The leader.
pub(super) struct Found {
    pub address: SocketAddr,
    pub channel: Channel,
    /// Where coordinators answer, by its word.
    pub coordinators: Vec<SocketAddr>,
}

/// A connection to the leader, or why each of the addresses did not lead to it. A coordinator that
/// refuses our certificate speaks for the site: that is told before all else.
pub(super) async fn leader(
    addresses: &[SocketAddr],
    live: &LiveCredentials,
) -> Result<Found, Failure> {
    let mut search = Search {
        config: tls::client_config(live, Expect::Coordinator, Alpn::H2),
        asked: JoinSet::new(),
        open: BTreeSet::new(),
        stand_by: false,
        refused: None,
        last_resort: None,
        tried: Vec::new(),
    };
    for address in addresses {
        search.ask(*address, Duration::ZERO);
    }
    let begun = Instant::now();
    loop {
        let answer = timeout(search.patience(), search.asked.join_next()).await;
        let Ok(Some(answer)) = answer else {
            return search.ends(addresses);
        };
        // A panic of ours: the address counts as not tried.
        let Ok((address, answer)) = answer else {
            continue;
        };
        search.open.remove(&address);
        match answer {
            Ok(found) => return Ok(found),
            Err(Astray::Elsewhere(_)) if begun.elapsed() > ELECTION => {
                return Err(Failure::Leaderless);
            }
            Err(astray) => search.went_astray(address, astray),
        }
    }
}

/// Who was asked, and what came of it.
struct Search {
    config: Arc<ClientConfig>,
    asked: JoinSet<(SocketAddr, Result<Found, Astray>)>,
    /// Asked, and not answered yet.
    open: BTreeSet<SocketAddr>,
    stand_by: bool,
    /// Why somebody refused our certificate.
    refused: Option<String>,
    /// One that leads and does not know us, and since when we have it.
    last_resort: Option<(Found, Instant)>,
    tried: Vec<(SocketAddr, String)>,
}

impl Search {
    fn ask(&mut self, address: SocketAddr, after: Duration) {
        if self.open.insert(address) {
            let config = Arc::clone(&self.config);
            self.asked.spawn(async move {
                sleep(after).await;
                (address, ask(address, config).await)
            });
        }
    }

    fn patience(&self) -> Duration {
        let found = self.last_resort.as_ref();
        found.map_or(Duration::MAX, |(_, at)| OTHERS.saturating_sub(at.elapsed()))
    }

    fn went_astray(&mut self, address: SocketAddr, astray: Astray) {
        match astray {
            Astray::Elsewhere(elsewhere) => {
                self.ask(address, ASK_AGAIN);
                if let Elsewhere::At(leader) = elsewhere {
                    // One that was asked before may have come back since.
                    let known = self.tried.iter().any(|(tried, _)| *tried == leader.api);
                    let after = if known { ASK_AGAIN } else { Duration::ZERO };
                    self.ask(leader.api, after);
                }
                self.stand_by = true;
            }
            Astray::Unwelcome(found) => {
                self.last_resort
                    .get_or_insert_with(|| (found, Instant::now()));
            }
            Astray::Refused(reason) => {
                self.refused = Some(reason.clone());
                self.failed(address, reason);
            }
            Astray::Failed(reason) => self.failed(address, reason),
        }
    }

    fn failed(&mut self, address: SocketAddr, reason: String) {
        self.tried.retain(|(tried, _)| *tried != address);
        self.tried.push((address, reason));
    }

    /// Nobody is left to ask, or to wait for.
    fn ends(mut self, addresses: &[SocketAddr]) -> Result<Found, Failure> {
        match self.last_resort.take() {
            // It may know an answer to the command yet; if not, it has the better words.
            Some((found, _)) => Ok(found),
            None => Err(self.failure(addresses)),
        }
    }

    fn failure(mut self, addresses: &[SocketAddr]) -> Failure {
        // In the order of the context, whichever failed first.
        self.tried
            .sort_by_key(|(tried, _)| addresses.iter().position(|address| address == tried));
        let tried = self.tried.into_iter();
        let tried = tried.map(|(address, reason)| (address.to_string(), reason));
        match (self.refused, self.stand_by) {
            (Some(message), _) => Failure::Refused { message },
            (None, true) => Failure::Leaderless,
            (None, false) => Failure::Unreachable {
                tried: tried.collect(),
            },
        }
    }
}

/// Why an address is not the leader's.
enum Astray {
    Elsewhere(Elsewhere),
    /// It leads, and does not know us, or no longer.
    Unwelcome(Found),
    Refused(String),
    Failed(String),
}

/// Connects, and asks whether it leads.
async fn ask(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Found, Astray> {
    let stream = tls::connect(address, Arc::clone(&config)).await;
    let stream = stream.map_err(|error| match error {
        ConnectError::Refused { .. } => Astray::Refused(chain(&error)),
        ConnectError::Timeout { .. } | ConnectError::Tcp { .. } | ConnectError::Tls { .. } => {
            Astray::Failed(chain(&error))
        }
    })?;
    let channel = channel_over(stream, address, config).await;
    let channel = channel.map_err(Astray::Failed)?;
    let mut coordinators = CoordinatorsClient::new(channel.clone());
    let mut message = request(v1::LeaderRequest {});
    message.set_timeout(LEADS);
    let found = |coordinators| Found {
        address,
        channel,
        coordinators,
    };
    match coordinators.leader(message).await {
        Ok(answer) => Ok(found(endpoints(answer.into_inner()))),
        Err(status) => match Elsewhere::of(&status) {
            Some(elsewhere) => Err(Astray::Elsewhere(elsewhere)),
            None if refuses(&status) => Err(Astray::Unwelcome(found(Vec::new()))),
            None if lost(&status) => Err(Astray::Failed(status.message().to_owned())),
            // It leads, or is of a release that knew but one coordinator: what else it has to say,
            // it says to the command.
            None => Ok(found(Vec::new())),
        },
    }
}

/// What can be read of it.
fn endpoints(answer: v1::LeaderAnswer) -> Vec<SocketAddr> {
    let endpoints = answer.coordinators.iter();
    endpoints.filter_map(|it| it.api.parse().ok()).collect()
}

/// Whether a coordinator does not know us, or no longer.
fn refuses(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated
    )
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
    tls::endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|error| chain(&error))
}
