//! A machine of memory: its fence closes by itself, its `/run` and its kernel can be spoilt.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hamesh_agent::claims::world::{Subject, Trouble, World};
use hamesh_claims::Moment;
use hamesh_claims::member::RunMemory;
use hamesh_kernel::fence::Written;
use hamesh_proto::ids::ClaimId;

/// One clock for all machines of a test.
#[derive(Clone, Default)]
pub struct Clock(Rc<Cell<Moment>>);

impl Clock {
    pub fn now(&self) -> Moment {
        self.0.get()
    }

    pub fn pass(&self, span: Duration) {
        self.0.set(self.0.get().plus(span));
    }
}

#[derive(Default)]
pub struct Memory {
    pub clock: Clock,
    pub open: BTreeMap<IpAddr, Moment>,
    pub configured: BTreeSet<IpAddr>,
    pub run: BTreeMap<ClaimId, RunMemory>,
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Someone flushed the rules.
    pub flushed: bool,
    /// Nothing can be written to `/run`.
    pub run_full: bool,
    /// The kernel takes nothing away.
    pub stuck: bool,
    /// How long a commit to the fence takes.
    pub commit: Duration,
    drawn: u64,
}

impl Memory {
    pub fn new(clock: Clock, drawn: u64) -> Self {
        Self {
            clock,
            drawn,
            ..Self::default()
        }
    }

    /// Whether the network gets an answer for the address here.
    pub fn answers(&self, ip: IpAddr) -> bool {
        let open = self.open.get(&ip);
        self.configured.contains(&ip) && open.is_some_and(|until| self.clock.now() < *until)
    }

    fn live(&self, addresses: &[IpAddr]) -> bool {
        let now = self.clock.now();
        let open = |ip: &IpAddr| self.open.get(ip).is_some_and(|until| now < *until);
        addresses.iter().all(open)
    }

    /// What the kernel's crate does: the timeout is what is left now, in force after the commit.
    fn arm(&mut self, addresses: &[IpAddr], until: Moment) -> Result<Written, Trouble> {
        let left = until.since(self.clock.now());
        self.clock.pass(self.commit);
        let now = self.clock.now();
        for ip in addresses {
            self.open.insert(*ip, now.plus(left));
        }
        if now < until {
            return Ok(Written::Live);
        }
        self.give_back(Subject::Addresses(addresses))?;
        Ok(Written::TooLate)
    }
}

impl World for Memory {
    fn now(&mut self) -> Moment {
        self.clock.now()
    }

    fn take(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let addresses = what.addresses();
        if self.flushed {
            return Err(Trouble::NotLoaded);
        }
        let written = self.arm(addresses, until)?;
        if written == Written::Live {
            self.configured.extend(addresses);
        }
        Ok(written)
    }

    fn renew(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let addresses = what.addresses();
        if self.flushed {
            drop(self.give_back(what));
            return Err(Trouble::NotLoaded);
        }
        if !self.live(addresses) {
            self.give_back(what)?;
            return Ok(Written::Lapsed);
        }
        self.arm(addresses, until)
    }

    fn give_back(&mut self, what: Subject<'_>) -> Result<(), Trouble> {
        let addresses = what.addresses();
        if self.stuck {
            return Err(Trouble::Other("the kernel is stuck".to_owned()));
        }
        for ip in addresses {
            self.open.remove(ip);
            self.configured.remove(ip);
        }
        if self.flushed {
            return Err(Trouble::NotLoaded);
        }
        Ok(())
    }

    fn still_open(&mut self, what: Subject<'_>) -> Option<Duration> {
        let addresses = what.addresses();
        let now = self.clock.now();
        let left = addresses.iter().map(|ip| self.open.get(ip).copied());
        let left = left.collect::<Option<Vec<_>>>()?.into_iter().min()?;
        (now < left).then(|| left.since(now))
    }

    fn stand_by(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn let_read(&mut self, _during: Duration) -> Result<(), Trouble> {
        Ok(())
    }

    fn remember(&mut self, claim: &ClaimId, memory: &RunMemory) -> Result<(), Trouble> {
        if self.run_full {
            return Err(Trouble::Other("no space left".to_owned()));
        }
        self.run.insert(claim.clone(), memory.clone());
        Ok(())
    }

    fn recall(&mut self, claim: &ClaimId) -> Option<RunMemory> {
        self.run.get(claim).cloned()
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.sent.push((to, datagram.to_vec()));
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }
}
