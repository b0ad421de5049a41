//! HAProxy's runtime API: one command on a connection of its own, and the whole answer
//! (management guide of HAProxy 2.6, section 9.3).

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long HAProxy may take to answer: it does so between two requests.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: the states of ten thousand servers.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// Asks, and waits for the end of the answer.
///
/// # Errors
/// The system's own, and no answer in time: then nobody knows whether it was done.
pub async fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        let written = stream.write_all(format!("{command}\n").as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.take(MOST_BYTES).read_to_end(&mut answer).await;
        let ended = written.and(read);
        // Who refuses a long command may say so and hang up before the end of it.
        if answer.is_empty() || !ended.as_ref().is_err_and(hung_up) {
            ended?;
        }
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    };
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(PATIENCE, asked).await.map_err(late)?
}

/// Whether HAProxy did not read all that it was sent.
pub fn hung_up(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}
