//! Whether a TCP connection is accepted.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Outcome;

/// Connects, and hangs up at once.
pub async fn probe(server: SocketAddr) -> Outcome {
    connect(server).await.map(drop).map_err(|e| e.to_string())
}

/// A connection that leaves nothing behind when it is dropped: many checks a second would else
/// fill the table of ports with connections that linger.
pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_zero_linger()?;
    // Where nobody listens on a port of the ephemeral range, a connection can meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
