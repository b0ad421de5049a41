//! The coordinator's side of the contract, as much of it as an agent meets, on 127.0.0.1.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::tls::{
    Alpn, ClientAuth, HandshakeLimits, grpc_server, incoming, peer, server_config,
};
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind as Said;
use hamesh_proto::v1::agents_server::{Agents, AgentsServer};
use hamesh_proto::v1::coordinator_message::Kind as Told;
use hamesh_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::Site;

/// What the coordinator saw and how it answers; shared with the test.
pub struct Desk {
    pub site: Site,
    /// Every public key that asked for a certificate, with the name it asked for.
    pub asked: Mutex<Vec<(Vec<u8>, String)>>,
    /// Answers to enrolments, taken in turn; none left: a certificate.
    pub answers: Mutex<Vec<Status>>,
    /// The node that certificates are made out to.
    pub certify: Mutex<String>,
    /// Everything agents said.
    pub said: Arc<Mutex<Vec<Heard>>>,
    /// Sent to each session as it changes.
    pub assignment: watch::Sender<Option<v1::Assignment>>,
    pub ring: watch::Sender<Option<KeyRing>>,
    pub recover: watch::Sender<Option<v1::Recover>>,
    /// The agent's file that is looked at whenever it says something.
    pub watched: Mutex<Option<PathBuf>>,
    pub addresses: Mutex<Option<(SocketAddr, SocketAddr)>>,
}

/// One message of an agent.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The serial number of its certificate.
    pub serial: String,
    pub said: Said,
    /// What the watched file held at that moment.
    pub on_disk: Option<String>,
}

impl Desk {
    pub fn new(site: Site) -> Arc<Self> {
        Arc::new(Self {
            site,
            asked: Mutex::default(),
            answers: Mutex::default(),
            certify: Mutex::new("node-1".to_owned()),
            said: Arc::default(),
            assignment: watch::Sender::new(None),
            ring: watch::Sender::new(None),
            recover: watch::Sender::new(None),
            watched: Mutex::default(),
            addresses: Mutex::default(),
        })
    }

    /// Listens on free ports; gives the API's and the enrolment's.
    pub async fn open(self: &Arc<Self>) -> (SocketAddr, SocketAddr) {
        let live = LiveCredentials::new(self.site.credentials("coordinator/control-1"));
        let listener = |()| TcpListener::bind("127.0.0.1:0");
        let (api, enrolment) = (listener(()).await.unwrap(), listener(()).await.unwrap());
        let addresses = (api.local_addr().unwrap(), enrolment.local_addr().unwrap());
        *self.addresses.lock().unwrap() = Some(addresses);
        let limits = HandshakeLimits::default();
        let config = server_config(&live, ClientAuth::Required, Alpn::H2);
        let api = incoming(api, config, limits, Arc::default());
        let agents = grpc_server().add_service(AgentsServer::from_arc(Arc::clone(self)));
        tokio::spawn(agents.serve_with_incoming(api));
        let config = server_config(&live, ClientAuth::None, Alpn::H2);
        let enrolment = incoming(enrolment, config, limits, Arc::default());
        let enrol = grpc_server().add_service(EnrolmentServer::from_arc(Arc::clone(self)));
        tokio::spawn(enrol.serve_with_incoming(enrolment));
        addresses
    }

    pub fn endpoint(&self) -> v1::CoordinatorEndpoint {
        let (api, enrolment) = self.addresses.lock().unwrap().expect("open");
        let (api, enrolment) = (api.to_string(), enrolment.to_string());
        v1::CoordinatorEndpoint {
            node: "control-1".to_owned(),
            api,
            enrolment,
            leases: String::new(),
        }
    }

    fn certificate(&self, csr_der: &[u8]) -> v1::CertificateBundle {
        let path = format!("agent/{}", self.certify.lock().unwrap());
        v1::CertificateBundle {
            certificate_der: self.site.issue(csr_der, &path, SystemTime::now()),
            ca_der: vec![self.site.ca.certificate_der().to_vec()],
        }
    }

    fn enrolment(&self, csr: Vec<u8>, node: String) -> Result<Response<v1::EnrolResponse>, Status> {
        self.asked.lock().unwrap().push((csr.clone(), node));
        let mut answers = self.answers.lock().unwrap();
        if !answers.is_empty() {
            return Err(answers.remove(0));
        }
        let coordinators = vec![self.endpoint()];
        let bundle = Some(self.certificate(&csr));
        Ok(Response::new(v1::EnrolResponse {
            bundle,
            coordinators,
        }))
    }
}

#[tonic::async_trait]
impl Enrolment for Desk {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        self.enrolment(request.csr_der, request.node)
    }

    async fn re_enrol(
        &self,
        request: Request<v1::ReEnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let ca = vec![self.site.ca.certificate_der().to_vec()];
        let trust = hamesh_proto::trust::TrustBundle::new(ca).unwrap();
        let leaf = hamesh_proto::re_enrol::verify(&request, &trust)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        self.enrolment(request.csr_der, leaf.id.principal.name().to_owned())
    }
}

#[tonic::async_trait]
impl Agents for Desk {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let serial = peer(&request).expect("mutual TLS").serial;
        let mut heard = request.into_inner();
        let (outbox, answers) = mpsc::channel(16);
        let (mut assignment, mut ring) = (self.assignment.subscribe(), self.ring.subscribe());
        let mut recover = self.recover.subscribe();
        let welcome = v1::Welcome {
            coordinator: "control-1".to_owned(),
            ..Default::default()
        };
        outbox
            .send(Ok(message(Told::Welcome(welcome))))
            .await
            .unwrap();
        assignment.mark_changed();
        ring.mark_changed();
        recover.mark_changed();
        tokio::spawn(async move {
            loop {
                let told = tokio::select! {
                    Ok(()) = assignment.changed() => {
                        assignment.borrow_and_update().clone().map(Told::Assignment)
                    }
                    Ok(()) = ring.changed() => {
                        let ring = ring.borrow_and_update();
                        ring.as_ref().map(|ring| Told::KeyRing(ring.into()))
                    }
                    Ok(()) = recover.changed() => {
                        recover.borrow_and_update().clone().map(Told::Recover)
                    }
                };
                let Some(told) = told else { continue };
                if outbox.send(Ok(message(told))).await.is_err() {
                    return;
                }
            }
        });
        let (said, watched) = (Arc::clone(&self.said), self.watched.lock().unwrap().clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = heard.next().await {
                let on_disk = watched
                    .as_ref()
                    .and_then(|path| std::fs::read_to_string(path).ok());
                let (serial, kind) = (serial.clone(), message.kind.expect("of this version"));
                said.lock().unwrap().push(Heard {
                    serial,
                    said: kind,
                    on_disk,
                });
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        Ok(Response::new(
            self.certificate(&request.into_inner().csr_der),
        ))
    }

    async fn issue_certificate(
        &self,
        _request: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        Err(Status::not_found("no node here has a role"))
    }
}

fn message(kind: Told) -> v1::CoordinatorMessage {
    v1::CoordinatorMessage { kind: Some(kind) }
}
