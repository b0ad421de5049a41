//! Connections between members of a site: TLS 1.3, both sides known by their identity.
//!
//! What holds for every connection made here:
//! - TLS 1.3 only, ring's primitives, ECDSA P-256 certificates from the site's CAs.
//! - The peer is known by its SPIFFE identity, never by a DNS name or an address; but for a program
//!   that is none of ours (Patroni): it has a certificate for its address.
//! - The listening side presents, and both sides check against, the credentials of the moment:
//!   a renewal, a rotated CA or a revoked serial number counts from the next handshake on.
//! - No session is ever resumed, and there is no early data: each connection proves both
//!   identities afresh, so that a replaced or revoked certificate cannot live on in a ticket.
//! - Dead peers are noticed: HTTP/2 keep-alives and `TCP_USER_TIMEOUT` on both sides.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | rustls configurations |
//! | [`peer`] | who is on the other side |
//! | [`listen`], [`bounds`] | accepting: bounded, timed, never ending |
//! | [`connect`] | dialling, and channels for gRPC |
//!
//! Deliberately absent: authorisation. A handshake says who the peer is; what it may do is up to
//! the service. A connection that stands is not cut when its certificate expires or is revoked:
//! the owner of the session does that.

pub mod bounds;
pub mod config;
pub mod connect;
pub mod listen;
pub mod peer;
mod verify;

pub use bounds::{HandshakeLimits, ListenerCounters};
pub use config::{Alpn, ClientAuth, client_config, pinned_config, server_config};
pub use connect::{ConnectError, channel, connect, endpoint, pinned_channel, shows};
pub use listen::{Incoming, TlsConnection, grpc_server, incoming, stranger_server};
pub use peer::{Expect, PeerIdentity, PeerInfo, peer};

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// How often an idle HTTP/2 connection is probed.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How long such a probe may stay unanswered.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long sent bytes may stay unacknowledged: as long as the HTTP/2 probe and its timeout.
pub const USER_TIMEOUT: Duration = Duration::from_millis(3500);

/// Small messages leave at once, and a peer that vanished is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT))
}
