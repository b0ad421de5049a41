//! What one listener admits, counts and logs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Handshakes at one time. One costs this side a quarter of a millisecond of CPU and 20 KiB.
    pub handshakes: usize,
    /// How long one may take, from the accepted TCP connection on.
    pub timeout: Duration,
    /// Connections at one time, those in their handshake included.
    pub connections: usize,
    /// Connections at one time from one IPv4 address or one IPv6 /64 network.
    pub per_source: usize,
}

impl HandshakeLimits {
    /// For a listener that asks for no client certificate. Nodes enrol a few at a time, briefly.
    pub fn for_strangers() -> Self {
        Self {
            handshakes: 32,
            timeout: Duration::from_secs(5),
            connections: 128,
            per_source: 8,
        }
    }
}

impl Default for HandshakeLimits {
    /// For sites of up to 200 members, each with a few connections.
    fn default() -> Self {
        Self {
            handshakes: 128,
            timeout: Duration::from_secs(5),
            connections: 2048,
            per_source: 64,
        }
    }
}

/// What happened at a listener since it started; ever-rising.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Handshakes that succeeded.
    pub established: AtomicU64,
    /// Handshakes that failed: no TLS, no or a refused certificate, a broken connection.
    pub failed: AtomicU64,
    /// Handshakes that took too long.
    pub timed_out: AtomicU64,
    /// Connections closed at once because a bound was reached.
    pub over_limit: AtomicU64,
    /// Failures of `accept` itself, such as too many open files.
    pub accept_errors: AtomicU64,
}

/// The connections that stand.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) limits: HandshakeLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    source: IpAddr,
}

impl Slots {
    pub(super) fn new(limits: HandshakeLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let source = source_of(ip);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.total >= self.limits.connections || here >= self.limits.per_source {
            return None;
        }
        taken.total += 1;
        taken.by_source.insert(source, here + 1);
        Some(Slot {
            slots: Arc::clone(self),
            source,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self
            .slots
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(count) = taken.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// One IPv6 host owns a whole /64, so that is one source.
fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// At most one line in this time; a flood must not fill the journal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Logs refused connections, now and then.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<(Option<Instant>, u64)>);

impl Complaints {
    pub(super) fn log(&self, phase: &'static str, remote: Option<SocketAddr>, why: &dyn Display) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unlogged) = &mut *state;
        if last.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            *unlogged += 1;
            return;
        }
        let remote = remote.map(|addr| addr.to_string()).unwrap_or_default();
        tracing::info!(phase, remote, reason = %why, unlogged, "connection refused");
        *last = Some(Instant::now());
        *unlogged = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(connections: usize, per_source: usize) -> Arc<Slots> {
        Slots::new(HandshakeLimits {
            connections,
            per_source,
            ..HandshakeLimits::default()
        })
    }

    #[test]
    fn one_source_cannot_take_what_others_need_and_gives_back_what_it_drops() {
        let slots = slots(3, 2);
        let (one, two): (IpAddr, IpAddr) = (
            "192.0.2.1".parse().expect("an address"),
            "192.0.2.2".parse().expect("an address"),
        );
        let first = slots.take(one).expect("free");
        let _second = slots.take(one).expect("free");
        assert!(slots.take(one).is_none(), "a third from one source");
        let _third = slots.take(two).expect("room for another source");
        assert!(slots.take(two).is_none(), "a fourth in all");
        drop(first);
        assert!(slots.take(two).is_some());
        let taken = slots.taken.lock().expect("not poisoned");
        assert_eq!((taken.total, taken.by_source.len()), (2, 2));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let source = |text: &str| source_of(text.parse().expect("an address"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
