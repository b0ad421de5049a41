//! The machine around a simulated holder: its fence and its `/run` are memory, its wire is a real
//! socket, and it tells what the holder does to its claims.
//!
//! A renewal arms the fence until a time-to-live after its request was sent: so what is missing of
//! a time-to-live when it is armed is how long the renewal took, as the holder counts it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamesh_agent::claims::machine::monotonic;
use hamesh_agent::claims::world::{Subject, Trouble, World};
use hamesh_claims::Moment;
use hamesh_claims::member::RunMemory;
use hamesh_kernel::fence::Written;
use hamesh_proto::ids::ClaimId;
use tokio::net::UdpSocket;

use super::seen::Seen;

/// What all agents saw and hold together.
#[derive(Debug, Default)]
pub struct Tally {
    watching: AtomicBool,
    held: AtomicI64,
    seen: Mutex<Seen>,
}

impl Tally {
    /// From now on what is seen is kept.
    pub fn begin(&self) {
        *self.seen() = Seen::default();
        self.watching.store(true, Ordering::Relaxed);
    }

    /// Ends that, and gives what was seen.
    pub fn end(&self) -> Seen {
        self.watching.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.seen())
    }

    /// How many claims are held now.
    pub fn held(&self) -> i64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Notes something, while it is watched.
    pub fn note(&self, note: impl FnOnce(&mut Seen)) {
        if self.watching.load(Ordering::Relaxed) {
            note(&mut self.seen());
        }
    }

    fn hold(&self, by: i64) {
        self.held.fetch_add(by, Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One agent's machine.
#[derive(Debug)]
pub struct Machine {
    socket: Arc<UdpSocket>,
    tally: Arc<Tally>,
    /// Of every claim.
    ttl: Duration,
    open: BTreeMap<IpAddr, Moment>,
    run: BTreeMap<ClaimId, RunMemory>,
}

impl Machine {
    /// With nothing open; all claims have leases of `ttl`.
    pub fn new(socket: Arc<UdpSocket>, tally: Arc<Tally>, ttl: Duration) -> Self {
        Self {
            socket,
            tally,
            ttl,
            open: BTreeMap::new(),
            run: BTreeMap::new(),
        }
    }

    /// Until when all of these are open; none: at least one is not.
    fn open_until(&self, addresses: &[IpAddr]) -> Option<Moment> {
        let open = addresses.iter().map(|ip| self.open.get(ip).copied());
        open.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// What the kernel does, whose timeout is what is left now.
    fn arm(&mut self, addresses: &[IpAddr], until: Moment, now: Moment) -> Written {
        if now >= until {
            self.close(addresses);
            return Written::TooLate;
        }
        self.open.extend(addresses.iter().map(|ip| (*ip, until)));
        Written::Live
    }

    fn close(&mut self, addresses: &[IpAddr]) {
        if self.open_until(addresses).is_some() {
            self.tally.hold(-1);
            self.tally.note(|seen| seen.let_go += 1);
        }
        for ip in addresses {
            self.open.remove(ip);
        }
    }
}

impl World for Machine {
    fn now(&mut self) -> Moment {
        monotonic()
    }

    fn take(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let addresses = what.addresses();
        let was_open = self.open_until(addresses).is_some();
        let written = self.arm(addresses, until, monotonic());
        if written == Written::Live && !was_open {
            self.tally.hold(1);
            self.tally.note(|seen| seen.taken += 1);
        }
        Ok(written)
    }

    fn renew(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let addresses = what.addresses();
        let now = monotonic();
        let before = self.open_until(addresses).filter(|before| now < *before);
        let Some(before) = before else {
            self.tally.note(|seen| seen.lapsed += 1);
            self.close(addresses);
            return Ok(Written::Lapsed);
        };
        let written = self.arm(addresses, until, now);
        if written == Written::Live {
            let took = self.ttl.saturating_sub(until.since(now));
            self.tally
                .note(|seen| seen.renewed(took, before.since(now)));
        }
        Ok(written)
    }

    fn give_back(&mut self, what: Subject<'_>) -> Result<(), Trouble> {
        let addresses = what.addresses();
        self.close(addresses);
        Ok(())
    }

    fn still_open(&mut self, what: Subject<'_>) -> Option<Duration> {
        let addresses = what.addresses();
        let (now, until) = (monotonic(), self.open_until(addresses)?);
        (now < until).then(|| until.since(now))
    }

    fn stand_by(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn let_read(&mut self, _during: Duration) -> Result<(), Trouble> {
        Ok(())
    }

    fn remember(&mut self, claim: &ClaimId, memory: &RunMemory) -> Result<(), Trouble> {
        self.run.insert(claim.clone(), memory.clone());
        Ok(())
    }

    fn recall(&mut self, claim: &ClaimId) -> Option<RunMemory> {
        self.run.get(claim).cloned()
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        // Lost like any datagram: the next request is sent soon enough.
        drop(self.socket.try_send_to(datagram, to));
    }

    fn draw(&mut self) -> u64 {
        fastrand::u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_renewal_took_what_is_missing_of_a_lease_and_a_late_one_lapsed() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let tally = Arc::new(Tally::default());
        let mut machine = Machine::new(Arc::new(socket), Arc::clone(&tally), TTL);
        let ip = ["10.0.0.1".parse().expect("an address")];
        let now = monotonic();
        assert_eq!(
            machine.take(Subject::Addresses(&ip), now.plus(TTL)),
            Ok(Written::Live)
        );
        assert_eq!(tally.held(), 1);
        tally.begin();
        let answered = monotonic().plus(TTL - Duration::from_millis(20));
        assert_eq!(
            machine.renew(Subject::Addresses(&ip), answered),
            Ok(Written::Live)
        );
        machine.open.insert(ip[0], now);
        assert_eq!(
            machine.renew(Subject::Addresses(&ip), now.plus(TTL)),
            Ok(Written::Lapsed)
        );
        assert_eq!(tally.held(), 0);
        let seen = tally.end();
        assert_eq!((seen.renewals(), seen.lapsed, seen.let_go), (1, 1, 1));
        assert!(seen.times().max_ms >= 20.0, "{seen:?}");
    }
}
