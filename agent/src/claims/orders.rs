//! Between the holder's thread and the asynchronous side: orders one way, words the other.
//!
//! Guarantees that neither waits for the other: what finds no room is refused at once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rustix::event::{EventfdFlags, eventfd};

use super::holder::Order;
use super::outbox::Word;
use super::report::Report;

/// Orders that wait: a few for each change of the assignment, and one for each write to disk.
const ORDERS: usize = 256;
/// Words that wait for the log and the disk.
pub const WORDS: usize = 256;

/// From the thread to the asynchronous side.
#[derive(Debug)]
pub enum FromHolder {
    /// Something to write or to log.
    Word(Word),
    /// How everything stands; only when it changed.
    Report(Report),
}

/// Gives orders to the thread. When it is dropped, the thread ends and leaves the kernel as it is.
#[derive(Debug)]
pub struct Orders {
    sender: Option<SyncSender<Order>>,
    waker: Arc<OwnedFd>,
}

/// An order did not reach the thread: it has ended, or does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the holder's thread takes no orders; the agent must be started anew")]
pub struct Unheard;

impl Orders {
    /// The giver, the thread's end, and what wakes the thread.
    ///
    /// # Errors
    /// The system's own: no descriptor was to be had.
    pub fn channel() -> io::Result<(Self, Receiver<Order>, Arc<OwnedFd>)> {
        let (sender, orders) = sync_channel(ORDERS);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let waker = Arc::new(eventfd(0, flags)?);
        let sender = Some(sender);
        let giver = Self {
            sender,
            waker: Arc::clone(&waker),
        };
        Ok((giver, orders, waker))
    }

    /// Gives an order.
    ///
    /// # Errors
    /// [`Unheard`].
    pub fn give(&self, order: Order) -> Result<(), Unheard> {
        let Some(sender) = &self.sender else {
            return Err(Unheard);
        };
        match sender.try_send(order) {
            Ok(()) => {
                wake(&self.waker);
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Unheard),
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.sender = None;
        wake(&self.waker);
    }
}

fn wake(waker: &OwnedFd) {
    // A counter that is full wakes just as well.
    let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
}
