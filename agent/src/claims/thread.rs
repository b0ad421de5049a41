//! The holder's thread: waits for the wire, the kernel, orders and time, and calls the holder.
//!
//! Guarantees that nothing but the kernel is ever waited for: words to the asynchronous side that
//! find no room are dropped and counted, and what matters of them is said again.
//!
//! ```text
//!   poll(waker, UDP, rtnetlink, packet sockets; next wake, next announcement, next second)
//!     --> orders --> datagrams --> interfaces --> ears --> tick --> announce --> second --> flush
//! ```
//! Of the descriptors only those are read that `poll` names: a renewal wakes this thread some
//! twenty times a second for as long as the node holds anything.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use hamesh_claims::Moment;
use hamesh_kernel::device::Device;
use hamesh_kernel::duplicates::Finding;
use hamesh_kernel::rtnl::{Event, Monitor};
use hamesh_kernel::thread::make_fit;
use hamesh_proto::ids::ClaimId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::ears::Ears;
use super::holder::{Holder, Order};
use super::links;
use super::machine::{LONGEST, Machine, monotonic};
use super::metrics::ClaimMetrics;
use super::orders::{FromHolder, Orders, WORDS};
use super::outbox::Word;
use super::report::Report;
use super::world::Trouble;

/// Datagrams in one turn, so that a flood cannot keep the holder from its lease.
const MOST_DATAGRAMS: usize = 64;
/// How often the kernel is compared with what should be there.
const SECOND: Duration = Duration::from_secs(1);

/// Starts the thread.
///
/// # Errors
/// The system's own: no descriptor or no thread was to be had.
pub fn start(
    holder: Holder,
    machine: Machine,
    metrics: Arc<ClaimMetrics>,
) -> io::Result<(Orders, mpsc::Receiver<FromHolder>)> {
    let (giver, orders, waker) = Orders::channel()?;
    let (words, receiver) = mpsc::channel(WORDS);
    let thread = Thread {
        holder,
        machine,
        metrics,
        orders,
        waker,
        words,
        monitor: None,
        ears: Ears::default(),
        troubles: BTreeMap::new(),
        fenced: Vec::new(),
        next_second: Moment::ZERO,
        told: Report::default(),
        unfit: None,
        deaf: None,
        ready: false,
    };
    let named = std::thread::Builder::new().name("holder".to_owned());
    named.spawn(|| thread.run())?;
    Ok((giver, receiver))
}

struct Thread {
    holder: Holder,
    machine: Machine,
    metrics: Arc<ClaimMetrics>,
    orders: Receiver<Order>,
    waker: Arc<OwnedFd>,
    words: mpsc::Sender<FromHolder>,
    monitor: Option<Monitor>,
    ears: Ears,
    /// What was wrong with the interfaces when they were last looked at.
    troubles: BTreeMap<ClaimId, String>,
    fenced: Vec<Device>,
    next_second: Moment,
    told: Report,
    unfit: Option<String>,
    /// Why no lease datagrams are heard.
    deaf: Option<String>,
    /// There were claims once: the thread is fit for them, and watches.
    ready: bool,
}

/// Which descriptors have something to read.
#[derive(Clone, Copy, Debug)]
struct Woken {
    orders: bool,
    datagrams: bool,
    interfaces: bool,
    ears: bool,
}

impl Woken {
    /// After a start, or when it could not be found out.
    const ALL: Self = Self {
        orders: true,
        datagrams: true,
        interfaces: true,
        ears: true,
    };
}

impl Thread {
    fn run(mut self) {
        let mut woken = Woken::ALL;
        loop {
            if woken.orders && self.take_orders().is_err() {
                return;
            }
            if woken.datagrams {
                self.receive();
            }
            if self.holder.has_claims() {
                self.make_ready();
                if woken.interfaces || self.monitor.is_none() {
                    self.watch_interfaces();
                }
                if woken.ears {
                    self.hear();
                }
                self.holder.tick(&mut self.machine);
                self.announce();
                if monotonic() >= self.next_second {
                    self.next_second = monotonic().plus(SECOND);
                    self.second();
                }
            }
            self.flush();
            woken = self.wait();
        }
    }

    fn wait(&mut self) -> Woken {
        let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut ready = vec![watch(self.waker.as_fd())];
        let socket = self.machine.socket().map(|socket| watch(socket.as_fd()));
        let datagrams = socket.map(|fd| push(&mut ready, fd));
        // Without claims nobody reads these.
        let claims = self.holder.has_claims();
        let monitor = self.monitor.as_ref().filter(|_| claims);
        let interfaces = monitor.map(|monitor| push(&mut ready, watch(monitor.as_fd())));
        let ears = ready.len();
        if claims {
            ready.extend(self.ears.descriptors().map(watch));
        }
        let left = self.time_left();
        if poll(&mut ready, left.as_ref()).is_err() {
            return Woken::ALL;
        }
        let says = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let at = |index: Option<usize>| index.is_some_and(|index| says(&ready[index]));
        let woken = Woken {
            orders: says(&ready[0]),
            datagrams: at(datagrams),
            interfaces: at(interfaces),
            ears: ready[ears..].iter().any(says),
        };
        if woken.orders {
            let mut count = [0; 8];
            let _ = rustix::io::read(&*self.waker, &mut count);
        }
        woken
    }

    fn time_left(&self) -> Option<Timespec> {
        if !self.holder.has_claims() {
            return None;
        }
        let now = monotonic();
        let wake = self.holder.next_wake().unwrap_or(Moment::END);
        let mut left = wake.min(self.next_second).since(now);
        if let Some(due) = self.machine.announcement_due() {
            left = left.min(due.saturating_duration_since(Instant::now()));
        }
        Timespec::try_from(left).ok()
    }

    fn take_orders(&mut self) -> Result<(), ()> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(()),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::PeerReturned => self.announce_again(),
            Order::Brief(brief) => {
                self.holder.order(Order::Brief(brief), &mut self.machine);
                self.listen();
                self.look();
                self.next_second = Moment::ZERO;
            }
            other => self.holder.order(other, &mut self.machine),
        }
    }

    /// Tried again every second: without it nothing is granted, and promises are not heard.
    fn listen(&mut self) {
        let at = self.holder.listens();
        let at = at.filter(|_| self.holder.has_claims());
        self.deaf = self
            .machine
            .listen(at)
            .err()
            .map(|error| format!("cannot listen for lease datagrams: {error}"));
    }

    fn receive(&mut self) {
        let mut buffer = [0; LONGEST];
        for _ in 0..MOST_DATAGRAMS {
            let Some(socket) = self.machine.socket() else {
                return;
            };
            match socket.recv(&mut buffer) {
                Ok(length) => self.holder.datagram(&buffer[..length], &mut self.machine),
                Err(_) => return,
            }
        }
    }

    fn make_ready(&mut self) {
        if self.ready {
            return;
        }
        self.ready = true;
        let fitness = make_fit();
        let unfit = fitness.memory.is_err() || fitness.priority.is_err();
        self.metrics.fit.set(i64::from(!unfit));
        self.unfit = unfit.then(|| fitness.to_string());
        self.look();
    }

    /// Carrier, addresses and names as they change.
    fn watch_interfaces(&mut self) {
        let Some(monitor) = &mut self.monitor else {
            // List after this.
            self.monitor = Monitor::open().ok();
            self.look();
            return;
        };
        match monitor.events() {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                let touches = |event: &Event| match event {
                    Event::Address(a) | Event::AddressGone(a) => self
                        .told
                        .claims
                        .values()
                        .any(|c| c.addresses.contains(&a.ip)),
                    Event::Link { .. } | Event::LinkGone { .. } | Event::Missed => true,
                };
                if events.iter().any(touches) {
                    self.next_second = Moment::ZERO;
                }
                self.look();
            }
            Err(_) => self.monitor = None,
        }
    }

    fn look(&mut self) {
        if !self.ready {
            return;
        }
        let Ok(interfaces) = self.machine.look() else {
            return;
        };
        let claims: Vec<_> = (self.holder.addresses())
            .map(|(id, addresses)| (id.clone(), addresses.to_vec()))
            .collect();
        let troubles: BTreeMap<ClaimId, String> = (claims.iter())
            .filter_map(|(id, ips)| Some((id.clone(), links::trouble(&interfaces, ips)?)))
            .collect();
        let well_again = self.troubles.keys().any(|id| !troubles.contains_key(id));
        // Also when nothing seems to have changed: a reconciliation may have met the moment between
        // two looks in which an address had no interface.
        self.holder.linked(&troubles, &mut self.machine);
        self.troubles = troubles;
        if well_again {
            self.announce_again();
        }
        let desired = self.holder.desired(monotonic());
        let fenced = interfaces.fenced(&desired.claimed);
        let fenced: Vec<Device> = fenced.devices.into_iter().collect();
        if fenced != self.fenced {
            self.fenced = fenced;
            self.holder.look_at_fence();
        }
        // What cannot be listened on is tried again when interfaces change.
        drop(self.ears.place(&interfaces, &desired.claimed));
    }

    fn hear(&mut self) {
        let desired = self.holder.desired(monotonic());
        self.ears.holds(&desired.held);
        for finding in self.ears.listen() {
            match finding {
                Finding::Rival { ip, mac } => {
                    self.machine.contradicted(ip);
                    self.holder.rival(ip, mac, monotonic());
                }
                Finding::Duplicate { ip, macs } => self.holder.duplicate(ip, &macs, monotonic()),
            }
        }
    }

    fn announce(&mut self) {
        let now = Instant::now();
        if self
            .machine
            .announcement_due()
            .is_some_and(|due| due <= now)
        {
            // One that cannot be sent is followed by another soon.
            let sent = self.machine.announce().unwrap_or_default();
            self.metrics.announcements.inc_by(sent as u64);
        }
    }

    fn announce_again(&mut self) {
        for ip in self.holder.desired(monotonic()).held {
            self.machine.contradicted(ip);
        }
    }

    fn second(&mut self) {
        if self.deaf.is_some() {
            self.listen();
        }
        let by_hand = self.machine.opened_by_hand();
        self.holder.second(&by_hand, &mut self.machine);
        let desired = self.holder.desired(monotonic());
        match self.machine.reconcile(&desired) {
            Ok(steps) => self.holder.put_right(steps, &mut self.machine),
            Err(Trouble::NotLoaded) => self.holder.fence_gone(&mut self.machine),
            // Tried again in a second; a fence that cannot be armed is noticed by its member.
            Err(Trouble::Homeless(_) | Trouble::Other(_)) => {}
        }
        self.ears.ask();
    }

    fn flush(&mut self) {
        for word in self.holder.flush(&mut self.machine) {
            let load = word == Word::LoadFence;
            if self.words.try_send(FromHolder::Word(word)).is_err() {
                self.metrics.words_dropped.inc();
                if load {
                    self.holder.look_at_fence();
                }
            }
        }
        let mut report = self.holder.report(monotonic());
        report.unfit = self.deaf.clone().or_else(|| self.unfit.clone());
        if report != self.told {
            let said = self.words.try_send(FromHolder::Report(report.clone()));
            if said.is_ok() {
                self.told = report;
            }
        }
    }
}

fn push<'a>(ready: &mut Vec<PollFd<'a>>, fd: PollFd<'a>) -> usize {
    ready.push(fd);
    ready.len() - 1
}
