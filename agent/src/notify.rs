//! Tells systemd how the agent is doing (sd_notify(3)): one datagram, no library.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends a state such as `READY=1`; does nothing when systemd did not ask for it.
///
/// # Errors
/// The system's own, when systemd asked but does not listen.
pub fn notify(state: &str) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        None => Ok(()),
        Some(socket) => send(socket.as_bytes(), state),
    }
}

fn send(socket: &[u8], state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_a_socket_with_a_path_and_at_an_abstract_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("hamesh-agent-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        let listeners = [
            (
                UnixDatagram::bind(&path),
                path.as_os_str().as_bytes().to_vec(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_name),
                format!("@{name}").into_bytes(),
            ),
        ];
        for (listener, socket) in listeners {
            let listener = listener.expect("bound");
            send(&socket, "READY=1").expect("sent");
            let mut buffer = [0; 32];
            let length = listener.recv(&mut buffer).expect("received");
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }
}
