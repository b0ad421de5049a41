//! The grantors' thread: one socket, one waker, one clock.
//!
//! Guarantees: nothing on it waits for the store, for a name, for the log or for anything of the
//! asynchronous side: what goes there is dropped and counted when there is no room, or offered
//! again. The clock is read after a datagram is received and before it is judged, so that what
//! this side counts from is never earlier than what the holder counts from.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hamesh_claims::Moment;
use hamesh_claims::grantor::Note;
use hamesh_claims::group::Record;
use hamesh_claims::ids::{Epoch, NodeName};
use hamesh_proto::ids::ClaimId;
use hamesh_proto::leases::{MAX_BYTES, OVERHEAD};
use hamesh_proto::spiffe::Principal;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};
use tokio::sync::{mpsc, oneshot, watch};

use super::desk::{Desk, Out, Seen};
use super::keys::SessionKey;
use super::metrics::LeaseMetrics;
use super::moves::MoveAsked;
use super::wanted::Wishes;
use crate::clock::Clock;
use crate::leadership::Standing;

/// Datagrams that are taken before anything else is looked at: several from every node of a large
/// site may have come during one pause of this thread.
const BURST: usize = 256;
/// Claims that are looked at between two looks at the socket: thousands at once would be a pause in
/// which more datagrams come than the socket holds.
const LOOKED_AT_ONCE: usize = 64;

/// The longest sleep: whatever was not woken for is noticed then.
const LONGEST: Duration = Duration::from_secs(1);

/// What the asynchronous side wants of the grantors.
#[derive(Debug)]
pub enum Command {
    /// The site wants this now.
    Wish(Arc<Wishes>),
    /// The store holds this of a claim: grant it from now on.
    Lead(ClaimId, Record),
    /// The store holds this record.
    Persisted(ClaimId, Record),
    /// A session has this key.
    Key(SessionKey),
    /// An operator wants a claim elsewhere.
    Move(MoveAsked),
    /// An operator confirms that a node is off; gives the claims that waited for it.
    Fenced(NodeName, oneshot::Sender<Vec<ClaimId>>),
    /// How are the claims?
    Look(oneshot::Sender<Vec<Seen>>),
    /// End.
    Stop,
}

/// What is worth telling a human or a metric.
#[derive(Debug)]
pub enum Told {
    /// A grantor's note.
    Note {
        /// When, by the wall clock, for people.
        at_unix_ms: u64,
        /// The claim.
        claim: ClaimId,
        /// What happened.
        note: Note,
    },
    /// A member showed a higher epoch: nothing is granted here any more.
    Succeeded(Epoch),
}

/// Wakes the thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// One that wakes nobody yet.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(eventfd(0, flags)?)))
    }

    /// Wakes it.
    pub fn wake(&self) {
        // Full means that it is woken already.
        let _ = write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Everything that the thread is made of.
#[derive(Debug)]
pub struct Grantors {
    /// Where lease datagrams arrive.
    pub socket: UdpSocket,
    /// Who this coordinator is.
    pub own: Principal,
    /// This leadership.
    pub epoch: Epoch,
    /// Until when it lasts; whoever changes it wakes the thread.
    pub standing: watch::Receiver<Standing>,
    /// The wall clock, for people.
    pub clock: Clock,
    /// What is counted.
    pub metrics: LeaseMetrics,
    /// Wakes it after a command was sent.
    pub waker: Waker,
    /// From the asynchronous side.
    pub commands: mpsc::Receiver<Command>,
    /// Records to be written.
    pub records: mpsc::Sender<(ClaimId, Record)>,
    /// For people.
    pub told: mpsc::Sender<Told>,
}

impl Grantors {
    /// Runs until [`Command::Stop`], or until the sockets fail.
    pub fn run(mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let mapped = self.socket.local_addr()?.is_ipv6();
        let started = Started(Instant::now());
        let mut desk = Desk::new(self.epoch, self.own.clone(), self.clock.unix_ms());
        self.standing.mark_changed();
        let mut buffer = [0_u8; MAX_BYTES + OVERHEAD + 1];
        loop {
            self.lead(&mut desk, started, mapped);
            while let Ok(command) = self.commands.try_recv() {
                if !self.obey(&mut desk, command, &mut buffer, started, mapped)? {
                    return Ok(());
                }
            }
            // After the commands: the key of a session is sent here before the agent learns it.
            self.receive(&mut desk, &mut buffer, started, mapped)?;
            let now = started.now();
            if desk.next_wake() <= now {
                let mut out = Out::default();
                desk.wake(now, &mut out);
                self.carry_out(&mut desk, out, mapped);
            }
            let records = &self.records;
            desk.unwritten(|claim, record| {
                records.try_send((claim.clone(), record.clone())).is_ok()
            });
            self.sleep(desk.next_wake().since(started.now()))?;
        }
    }

    /// Takes note of until when this coordinator leads.
    fn lead(&mut self, desk: &mut Desk, started: Started, mapped: bool) {
        if !self.standing.has_changed().unwrap_or(false) {
            return;
        }
        let until = self.standing.borrow_and_update().until();
        if let Some(until) = until {
            let mut out = Out::default();
            desk.leading(started.moment(until), started.now(), &mut out);
            self.carry_out(desk, out, mapped);
        }
    }

    /// Does what is wanted. Whether to go on.
    fn obey(
        &self,
        desk: &mut Desk,
        command: Command,
        buffer: &mut [u8],
        started: Started,
        mapped: bool,
    ) -> io::Result<bool> {
        let (now, mut out) = (started.now(), Out::default());
        match command {
            Command::Wish(wishes) => desk.wish(&wishes, now, &mut out),
            Command::Lead(claim, record) => desk.lead(&claim, record, now, &mut out),
            Command::Persisted(claim, record) => desk.persisted(&claim, record, now, &mut out),
            Command::Key(key) => desk.key(key),
            Command::Move(asked) => desk.move_claim(asked, now, &mut out),
            Command::Fenced(node, reply) => {
                let confirmed = desk.confirm_fenced(&node, now, &mut out);
                // Who asked may have gone away; the same holds below.
                let _ = reply.send(confirmed.into_iter().collect());
            }
            Command::Look(reply) => {
                let _ = reply.send(self.look(desk, buffer, started, mapped)?);
            }
            Command::Stop => return Ok(false),
        }
        self.carry_out(desk, out, mapped);
        Ok(true)
    }

    /// Looks at every claim, and at the socket now and then.
    fn look(
        &self,
        desk: &mut Desk,
        buffer: &mut [u8],
        started: Started,
        mapped: bool,
    ) -> io::Result<Vec<Seen>> {
        let mut all: Vec<Seen> = Vec::new();
        loop {
            let after = all.last().map(|seen| &seen.claim);
            let some = desk.look(after, LOOKED_AT_ONCE, started.now());
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
            self.receive(desk, buffer, started, mapped)?;
        }
    }

    /// Takes what has come, and answers each before the next.
    fn receive(
        &self,
        desk: &mut Desk,
        buffer: &mut [u8],
        started: Started,
        mapped: bool,
    ) -> io::Result<()> {
        for _ in 0..BURST {
            let (length, from) = match self.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    // A peer's port was closed, or a signal came: the socket is good.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => continue,
                    _ => return Err(error),
                },
            };
            let now = started.now();
            let mut out = Out::default();
            let bytes = buffer.get(..length).unwrap_or_default();
            match desk.datagram(bytes, from, now, &mut out) {
                Ok(()) => self.metrics.accepted.inc(),
                Err(dropped) => self.metrics.dropped(dropped),
            }
            self.carry_out(desk, out, mapped);
            self.metrics
                .answer_seconds
                .observe(started.now().since(now).as_secs_f64());
        }
        Ok(())
    }

    fn carry_out(&self, desk: &mut Desk, out: Out, mapped: bool) {
        self.metrics.unknown_claims.inc_by(out.unknown_claims);
        for (_, gap) in &out.gaps {
            self.metrics.renewal_seconds.observe(gap.as_secs_f64());
        }
        for (to, messages) in out.tell {
            desk.seal(&to, messages, |sealed| match sealed {
                None => self.metrics.unsent.inc(),
                Some((address, datagram)) => {
                    let address = if mapped { six(address) } else { address };
                    match self.socket.send_to(&datagram, address) {
                        Ok(_) => self.metrics.sent.inc(),
                        Err(_) => self.metrics.unsent.inc(),
                    }
                }
            });
        }
        let at_unix_ms = self.clock.unix_ms();
        let notes = out.notes.into_iter().map(|(claim, note)| Told::Note {
            at_unix_ms,
            claim,
            note,
        });
        for told in notes.chain(out.succeeded.map(Told::Succeeded)) {
            if self.told.try_send(told).is_err() {
                self.metrics.untold.inc();
            }
        }
    }

    fn sleep(&self, span: Duration) -> io::Result<()> {
        let span = span.min(LONGEST);
        let timeout = Timespec::try_from(span).map_err(io::Error::other)?;
        let mut fds = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::from_borrowed_fd(self.waker.0.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Empty means that nobody woke it.
        let _ = read(&*self.waker.0, &mut [0_u8; 8]);
        Ok(())
    }
}

/// This thread's clock.
#[derive(Debug, Clone, Copy)]
struct Started(Instant);

impl Started {
    fn now(self) -> Moment {
        Moment::ZERO.plus(self.0.elapsed())
    }

    /// What this clock reads at an instant of the asynchronous side's: it is the same clock.
    fn moment(self, at: tokio::time::Instant) -> Moment {
        Moment::ZERO.plus(at.into_std().saturating_duration_since(self.0))
    }
}

/// An address as a socket of IPv6 takes it.
fn six(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}
