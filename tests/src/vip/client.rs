//! The prober: a fresh connection every 5 ms from a client's network namespace.
//!
//! Each fetches the page that HAProxy serves by itself, so that an answer means a service and not
//! only a kernel that accepts. It runs on a thread of its own with a raised priority, or a busy
//! machine would be measured as a silent address.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::figures::Established;
use super::inside;
use super::probes::{EVERY, GIVE_UP, Probe};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n";
const KEPT_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: page\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 ";
/// Longer than the page.
const LONGEST: usize = 1024;
/// How long an established connection may take to answer once more.
const KEPT_PATIENCE: Duration = Duration::from_secs(2);

/// What is known of a client while its prober runs.
#[derive(Debug, Default)]
pub struct Pulse {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Pulse {
    /// Whether every probe since `since` was answered, and one at least. `since` is counted from
    /// the start of the run; a probe under way is not known yet.
    pub fn is_steady(&self, since: Duration) -> bool {
        let since = micros(since);
        let answered = self.answered.load(Ordering::Relaxed);
        answered > since && self.failed.load(Ordering::Relaxed) < since
    }

    fn note(&self, probe: &Probe) {
        let which = match probe.answered {
            Some(_) => &self.answered,
            None => &self.failed,
        };
        which.fetch_max(micros(probe.start), Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Probes until told to stop, and gives all probes in the order of their starts.
///
/// # Errors
/// The namespace cannot be entered, or no runtime be made.
pub fn probe(
    namespace: &Path,
    target: SocketAddr,
    origin: Instant,
    (pulse, stop): (&Arc<Pulse>, &AtomicBool),
) -> Result<Vec<Probe>> {
    inside::enter(namespace)?;
    // Without it figures are only less sharp under load.
    let _ = hamesh_kernel::thread::make_fit();
    let probes = Arc::new(Mutex::new(Vec::new()));
    runtime()?.block_on(async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let (probes, pulse) = (Arc::clone(&probes), Arc::clone(pulse));
            tokio::spawn(async move {
                let probe = one(target, origin).await;
                pulse.note(&probe);
                probes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(probe);
            });
        }
        // Those under way are given up by then.
        tokio::time::sleep(GIVE_UP + EVERY).await;
    });
    let mut probes = std::mem::take(&mut *probes.lock().unwrap_or_else(PoisonError::into_inner));
    probes.sort_by_key(|probe| probe.start);
    Ok(probes)
}

async fn one(target: SocketAddr, origin: Instant) -> Probe {
    let begun = Instant::now();
    let mut probe = Probe {
        start: begun.saturating_duration_since(origin),
        connected: None,
        answered: None,
    };
    let deadline = tokio::time::Instant::from_std(begun + GIVE_UP);
    let connected = &mut probe.connected;
    let fetch = async {
        let mut stream = TcpStream::connect(target).await?;
        *connected = Some(begun.elapsed());
        // Closing by reset leaves no port waiting: there are thousands of connections a minute.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        fetch(&mut stream, REQUEST).await
    };
    if matches!(timeout_at(deadline, fetch).await, Ok(Ok(()))) {
        probe.answered = Some(begun.elapsed());
    }
    probe
}

/// Fetches the page over a connection.
async fn fetch(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut page = Vec::with_capacity(LONGEST);
    while !is_whole(&page) {
        if page.len() > LONGEST || stream.read_buf(&mut page).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// Whether a page has come: the right status, and the last line of its body.
fn is_whole(page: &[u8]) -> bool {
    let body = page.windows(4).position(|four| four == b"\r\n\r\n");
    page.starts_with(ANSWER) && body.is_some_and(|at| page[at + 4..].ends_with(b"\n"))
}

/// Opens connections that stay, waits until told to go on, and sees which still answer.
///
/// # Errors
/// The namespace cannot be entered, or the connections not be opened.
pub fn keep_open(
    namespace: &Path,
    target: SocketAddr,
    count: u32,
    (ready, stop): (&AtomicBool, &AtomicBool),
) -> Result<Established> {
    inside::enter(namespace)?;
    runtime()?.block_on(async {
        let mut open = Vec::new();
        for _ in 0..count {
            let connect = async {
                let mut stream = TcpStream::connect(target).await?;
                fetch(&mut stream, KEPT_REQUEST).await?;
                io::Result::Ok(stream)
            };
            let stream = timeout(KEPT_PATIENCE, connect).await;
            open.push(stream.context("opening a connection took too long")??);
        }
        ready.store(true, Ordering::Relaxed);
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut reset = 0;
        for stream in &mut open {
            let answer = timeout(KEPT_PATIENCE, fetch(stream, KEPT_REQUEST)).await;
            reset += u32::from(!matches!(answer, Ok(Ok(()))));
        }
        Ok(Established { open: count, reset })
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("making a runtime")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Serves one connection with these bytes, on the loopback.
    fn serving(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 256];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(bytes);
            // Held open: a page that never ends must be given up, not seen as ended.
            std::thread::sleep(2 * GIVE_UP);
        });
        address
    }

    fn probed(target: SocketAddr) -> Probe {
        runtime()
            .expect("a runtime")
            .block_on(one(target, Instant::now()))
    }

    #[test]
    fn a_page_that_came_whole_is_an_answer() {
        let page = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nproxy-1\n";
        let probe = probed(serving(page));
        assert!(
            probe.connected.is_some() && probe.answered.is_some(),
            "{probe:?}"
        );
    }

    #[test]
    fn an_error_or_half_a_page_is_none() {
        for bytes in [
            &b"HTTP/1.1 503 Service Unavailable\r\n\r\nno\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nprox",
        ] {
            let probe = probed(serving(bytes));
            assert!(
                probe.connected.is_some() && probe.answered.is_none(),
                "{probe:?}"
            );
        }
    }

    #[test]
    fn a_refused_connection_is_none() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let probe = probed(address);
        assert_eq!((probe.connected, probe.answered), (None, None));
    }

    #[test]
    fn a_pulse_is_steady_only_since_the_last_failure() {
        let pulse = Pulse::default();
        let probe = |ms, answered: bool| Probe {
            start: Duration::from_millis(ms),
            connected: None,
            answered: answered.then_some(Duration::ZERO),
        };
        assert!(!pulse.is_steady(Duration::ZERO), "nothing was answered");
        pulse.note(&probe(100, false));
        pulse.note(&probe(300, true));
        assert!(pulse.is_steady(Duration::from_millis(200)));
        assert!(
            !pulse.is_steady(Duration::from_millis(50)),
            "one failed since"
        );
        assert!(
            !pulse.is_steady(Duration::from_millis(400)),
            "none was answered since"
        );
    }
}
