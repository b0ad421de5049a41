//! The sealed UDP transport under chitchat.
//!
//! Guarantees: nothing reaches chitchat that was not sealed with a key of the ring for this site,
//! by a member, from that member's own address, and not seen before; everything else is counted by
//! reason, logged at most once a minute per reason, and dropped. Nothing is sent to an address
//! that is not a member's (chitchat would follow any address that it is told). Sending never
//! waits: a datagram that the socket will not take now is dropped and counted, as the network
//! would.
//!
//! Idea: keys, members and credentials are read through [`ArcSwap`] at every datagram, so that a
//! rotation or a new assignment needs no restart and no false death.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::seal::{KeyRing, OpenError};
use hamesh_proto::unix_time::unix_ms;
use tokio::net::UdpSocket;

use super::clock::{ClockOffsets, Offset};
use super::frame::{self, Frame, MAX_DATAGRAM};
use super::senders::{Refusal, Senders};
use super::series::{Direction, Dropped};
use crate::metrics::Metrics;

/// How long a reason for dropping stays silent after it was logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Room for the bursts of a starved moment; the kernel cuts it to `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Who gossips, and where.
pub type Members = BTreeMap<NodeId, SocketAddr>;

/// What the transport shares with the rest of the agent.
#[derive(Debug)]
pub struct Wire {
    site: SiteName,
    node: NodeId,
    start: u64,
    ring: ArcSwap<KeyRing>,
    members: ArcSwap<Members>,
    counter: AtomicU64,
    metrics: Arc<Metrics>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    senders: Senders,
    clocks: ClockOffsets,
    logged: BTreeMap<Dropped, Instant>,
}

impl Wire {
    /// A wire of `node`, whose run has the number `start`.
    pub fn new(
        site: SiteName,
        node: NodeId,
        start: u64,
        ring: KeyRing,
        members: Members,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            site,
            node,
            start,
            ring: ArcSwap::from_pointee(ring),
            members: ArcSwap::from_pointee(members),
            counter: AtomicU64::new(0),
            metrics,
            heard: Mutex::default(),
        }
    }

    /// Seals and opens with these keys from the next datagram on.
    pub fn set_ring(&self, ring: KeyRing) {
        self.ring.store(Arc::new(ring));
    }

    /// Takes datagrams of these members from the next one on.
    pub fn set_members(&self, members: Members) {
        let mut heard = self.heard();
        heard.senders.retain(|node| members.contains_key(node));
        heard.clocks.retain(|node| members.contains_key(node));
        drop(heard);
        self.members.store(Arc::new(members));
    }

    /// This node's clock against its peers'.
    pub fn clock_offset(&self) -> Option<Offset> {
        self.heard().clocks.offset(Instant::now())
    }

    /// The sealed datagrams of one message; `None` when it is too large.
    pub fn seal(&self, message: &[u8]) -> Option<Vec<Vec<u8>>> {
        let parts = frame::parts(message)?;
        let ring = self.ring.load();
        let count = u64::try_from(parts.len()).unwrap_or(u64::MAX);
        let first = self.counter.fetch_add(count, Ordering::Relaxed);
        let sealed = (first..).zip(parts).map(|(counter, (part, body))| {
            let frame = Frame {
                sender: self.node.clone(),
                start: self.start,
                counter,
                sent_unix_ms: unix_ms(SystemTime::now()),
                part,
                body,
            };
            ring.seal(self.site.as_str().as_bytes(), &frame.encode())
        });
        Some(sealed.collect())
    }

    /// Judges one datagram; `Ok(None)` is the first half of a message.
    ///
    /// # Errors
    /// Why it is dropped. The caller counts it.
    pub fn open(&self, from: SocketAddr, datagram: &[u8]) -> Result<Option<Vec<u8>>, Dropped> {
        let ring = self.ring.load();
        let opened = ring
            .open(self.site.as_str().as_bytes(), datagram)
            .map_err(dropped)?;
        let frame = Frame::decode(&opened).map_err(|_| Dropped::BadFrame)?;
        match self.members.load().get(&frame.sender) {
            None => return Err(Dropped::NotMember),
            Some(address) if *address != from => return Err(Dropped::WrongAddress),
            Some(_) => {}
        }
        let (now, now_unix_ms) = (Instant::now(), unix_ms(SystemTime::now()));
        let mut heard = self.heard();
        let (sender, sent) = (frame.sender.clone(), frame.sent_unix_ms);
        let message = heard
            .senders
            .take(frame, now)
            .map_err(|refusal| match refusal {
                Refusal::Replayed => Dropped::Replayed,
                Refusal::Unpaired => Dropped::Unpaired,
            })?;
        let difference = now_unix_ms.cast_signed().saturating_sub(sent.cast_signed());
        heard.clocks.record(&sender, difference, now);
        Ok(message)
    }

    /// Judges one datagram down to chitchat's message, counting whatever is dropped.
    fn receive(&self, from: SocketAddr, datagram: &[u8]) -> Option<ChitchatMessage> {
        self.metrics
            .gossip
            .datagram(Direction::Received, datagram.len());
        let message = self.open(from, datagram).and_then(|message| match message {
            None => Ok(None),
            Some(bytes) => ChitchatMessage::deserialize(&mut bytes.as_slice())
                .map(Some)
                .map_err(|_| Dropped::BadMessage),
        });
        message.unwrap_or_else(|reason| {
            self.reject(reason, from);
            None
        })
    }

    fn reject(&self, reason: Dropped, peer: SocketAddr) {
        self.metrics.gossip.dropped(reason);
        let now = Instant::now();
        let mut heard = self.heard();
        let silent = heard
            .logged
            .get(&reason)
            .is_some_and(|last| now.saturating_duration_since(*last) < LOG_EVERY);
        if !silent {
            heard.logged.insert(reason, now);
            drop(heard);
            let so_far = self.metrics.gossip.dropped_so_far(reason);
            let reason = reason.label();
            tracing::warn!(reason, %peer, so_far, "gossip datagrams dropped: {reason}");
        }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dropped(error: OpenError) -> Dropped {
    match error {
        OpenError::Short | OpenError::Version(_) => Dropped::Malformed,
        OpenError::UnknownKey(_) => Dropped::UnknownKey,
        OpenError::Broken => Dropped::Unauthenticated,
    }
}

/// Opens [`WireSocket`]s for chitchat.
#[derive(Debug)]
pub struct WireTransport(pub Arc<Wire>);

#[async_trait]
impl Transport for WireTransport {
    async fn open(&self, address: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = bind(address).with_context(|| format!("cannot gossip on UDP {address}"))?;
        // From the start: a socket says when it takes datagrams only once it was asked.
        socket.writable().await?;
        let buffer = vec![0; MAX_DATAGRAM + 1].into_boxed_slice();
        Ok(Box::new(WireSocket {
            wire: self.0.clone(),
            socket,
            buffer,
        }))
    }
}

/// One open socket.
#[derive(Debug)]
struct WireSocket {
    wire: Arc<Wire>,
    socket: UdpSocket,
    buffer: Box<[u8]>,
}

#[async_trait]
impl Socket for WireSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        if !self
            .wire
            .members
            .load()
            .values()
            .any(|member| *member == to)
        {
            self.wire.reject(Dropped::NotMember, to);
            return Ok(());
        }
        let Some(datagrams) = self.wire.seal(&message.serialize_to_vec()) else {
            self.wire.reject(Dropped::TooLarge, to);
            return Ok(());
        };
        for datagram in datagrams {
            match self.socket.try_send_to(&datagram, to) {
                Ok(sent) => self.wire.metrics.gossip.datagram(Direction::Sent, sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wire.reject(Dropped::SendBusy, to);
                }
                Err(_) => self.wire.reject(Dropped::SendFailed, to),
            }
        }
        Ok(())
    }

    // Cancel-safe: the only await is `recv_from`, which is, and what it yields is judged at once.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.socket.recv_from(&mut self.buffer).await {
                Ok((length, from)) => {
                    if let Some(message) = self.wire.receive(from, &self.buffer[..length]) {
                        return Ok((from, message));
                    }
                }
                // An ICMP answer to an earlier datagram: its receiver is not there now.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error).context("the gossip socket broke"),
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
