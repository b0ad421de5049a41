//! Accepting connections, for tonic and for plain HTTP.
//!
//! Handshakes run side by side, each within a time limit; their number, the number of connections
//! and the number per source address are bounded. What goes over a bound is closed at once and
//! counted, so that a flood from one address leaves room for the others. No error ends the stream:
//! it ends only when it is dropped.
//!
//! ```text
//! accept -> over a bound? -- yes --> close, count
//!              | no
//!           handshake (own task, timed) -- fails --> close, count, log once in a while
//!              | done
//!           stream of TlsConnection
//! ```

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::bounds::{Complaints, HandshakeLimits, ListenerCounters, Slot, Slots};
use super::peer::{PeerIdentity, PeerInfo};
use super::{KEEP_ALIVE_EVERY, KEEP_ALIVE_TIMEOUT, tune};
use crate::leaf::Leaf;

/// Established connections of one listener. Dropping it closes the listener.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<TlsConnection>,
    local_addr: io::Result<SocketAddr>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: PeerInfo,
    _slot: Slot,
}

/// A tonic server with the keep-alives and bounds that every hamesh service has.
pub fn grpc_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        // An agent has one stream and the odd call; an operator a handful.
        .max_concurrent_streams(64)
        .http2_max_header_list_size(16 * 1024)
}

/// How long a stranger's connection may last, however lively it is, and how much longer a call
/// that it has begun may take.
const STRANGER_AGE: Duration = Duration::from_secs(20);
const STRANGER_GRACE: Duration = Duration::from_secs(5);

/// As [`grpc_server`], for a listener that asks for no client certificate: calls are few, and no
/// connection lasts.
pub fn stranger_server() -> Server {
    grpc_server()
        .max_concurrent_streams(4)
        .timeout(STRANGER_AGE)
        .max_connection_age(STRANGER_AGE)
        .max_connection_age_grace(STRANGER_GRACE)
}

/// Starts accepting. Must be called within a tokio runtime.
pub fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: HandshakeLimits,
    counters: Arc<ListenerCounters>,
) -> Incoming {
    // Connections wait here only until the server's next poll.
    let (done, ready) = mpsc::channel(16);
    let local_addr = listener.local_addr();
    let acceptor = Acceptor {
        tls: TlsAcceptor::from(config),
        handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        slots: Slots::new(limits),
        counters,
        complaints: Arc::new(Complaints::default()),
        done,
    };
    tokio::spawn(acceptor.run(listener));
    Incoming { ready, local_addr }
}

impl Incoming {
    /// Where the listener listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.local_addr {
            Ok(addr) => Ok(*addr),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Option<TlsConnection> {
        self.ready.recv().await
    }
}

impl tokio_stream::Stream for Incoming {
    type Item = io::Result<TlsConnection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|next| next.map(Ok))
    }
}

impl TlsConnection {
    /// Who is on the other side.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

#[derive(Clone)]
struct Acceptor {
    tls: TlsAcceptor,
    handshakes: Arc<Semaphore>,
    slots: Arc<Slots>,
    counters: Arc<ListenerCounters>,
    complaints: Arc<Complaints>,
    done: mpsc::Sender<TlsConnection>,
}

/// How long to wait after a failed `accept`: the usual cause, too many open files, does not pass
/// by itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                () = self.done.closed() => return,
                Some(_) = handshakes.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, remote)) => self.admit(&mut handshakes, stream, remote),
                    Err(error) => {
                        count(&self.counters.accept_errors);
                        self.complaints.log("accept", None, &error);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn admit(&self, handshakes: &mut JoinSet<()>, stream: TcpStream, remote: SocketAddr) {
        let permit = Arc::clone(&self.handshakes).try_acquire_owned();
        let slot = self.slots.take(remote.ip());
        if let (Ok(permit), Some(slot)) = (permit, slot) {
            handshakes.spawn(self.clone().shake(stream, remote, permit, slot));
        } else {
            count(&self.counters.over_limit);
            self.complaints
                .log("limit", Some(remote), &"too many connections");
        }
    }

    async fn shake(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        permit: OwnedSemaphorePermit,
        slot: Slot,
    ) {
        let handshake = async {
            tune(&stream)?;
            let stream = self.tls.accept(stream).await?;
            let identity = identity_of(&stream)?;
            Ok::<_, io::Error>((stream, identity))
        };
        let finished = tokio::time::timeout(self.slots.limits.timeout, handshake).await;
        drop(permit);
        match finished {
            Ok(Ok((stream, identity))) => {
                count(&self.counters.established);
                let peer = PeerInfo { remote, identity };
                // An error means that the listener is gone, and the connection with it.
                let _ = self
                    .done
                    .send(TlsConnection {
                        stream,
                        peer,
                        _slot: slot,
                    })
                    .await;
            }
            Ok(Err(error)) => {
                count(&self.counters.failed);
                self.complaints.log("handshake", Some(remote), &error);
            }
            Err(elapsed) => {
                count(&self.counters.timed_out);
                self.complaints.log("handshake", Some(remote), &elapsed);
            }
        }
    }
}

/// The verifier has already checked the certificate; here it is read again to learn the name.
fn identity_of(stream: &TlsStream<TcpStream>) -> io::Result<Option<PeerIdentity>> {
    let (_, session) = stream.get_ref();
    let Some(der) = session.peer_certificates().and_then(<[_]>::first) else {
        return Ok(None);
    };
    let leaf = Leaf::parse_unverified(der)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(leaf.into()))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
