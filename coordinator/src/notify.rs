//! Tells systemd how the service is: sd_notify(3)'s protocol, one datagram per message.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// "Ready", after which systemd starts what waits for this service.
pub const READY: &str = "READY=1";
/// "Stopping".
pub const STOPPING: &str = "STOPPING=1";

/// Sends one message, if systemd asked for it. It is for show: a failure is only logged.
pub fn notify(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&path, message) {
        tracing::debug!(%error, message, "systemd was not told");
    }
}

fn send(path: &OsString, message: &str) -> std::io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_at_a_socket_with_a_path_and_at_an_abstract_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let name = format!("hamesh-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("an address");
        let by_name = UnixDatagram::bind_addr(&abstract_address).expect("a socket");
        for (socket, target) in [
            (by_path, path.into_os_string()),
            (by_name, format!("@{name}").into()),
        ] {
            send(&target, READY).expect("sent");
            let mut received = [0; 16];
            let length = socket.recv(&mut received).expect("received");
            assert_eq!(&received[..length], READY.as_bytes());
        }
    }
}
