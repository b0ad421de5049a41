//! An agent's end of a session with a coordinator under test.

use std::net::SocketAddr;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::parts::Assembly;
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::v1;
use hamesh_proto::v1::agents_client::AgentsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::GENEROUS;
use crate::agents::PROTOCOL;

/// An agent's end of a session.
pub(crate) struct TestAgent {
    outgoing: mpsc::Sender<v1::AgentMessage>,
    incoming: Result<Streaming<v1::CoordinatorMessage>, Status>,
    parts: Assembly<v1::Assignment>,
    /// How many parts of assignments came.
    pub parts_seen: usize,
}

impl TestAgent {
    /// Opens a session with whoever answers there; of the present protocol, if none is given.
    pub async fn open(api: SocketAddr, who: &LiveCredentials, hello: v1::Hello) -> Self {
        let (outgoing, messages) = mpsc::channel(16);
        let hello = v1::agent_message::Kind::Hello(v1::Hello {
            version: "0".to_owned(),
            protocol: match hello.protocol {
                0 => PROTOCOL,
                given => given,
            },
            ..hello
        });
        let message = v1::AgentMessage { kind: Some(hello) };
        outgoing.send(message).await.expect("room");
        let mut client = AgentsClient::new(channel(api, who, Expect::Coordinator));
        let opened = client.session(ReceiverStream::new(messages)).await;
        Self {
            outgoing,
            incoming: opened.map(tonic::Response::into_inner),
            parts: Assembly::default(),
            parts_seen: 0,
        }
    }

    pub async fn say(&self, kind: v1::agent_message::Kind) {
        let message = v1::AgentMessage { kind: Some(kind) };
        self.outgoing
            .send(message)
            .await
            .expect("the session is open");
    }

    pub async fn hears(&self, peers: &[&str]) {
        let peer = |node: &&str| v1::Peer {
            node: (*node).to_owned(),
            alive: true,
            facts: None,
        };
        let peers = peers.iter().map(peer).collect();
        self.say(v1::agent_message::Kind::Peers(v1::PeerView { peers }))
            .await;
    }

    pub async fn acknowledge_ring(&self, version: u64) {
        let ack = v1::GossipKeyRingAck { version };
        self.say(v1::agent_message::Kind::KeyRingAck(ack)).await;
    }

    /// The next message, or how the session ended. An assignment in parts is given whole.
    pub async fn next(&mut self) -> Result<v1::coordinator_message::Kind, Status> {
        loop {
            let part = match self.receive().await? {
                v1::coordinator_message::Kind::AssignmentPart(part) => part,
                other => return Ok(other),
            };
            self.parts_seen += 1;
            if let Some(whole) = self.parts.take(&part.content, part.last).expect("a part") {
                return Ok(v1::coordinator_message::Kind::Assignment(whole));
            }
        }
    }

    async fn receive(&mut self) -> Result<v1::coordinator_message::Kind, Status> {
        let incoming = self.incoming.as_mut().map_err(|status| status.clone())?;
        let next = tokio::time::timeout(GENEROUS, incoming.message()).await;
        let message = next.expect("a message within a minute")?;
        let message = message.ok_or_else(|| Status::ok("the stream ended"))?;
        Ok(message.kind.expect("a known kind"))
    }

    /// Reads on until an assignment comes.
    pub async fn assignment(&mut self) -> v1::Assignment {
        loop {
            if let v1::coordinator_message::Kind::Assignment(it) =
                self.next().await.expect("the session goes on")
            {
                return it;
            }
        }
    }

    /// Reads on until lease keys with so many peers come.
    pub async fn lease_keys(&mut self, peers: usize) -> v1::LeaseKeys {
        loop {
            if let v1::coordinator_message::Kind::LeaseKeys(it) =
                self.next().await.expect("the session goes on")
                && it.peers.len() == peers
            {
                return it;
            }
        }
    }

    /// Reads on until a key ring comes.
    pub async fn ring(&mut self) -> v1::GossipKeyRing {
        loop {
            if let v1::coordinator_message::Kind::KeyRing(it) =
                self.next().await.expect("the session goes on")
            {
                return it;
            }
        }
    }

    /// Reads on until an order of the node's role comes.
    pub async fn order(&mut self) -> v1::SignedRole {
        let mut parts = Assembly::<v1::SignedRole>::default();
        loop {
            if let v1::coordinator_message::Kind::RolePart(part) =
                self.next().await.expect("the session goes on")
                && let Some(whole) = parts.take(&part.content, part.last).expect("a part")
            {
                return whole;
            }
        }
    }

    /// Reads on until the session ends.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}
