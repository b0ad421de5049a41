//! The real machine around the holder: kernel, `/run`, UDP socket. For the holder's thread alone.
//!
//! Nothing here waits for anything but the kernel.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hamesh_claims::Moment;
use hamesh_claims::member::RunMemory;
use hamesh_kernel::database::DatabaseFence;
use hamesh_kernel::fence::{Fence, FenceError, Written};
use hamesh_kernel::interfaces::Interfaces;
use hamesh_kernel::packet::PacketError;
use hamesh_kernel::reconcile::{Desired, Step};
use hamesh_kernel::vips::{VipError, Vips};
use hamesh_proto::ids::ClaimId;
use hamesh_proto::leases::{MAX_BYTES, OVERHEAD};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use super::lease::DatabaseLease;
use super::run_dir::RunDir;
use super::world::{Subject, Trouble, World};
use crate::held::describe;

/// The longest datagram that can be one of ours; one more byte shows that it is longer.
pub const LONGEST: usize = MAX_BYTES + OVERHEAD + 1;

/// This machine.
#[derive(Debug)]
pub struct Machine {
    vips: Option<Vips>,
    database: Option<DatabaseFence>,
    lease: DatabaseLease,
    run: RunDir,
    socket: Option<(SocketAddr, UdpSocket)>,
}

/// `CLOCK_MONOTONIC`, read now.
pub fn monotonic() -> Moment {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Moment::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The same moment as the kernel's crate counts it. An interruption between the two readings makes
/// it come out early, never late.
pub fn instant(moment: Moment) -> Instant {
    let now = Instant::now();
    now + moment.since(monotonic())
}

impl Machine {
    /// Opens nothing yet: a node without claims needs nothing of the kernel.
    pub const fn new(run: RunDir, lease: DatabaseLease) -> Self {
        Self {
            vips: None,
            database: None,
            lease,
            run,
            socket: None,
        }
    }

    /// Listens for lease datagrams at this address, or nowhere.
    ///
    /// # Errors
    /// The system's own; then it does not listen.
    pub fn listen(&mut self, at: Option<SocketAddr>) -> io::Result<()> {
        if self.socket.as_ref().map(|(at, _)| *at) == at {
            return Ok(());
        }
        self.socket = None;
        if let Some(at) = at {
            self.socket = Some((at, bind(at)?));
        }
        Ok(())
    }

    /// The socket for lease datagrams.
    pub fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref().map(|(_, socket)| socket)
    }

    /// Interfaces and addresses now.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn look(&mut self) -> Result<Interfaces, Trouble> {
        self.vips()?.look().cloned().map_err(trouble)
    }

    /// Puts right what others changed.
    ///
    /// # Errors
    /// [`Trouble`]: something may be left as it was.
    pub fn reconcile(&mut self, desired: &Desired) -> Result<Vec<Step>, Trouble> {
        self.vips()?.reconcile(desired).map_err(trouble)
    }

    /// Announces again at once.
    pub fn contradicted(&mut self, ip: IpAddr) {
        if let Some(vips) = &mut self.vips {
            vips.contradicted(ip, Instant::now());
        }
    }

    /// When to [`Machine::announce`].
    pub fn announcement_due(&self) -> Option<Instant> {
        self.vips.as_ref()?.announcement_due()
    }

    /// Sends what is due; how many.
    ///
    /// # Errors
    /// The first failure; the others were sent.
    pub fn announce(&mut self) -> Result<usize, PacketError> {
        match &mut self.vips {
            Some(vips) => vips.announce(Instant::now()),
            None => Ok(0),
        }
    }

    /// What was opened by hand here.
    pub fn opened_by_hand(&self) -> std::collections::BTreeSet<ClaimId> {
        self.run.opened_by_hand()
    }

    fn vips(&mut self) -> Result<&mut Vips, Trouble> {
        if self.vips.is_none() {
            self.vips = Some(Vips::open().map_err(trouble)?);
        }
        self.vips
            .as_mut()
            .ok_or_else(|| Trouble::Other("the kernel was not reached".to_owned()))
    }

    fn database(&mut self) -> Result<&mut DatabaseFence, Trouble> {
        if self.database.is_none() {
            self.database = Some(DatabaseFence::open().map_err(fence_trouble)?);
        }
        self.database
            .as_mut()
            .ok_or_else(|| Trouble::Other("the kernel was not reached".to_owned()))
    }
}

impl World for Machine {
    fn now(&mut self) -> Moment {
        monotonic()
    }

    fn take(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let deadline = instant(until);
        match what {
            Subject::Addresses(ips) => self.vips()?.take(ips, deadline).map_err(trouble),
            Subject::Database => {
                let written = self.database()?.take(deadline);
                self.lease.leads(written.as_ref().ok(), until);
                written.map_err(fence_trouble)
            }
        }
    }

    fn renew(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble> {
        let deadline = instant(until);
        match what {
            Subject::Addresses(ips) => self.vips()?.renew(ips, deadline).map_err(trouble),
            Subject::Database => {
                let written = self.database()?.renew(deadline);
                self.lease.leads(written.as_ref().ok(), until);
                written.map_err(fence_trouble)
            }
        }
    }

    fn give_back(&mut self, what: Subject<'_>) -> Result<(), Trouble> {
        match what {
            Subject::Addresses(ips) => self.vips()?.give_back(ips).map_err(trouble),
            Subject::Database => {
                self.lease.leads(None, Moment::ZERO);
                self.database()?.close().map_err(fence_trouble)
            }
        }
    }

    fn stand_by(&mut self) -> Result<(), Trouble> {
        self.database()?.stand_by().map_err(fence_trouble)
    }

    fn let_read(&mut self, during: Duration) -> Result<(), Trouble> {
        self.database()?.let_read(during).map_err(fence_trouble)
    }

    fn still_open(&mut self, what: Subject<'_>) -> Option<Duration> {
        let Subject::Addresses(addresses) = what else {
            return self.database().ok()?.live().ok()?;
        };
        let open = Fence::open().and_then(|mut fence| fence.live()).ok()?;
        let left = addresses.iter().map(|ip| open.get(ip)?.remaining);
        left.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn remember(&mut self, claim: &ClaimId, memory: &RunMemory) -> Result<(), Trouble> {
        let written = self.run.remember(claim, memory);
        written.map_err(|error| Trouble::Other(format!("cannot write to /run: {error}")))
    }

    fn recall(&mut self, claim: &ClaimId) -> Option<RunMemory> {
        self.run.recall(claim)
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        if let Some((_, socket)) = &self.socket {
            // Lost like any datagram: the next renewal is sent soon enough.
            drop(socket.send_to(datagram, to));
        }
    }

    fn draw(&mut self) -> u64 {
        u64::from_be_bytes(hamesh_proto::random::bytes())
    }
}

/// The node's own address may not be there yet: a machine boots.
fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn fence_trouble(error: FenceError) -> Trouble {
    match error {
        FenceError::NotLoaded { .. } | FenceError::NoDatabase => Trouble::NotLoaded,
        FenceError::TooMany { .. } | FenceError::Netlink(_) => Trouble::Other(describe(&error)),
    }
}

fn trouble(error: VipError) -> Trouble {
    match &error {
        VipError::Fence(FenceError::NotLoaded { .. }) => Trouble::NotLoaded,
        VipError::Homeless { ip } => Trouble::Homeless(*ip),
        VipError::Fence(_) | VipError::Address(_) => Trouble::Other(describe(&error)),
    }
}
