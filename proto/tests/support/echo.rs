//! A gRPC server on 127.0.0.1 that answers who its caller is.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::tls::{
    Alpn, ClientAuth, HandshakeLimits, ListenerCounters, grpc_server, incoming, peer, server_config,
};
use hamesh_proto::v1;
use hamesh_proto::v1::enrolment_client::EnrolmentClient;
use hamesh_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Counts the calls whose caller went away.
struct WhoAmI {
    abandoned: Arc<AtomicU64>,
}

struct CountWhenDropped(Arc<AtomicU64>);

impl Drop for CountWhenDropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tonic::async_trait]
impl Enrolment for WhoAmI {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let identity = peer(&request);
        let caller = v1::CoordinatorEndpoint {
            node: identity
                .as_ref()
                .map_or("nobody".to_owned(), |who| who.id.to_string()),
            api: identity.map_or(String::new(), |who| who.serial),
            enrolment: String::new(),
            leases: String::new(),
        };
        Ok(Response::new(v1::EnrolResponse {
            bundle: None,
            coordinators: vec![caller],
        }))
    }

    /// Never answers; its future is dropped when the connection is.
    async fn re_enrol(
        &self,
        _request: Request<v1::ReEnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let _counted = CountWhenDropped(Arc::clone(&self.abandoned));
        std::future::pending().await
    }
}

/// A running server; it stops when its runtime does.
pub struct Echo {
    pub addr: SocketAddr,
    pub counters: Arc<ListenerCounters>,
    pub abandoned: Arc<AtomicU64>,
}

impl Echo {
    pub async fn start(live: &LiveCredentials, auth: ClientAuth) -> Self {
        Self::start_with(live, auth, HandshakeLimits::default()).await
    }

    pub async fn start_with(
        live: &LiveCredentials,
        auth: ClientAuth,
        limits: HandshakeLimits,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let counters = Arc::new(ListenerCounters::default());
        let config = server_config(live, auth, Alpn::H2);
        let incoming = incoming(listener, config, limits, Arc::clone(&counters));
        let abandoned = Arc::new(AtomicU64::new(0));
        let service = EnrolmentServer::new(WhoAmI {
            abandoned: Arc::clone(&abandoned),
        });
        tokio::spawn(
            grpc_server()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        Self {
            addr,
            counters,
            abandoned,
        }
    }

    /// Waits until `counter` reaches `at_least`.
    pub async fn counted(&self, what: &str, counter: &AtomicU64, at_least: u64) {
        let began = Instant::now();
        while counter.load(Ordering::Relaxed) < at_least {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{what} stayed below {at_least}; last seen: {:?}",
                self.counters
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The caller's identity and serial number, as the server saw them.
pub async fn who_am_i(channel: Channel) -> Result<(String, String), Status> {
    let mut client = EnrolmentClient::new(channel);
    let answer = client
        .enrol(v1::EnrolRequest::default())
        .await?
        .into_inner();
    let caller = answer
        .coordinators
        .into_iter()
        .next()
        .expect("the echo names its caller");
    Ok((caller.node, caller.api))
}
