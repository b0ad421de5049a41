//! An agent's session with a coordinator that recovers: asked once, told nothing.
//!
//! Any agent with a certificate of the site's CA is heard, whether a record knows it or not; one
//! that the backup knows as revoked is not. No assignment, key or lease is sent: the agent goes on
//! as if no coordinator answered.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::{self, PeerIdentity};
use hamesh_proto::v1;
use hamesh_proto::v1::agent_message::Kind as FromAgent;
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Desk;
use super::roll::Heard;
use crate::agents::{PROTOCOL, understands};
use crate::records::CertificateRecord;

/// An agent that dials says Hello at once.
const HELLO: Duration = Duration::from_secs(10);
/// A welcome, the question, and the end.
const QUEUE: usize = 4;

type Outgoing = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// See the module.
#[derive(Debug)]
pub struct AgentsDesk(pub Arc<Desk>);

#[tonic::async_trait]
impl v1::agents_server::Agents for AgentsDesk {
    type SessionStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (node, peer) = agent(&self.0, &request)?;
        let desk = Arc::clone(&self.0);
        let (outgoing, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let ended = serve(&desk, (&node, peer), request.into_inner(), &outgoing).await;
            if let Err(status) = ended {
                tracing::info!(AGENT = %node, reason = status.message(), "session ended");
                // An agent that does not read does not read this either.
                let _ = outgoing.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn renew_certificate(
        &self,
        _: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        Err(issues_nothing())
    }

    async fn issue_certificate(
        &self,
        _: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        Err(issues_nothing())
    }
}

fn issues_nothing() -> Status {
    Status::unavailable(
        "this coordinator recovers its site and issues nothing before that is finished",
    )
}

/// The node whose agent calls.
fn agent<T>(desk: &Desk, request: &Request<T>) -> Result<(NodeId, PeerIdentity), Status> {
    let peer =
        tls::peer(request).ok_or_else(|| Status::unauthenticated("show an agent's certificate"))?;
    let Principal::Agent(node) = peer.id.principal.clone() else {
        return Err(Status::permission_denied(format!(
            "{} is no agent",
            peer.id
        )));
    };
    if peer.id.site != desk.base.site {
        let site = &desk.base.site;
        return Err(Status::permission_denied(format!(
            "this is the site {site}"
        )));
    }
    if peer.not_after_unix_ms < desk.clock.unix_ms() {
        return Err(Status::unauthenticated("this certificate ran out"));
    }
    let revoked = &desk.base.desired.record.revoked;
    if revoked.contains_key(&peer.serial) {
        return Err(Status::unauthenticated(format!(
            "this certificate of {node} was revoked"
        )));
    }
    Ok((node, peer))
}

async fn serve(
    desk: &Desk,
    (node, peer): (&NodeId, PeerIdentity),
    mut incoming: Streaming<v1::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Status> {
    let first = tokio::time::timeout(HELLO, incoming.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
    let Some(FromAgent::Hello(hello)) = first.and_then(|message| message.kind) else {
        return Err(Status::invalid_argument("a session begins with Hello"));
    };
    understands(hello.protocol)?;
    let run = hello.started_unix_ms;
    let heard = Heard {
        certificate: CertificateRecord {
            serial: peer.serial,
            not_after_unix_ms: peer.not_after_unix_ms,
        },
        started_unix_ms: run,
        version: hello.version.chars().take(64).collect(),
        told: None,
        holds: Default::default(),
        hears: Default::default(),
    };
    desk.arrived(node, heard)?;
    let welcome = v1::Welcome {
        coordinator: desk.base.own.to_string(),
        version: crate::version().to_owned(),
        protocol: PROTOCOL,
        // Nobody leads: no node is to tell another that it does.
        leadership: None,
    };
    let theirs = hello.assignment.map_or(0, |id| id.incarnation);
    for kind in [
        ToAgent::Welcome(welcome),
        ToAgent::Recover(desk.question(theirs)),
    ] {
        let message = v1::CoordinatorMessage { kind: Some(kind) };
        let sent = outgoing.send(Ok(message)).await;
        sent.map_err(|_| Status::cancelled("the agent went away"))?;
    }
    loop {
        let message = tokio::select! {
            message = incoming.message() => message,
            () = desk.is_finished() => return Err(desk.dial_again()),
        };
        let Ok(Some(message)) = message else {
            return Ok(());
        };
        match message.kind {
            Some(FromAgent::Holdings(holdings)) => desk.told(node, run, holdings),
            Some(FromAgent::Facts(facts)) if facts.node == node.as_str() => {
                desk.facts(node, run, &facts);
            }
            Some(FromAgent::Facts(_)) => {
                return Err(Status::permission_denied(format!(
                    "{node} may not speak for another"
                )));
            }
            Some(FromAgent::Peers(view)) => desk.peers(node, run, &view),
            // What is acknowledged was told by a coordinator of before; an unknown kind is of a
            // later release.
            Some(
                FromAgent::Hello(_)
                | FromAgent::AssignmentAck(_)
                | FromAgent::KeyRingAck(_)
                | FromAgent::Upgrade(_)
                | FromAgent::Role(_)
                | FromAgent::RolePlan(_)
                | FromAgent::Database(_),
            )
            | None => {}
        }
    }
}
