//! A whole coordinator in the test's own process, on 127.0.0.1, with agents and operators that
//! speak to it over real mutual TLS.

mod agent;
mod several;
mod silenced;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::ids::NodeId;
use hamesh_proto::tls::{Expect, channel, pinned_channel};
use hamesh_proto::v1;
use hamesh_proto::v1::agents_client::AgentsClient;
use hamesh_proto::v1::claims_client::ClaimsClient;
use hamesh_proto::v1::databases_client::DatabasesClient;
use hamesh_proto::v1::enrolment_client::EnrolmentClient;
use hamesh_proto::v1::operators_client::OperatorsClient;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Channel;

use crate::clock::Clock;
use crate::config::{Config, Dirs};
use crate::init::{InitRequest, init};
use crate::server::{Listeners, Parts, Running, start};
use crate::store::{MemoryStore, Store};

pub(crate) use agent::TestAgent;
pub(crate) use silenced::Silenced;

/// The site of these tests.
pub(crate) const YAML: &str = "\
site: small
networks:
  trust: {cidr: 192.168.56.0/24}
management_network: trust
coordinators: [control-1]
nodes:
  control-1: {role: k8s-control, addresses: {trust: 192.168.56.31}}
  node-1: {role: k8s-worker, addresses: {trust: 192.168.56.41}}
  node-2: {role: k8s-worker, addresses: {trust: 192.168.56.42}}
";

/// How long a functional wait may take on a loaded machine.
pub(crate) const GENEROUS: Duration = Duration::from_secs(60);

pub(crate) fn init_request(directory: &Path) -> InitRequest {
    InitRequest {
        yaml: YAML.to_owned(),
        node: name("control-1"),
        operator: "ada".parse().expect("a name"),
        dirs: Dirs::under(directory.join("hamesh")),
        owner: None,
        now: SystemTime::now(),
        restored: None,
    }
}

pub(crate) fn name(text: &str) -> NodeId {
    text.parse().expect("a node name")
}

/// A site with its coordinator.
pub(crate) struct TestSite {
    pub directory: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub running: Running,
    pub admin: LiveCredentials,
}

impl TestSite {
    pub async fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::new())).await
    }

    pub async fn start_on(store: Arc<dyn Store>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let outcome = init(&init_request(directory.path())).expect("a new site");
        let admin = Credentials::from_pem(&outcome.operator_pem).expect("an identity");
        let clock = Clock::system();
        let running = serve(directory.path(), &store, &clock).await;
        Self {
            directory,
            store,
            clock,
            running,
            admin: LiveCredentials::new(admin),
        }
    }

    /// Ends this coordinator and starts another one on the same files and the same store.
    pub async fn restart(mut self) -> Self {
        self.running.stop().await;
        self.running = serve(self.directory.path(), &self.store, &self.clock).await;
        self
    }

    pub fn dirs(&self) -> Dirs {
        init_request(self.directory.path()).dirs
    }

    pub fn admin(&self) -> OperatorsClient<Channel> {
        self.operator(&self.admin)
    }

    pub fn operator(&self, who: &LiveCredentials) -> OperatorsClient<Channel> {
        OperatorsClient::new(channel(self.running.api, who, Expect::Coordinator))
    }

    pub fn claims(&self, who: &LiveCredentials) -> ClaimsClient<Channel> {
        ClaimsClient::new(channel(self.running.api, who, Expect::Coordinator))
    }

    pub fn databases(&self, who: &LiveCredentials) -> DatabasesClient<Channel> {
        DatabasesClient::new(channel(self.running.api, who, Expect::Coordinator))
    }

    pub fn enrolment(&self) -> EnrolmentClient<Channel> {
        let ca = self.running.core.authority.ca().fingerprint();
        EnrolmentClient::new(pinned_channel(self.running.enrolment, ca))
    }

    pub fn agents(&self, who: &LiveCredentials) -> AgentsClient<Channel> {
        AgentsClient::new(channel(self.running.api, who, Expect::Coordinator))
    }

    pub async fn token(&self, node: &str) -> String {
        let request = v1::CreateTokenRequest {
            node: node.to_owned(),
            valid_s: 600,
        };
        self.admin()
            .create_token(request)
            .await
            .expect("a token")
            .into_inner()
            .token
    }

    pub async fn enrol(&self, node: &str) -> LiveCredentials {
        let token = self.token(node).await;
        let key = PrivateKey::generate();
        let response = self.enrol_with(node, &token, &key).await.expect("enrolled");
        credentials(key, response.bundle)
    }

    pub async fn enrol_with(
        &self,
        node: &str,
        token: &str,
        key: &PrivateKey,
    ) -> Result<v1::EnrolResponse, Status> {
        let request = v1::EnrolRequest {
            node: node.to_owned(),
            token: token.to_owned(),
            csr_der: key.csr_der(),
            agent_version: "0".to_owned(),
        };
        self.enrolment()
            .enrol(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn session(&self, who: &LiveCredentials) -> TestAgent {
        self.session_since(who, 1_000).await
    }

    /// Opens a session of an agent that started at this time.
    pub async fn session_since(&self, who: &LiveCredentials, started_unix_ms: u64) -> TestAgent {
        let hello = v1::Hello {
            started_unix_ms,
            ..v1::Hello::default()
        };
        TestAgent::open(self.running.api, who, hello).await
    }

    pub async fn status(&self) -> v1::SiteStatus {
        self.admin()
            .status(v1::StatusRequest {})
            .await
            .expect("a status")
            .into_inner()
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&v1::SiteStatus) -> bool) {
        let deadline = tokio::time::Instant::now() + GENEROUS;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn event_kinds(&self) -> Vec<String> {
        let request = v1::EventsRequest::default();
        let mut stream = self
            .admin()
            .events(request)
            .await
            .expect("events")
            .into_inner();
        let mut kinds = Vec::new();
        while let Some(event) = stream.message().await.expect("the stream goes on") {
            kinds.push(event.kind);
        }
        kinds
    }
}

pub(crate) async fn serve(directory: &Path, store: &Arc<dyn Store>, clock: &Clock) -> Running {
    let dirs = init_request(directory).dirs;
    let config = Config::load(&dirs).expect("a configuration");
    let parts = parts(dirs, config, store, clock, listeners().await);
    start(parts).await.expect("the coordinator starts")
}

pub(crate) fn parts(
    dirs: Dirs,
    config: Config,
    store: &Arc<dyn Store>,
    clock: &Clock,
    listeners: Listeners,
) -> Parts {
    Parts {
        config,
        dirs,
        store: Arc::clone(store),
        etcd: None,
        store_expires_unix_ms: 0,
        clock: clock.clone(),
        agents_valid: hamesh_proto::ca::NODE_VALID,
        listeners,
    }
}

pub(crate) async fn listeners() -> Listeners {
    Listeners {
        api: listener().await,
        enrolment: listener().await,
        metrics: listener().await,
        leases: datagrams(),
    }
}

pub(crate) async fn listener() -> TcpListener {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(any).await.expect("a free port")
}

pub(crate) fn datagrams() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

pub(crate) fn credentials(
    key: PrivateKey,
    bundle: Option<v1::CertificateBundle>,
) -> LiveCredentials {
    let bundle = bundle.expect("a bundle");
    let credentials = Credentials::new(key, bundle.certificate_der, bundle.ca_der);
    LiveCredentials::new(credentials.expect("the certificate fits the key"))
}

/// Admits an operator.
pub(crate) async fn add_operator(
    site: &TestSite,
    name: &str,
    access: v1::Access,
) -> LiveCredentials {
    let key = PrivateKey::generate();
    let request = v1::AddOperatorRequest {
        name: name.to_owned(),
        access: access.into(),
        csr_der: key.csr_der(),
    };
    let added = site
        .admin()
        .add_operator(request)
        .await
        .expect("added")
        .into_inner();
    credentials(key, added.bundle)
}
