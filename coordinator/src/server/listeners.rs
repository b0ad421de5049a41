//! The three ports: the API and the metrics under mutual TLS, enrolment under the server's alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::tls::{
    Alpn, ClientAuth, HandshakeLimits, Incoming, ListenerCounters, grpc_server, incoming,
    server_config, stranger_server,
};
use hamesh_proto::v1::agents_server::AgentsServer;
use hamesh_proto::v1::claims_server::ClaimsServer;
use hamesh_proto::v1::coordinators_server::CoordinatorsServer;
use hamesh_proto::v1::databases_server::DatabasesServer;
use hamesh_proto::v1::enrolment_server::EnrolmentServer;
use hamesh_proto::v1::operators_server::OperatorsServer;
use hamesh_proto::{metrics_http, ports};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::expose;
use crate::agents::AgentsService;
use crate::core::Core;
use crate::enrolment::EnrolmentService;
use crate::ledger::Kept;
use crate::operators::OperatorsService;
use crate::records::OperatorRecord;

/// The largest message of a stranger: a token, a certificate and a signing request.
const MAX_ENROLMENT_BYTES: usize = 64 * 1024;
/// The largest message of a member: a view of 200 peers with their facts, twice over.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How long a leadership that is over may take to let go of its ports.
const LET_GO: Duration = Duration::from_secs(2);

/// The listening sockets.
#[derive(Debug)]
pub struct Listeners {
    /// For agents and operators.
    pub api: TcpListener,
    /// For nodes that enrol.
    pub enrolment: TcpListener,
    /// For Prometheus.
    pub metrics: TcpListener,
    /// For lease datagrams.
    pub leases: UdpSocket,
}

/// The ports of a coordinator that does not lead.
pub(super) struct Twins {
    pub api: TcpListener,
    pub enrolment: TcpListener,
    pub metrics: TcpListener,
}

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; is another coordinator running?")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// One listener that serves.
pub(super) struct Served {
    pub name: &'static str,
    pub address: SocketAddr,
    pub counters: Arc<ListenerCounters>,
}

impl Listeners {
    /// On the ports of the contract; on every address if none is given.
    pub async fn on_ports(listen: Option<IpAddr>) -> Result<Self, ListenError> {
        let begun = Instant::now();
        loop {
            match Self::at_once(listen).await {
                Err(error)
                    if error.source.kind() == io::ErrorKind::AddrInUse
                        && begun.elapsed() < LET_GO =>
                {
                    tokio::time::sleep(LET_GO / 40).await;
                }
                result => return result,
            }
        }
    }

    async fn at_once(listen: Option<IpAddr>) -> Result<Self, ListenError> {
        Ok(Self {
            api: bind(listen, ports::API).await?,
            enrolment: bind(listen, ports::ENROLMENT).await?,
            metrics: bind(listen, ports::COORDINATOR_METRICS).await?,
            leases: bind_udp(listen, ports::COORDINATOR_LEASES)?,
        })
    }

    /// The same ports once more, for who serves them meanwhile.
    pub(super) fn twins(&self) -> Result<Twins, ListenError> {
        Ok(Twins {
            api: twin(&self.api)?,
            enrolment: twin(&self.enrolment)?,
            metrics: twin(&self.metrics)?,
        })
    }
}

/// Another descriptor of a listening socket: what waits to be accepted waits for both.
fn twin(listener: &TcpListener) -> Result<TcpListener, ListenError> {
    let twin = || {
        let descriptor = listener.as_fd().try_clone_to_owned()?;
        TcpListener::from_std(descriptor.into())
    };
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    twin().map_err(|source| ListenError {
        address: listener.local_addr().unwrap_or(unknown),
        source,
    })
}

/// On `::`, which takes IPv4 as well, or on `0.0.0.0` where there is no IPv6.
async fn bind(listen: Option<IpAddr>, port: u16) -> Result<TcpListener, ListenError> {
    let at = |ip: IpAddr| async move {
        let address = SocketAddr::new(ip, port);
        TcpListener::bind(address)
            .await
            .map_err(|source| ListenError { address, source })
    };
    match listen {
        Some(ip) => at(ip).await,
        None => match at(Ipv6Addr::UNSPECIFIED.into()).await {
            Err(error) if error.source.kind() != io::ErrorKind::AddrInUse => {
                at(Ipv4Addr::UNSPECIFIED.into()).await
            }
            result => result,
        },
    }
}

/// The same for datagrams, with no more room for those that wait than is usual: a request that was
/// not answered for long has been followed by others, and a long queue holds mostly such.
fn bind_udp(listen: Option<IpAddr>, port: u16) -> Result<UdpSocket, ListenError> {
    let at = |ip: IpAddr| {
        let address = SocketAddr::new(ip, port);
        UdpSocket::bind(address).map_err(|source| ListenError { address, source })
    };
    match listen {
        Some(ip) => at(ip),
        None => match at(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if error.source.kind() != io::ErrorKind::AddrInUse => {
                at(Ipv4Addr::UNSPECIFIED.into())
            }
            result => result,
        },
    }
}

/// A listener with its TLS and its counters.
fn open(
    live: &LiveCredentials,
    name: &'static str,
    listener: TcpListener,
    (auth, alpn, limits): (ClientAuth, Alpn, HandshakeLimits),
) -> Result<(Served, Incoming), ListenError> {
    let address = listener.local_addr().map_err(|source| ListenError {
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        source,
    })?;
    let counters = Arc::new(ListenerCounters::default());
    let config = server_config(live, auth, alpn);
    let accepted = incoming(listener, config, limits, Arc::clone(&counters));
    Ok((
        Served {
            name,
            address,
            counters,
        },
        accepted,
    ))
}

/// The API's port, whoever answers behind it.
pub(super) fn open_api(
    live: &LiveCredentials,
    listener: TcpListener,
) -> Result<(Served, Incoming), ListenError> {
    let tls = (ClientAuth::Required, Alpn::H2, HandshakeLimits::default());
    open(live, "api", listener, tls)
}

/// The port for enrolment, whoever answers behind it.
pub(super) fn open_enrolment(
    live: &LiveCredentials,
    listener: TcpListener,
) -> Result<(Served, Incoming), ListenError> {
    let tls = (ClientAuth::None, Alpn::H2, HandshakeLimits::for_strangers());
    open(live, "enrolment", listener, tls)
}

pub(super) fn serve_api(
    core: &Arc<Core>,
    listener: TcpListener,
    operators: Vec<Kept<OperatorRecord>>,
    servers: &mut JoinSet<()>,
) -> Result<Served, ListenError> {
    let (served, accepted) = open_api(&core.live, listener)?;
    let agents = AgentsServer::new(AgentsService::new(Arc::clone(core)));
    let service = Arc::new(OperatorsService::new(Arc::clone(core), operators));
    let claims = ClaimsServer::from_arc(Arc::clone(&service));
    let coordinators = CoordinatorsServer::from_arc(Arc::clone(&service));
    let databases = DatabasesServer::from_arc(Arc::clone(&service));
    let operators = OperatorsServer::from_arc(service);
    let router = grpc_server()
        .add_service(agents.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(claims.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(coordinators.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(databases.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(operators.max_decoding_message_size(MAX_MESSAGE_BYTES));
    let core = Arc::clone(core);
    servers.spawn(async move {
        ended(
            "api",
            router
                .serve_with_incoming_shutdown(accepted, core.stopped())
                .await,
        );
    });
    Ok(served)
}

pub(super) fn serve_enrolment(
    core: &Arc<Core>,
    listener: TcpListener,
    servers: &mut JoinSet<()>,
) -> Result<Served, ListenError> {
    let (served, accepted) = open_enrolment(&core.live, listener)?;
    let service = EnrolmentServer::new(EnrolmentService::new(Arc::clone(core)));
    let router =
        stranger_server().add_service(service.max_decoding_message_size(MAX_ENROLMENT_BYTES));
    let core = Arc::clone(core);
    servers.spawn(async move {
        ended(
            "enrolment",
            router
                .serve_with_incoming_shutdown(accepted, core.stopped())
                .await,
        );
    });
    Ok(served)
}

pub(super) fn serve_metrics(
    core: &Arc<Core>,
    listener: TcpListener,
    others: &[&Served],
    loops: &mut JoinSet<()>,
) -> Result<Served, ListenError> {
    let tls = (
        ClientAuth::Required,
        Alpn::Http1,
        HandshakeLimits::default(),
    );
    let (served, accepted) = open(&core.live, "metrics", listener, tls)?;
    let mut counters: Vec<_> = others
        .iter()
        .map(|other| (other.name, Arc::clone(&other.counters)))
        .collect();
    counters.push((served.name, Arc::clone(&served.counters)));
    let core = Arc::clone(core);
    let pages: metrics_http::Pages = Arc::new(move |path| {
        (path == "/metrics").then(|| {
            for (listener, counters) in &counters {
                core.metrics.take_listener(listener, counters);
            }
            metrics_http::Page::metrics(expose::text(&core))
        })
    });
    loops.spawn(metrics_http::serve_tls(accepted, pages));
    Ok(served)
}

fn ended(listener: &str, result: Result<(), tonic::transport::Error>) {
    if let Err(error) = result {
        tracing::error!(listener, %error, "a listener failed; the coordinator must be restarted");
    }
}
