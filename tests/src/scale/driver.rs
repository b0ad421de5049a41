//! One holder's loop: what the agent's own thread and service do for it, as one task of many.
//!
//! ```text
//!   select(assignment, keys, datagrams, next wake, next second) --> tick --> flush
//! ```
//! What the member wants written is written at once: the state directories are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_agent::assignment::Assignment;
use hamesh_agent::claims::Report;
use hamesh_agent::claims::brief::Brief;
use hamesh_agent::claims::holder::{Holder, Order};
use hamesh_agent::claims::keys::SentKeys;
use hamesh_agent::claims::machine::{LONGEST, instant, monotonic};
use hamesh_agent::claims::outbox::Word;
use hamesh_agent::claims::report::Part;
use hamesh_agent::state::StateDir;
use hamesh_claims::Moment;
use hamesh_proto::v1;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::world::{Machine, Tally};

/// Datagrams in one turn, as the agent's own thread takes them.
const MOST_DATAGRAMS: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

/// One holder and what it is driven by.
#[derive(Debug)]
pub struct Driver {
    /// The holder.
    pub holder: Holder,
    /// Its machine.
    pub world: Machine,
    /// Where its datagrams come.
    pub socket: Arc<UdpSocket>,
    /// Where its claims' groups are kept.
    pub state: StateDir,
    /// What the node was told to be.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// The newest keys of a session.
    pub keys: watch::Receiver<Option<v1::LeaseKeys>>,
    /// How the claims stand, for the facts.
    pub report: watch::Sender<Report>,
    /// What all agents saw.
    pub tally: Arc<Tally>,
}

impl Driver {
    /// Runs until an input is gone.
    pub async fn run(mut self) {
        self.order(Order::Fence(None));
        let mut second = interval(SECOND);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.holder.next_wake().unwrap_or(Moment::END);
            let wake = instant(wake.min(monotonic().plus(SECOND)));
            tokio::select! {
                changed = self.assignment.changed() => match changed {
                    Ok(()) => self.brief(),
                    Err(_) => return,
                },
                changed = self.keys.changed() => match changed {
                    Ok(()) => self.take_keys(),
                    Err(_) => return,
                },
                _ = self.socket.readable() => self.receive(),
                () = sleep_until(wake.into()) => {}
                _ = second.tick() => self.second(),
            }
            self.holder.tick(&mut self.world);
            self.flush();
        }
    }

    fn order(&mut self, order: Order) {
        self.holder.order(order, &mut self.world);
    }

    fn brief(&mut self) {
        let Some(assignment) = self.assignment.borrow_and_update().clone() else {
            return;
        };
        let kept = |claim: &hamesh_agent::assignment::Claim| {
            let disk = self.state.claim(&claim.id).ok()??;
            Some((claim.id.clone(), disk))
        };
        let disk: BTreeMap<_, _> = assignment.claims.iter().filter_map(kept).collect();
        let brief = Brief::of(&assignment, &disk, Default::default());
        self.order(Order::Brief(Arc::new(brief)));
    }

    fn take_keys(&mut self) {
        let Some(keys) = self.keys.borrow_and_update().clone() else {
            return;
        };
        let sent = SentKeys::from(keys);
        self.order(Order::PeerKeys(sent.peers));
        self.order(Order::Starts(sent.starts));
        if let Some(key) = sent.coordinator {
            self.order(Order::SessionKey(key, 1));
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; LONGEST];
        for _ in 0..MOST_DATAGRAMS {
            match self.socket.try_recv(&mut buffer) {
                Ok(length) => self.holder.datagram(&buffer[..length], &mut self.world),
                Err(_) => return,
            }
        }
    }

    fn second(&mut self) {
        self.holder.second(&Default::default(), &mut self.world);
        let report = self.holder.report(monotonic());
        let parts = report.claims.values().map(|claim| claim.part);
        let alone = parts.filter(|part| *part == Part::HoldingAlone).count();
        self.tally.note(|seen| seen.alone += alone as u64);
        self.report.send_if_modified(|told| {
            let news = *told != report;
            if news {
                *told = report;
            }
            news
        });
    }

    /// Sends, and writes what is to be written, which may have more to be sent.
    fn flush(&mut self) {
        loop {
            let words = self.holder.flush(&mut self.world);
            if words.is_empty() {
                return;
            }
            for word in words {
                match word {
                    Word::Store(claim, disk) => match self.state.save_claim(&claim, &disk) {
                        Ok(()) => self.order(Order::Stored(claim, disk)),
                        // Wanted again within a second.
                        Err(error) => eprintln!("{claim}: {error}"),
                    },
                    Word::Said(..) | Word::LoadFence => {}
                }
            }
        }
    }
}
