//! A netlink socket as the holder path needs it: blocking, bounded, with one buffer for ever.
//!
//! Guarantees that no call waits longer than [`PATIENCE`] and that an answer to an earlier request
//! is never taken for one to a later. The kernel handles a request inside the call that sends it,
//! so that the wait is for a busy kernel, not for a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use thiserror::Error;

use crate::nf::HEADER;

/// Longest wait for one answer. Commits of other programs (a large `nft -f`) are waited for.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// More than the kernel puts into one datagram of a dump (32 KiB).
const BUFFER: usize = 64 * 1024;

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: something changed while the list was being made.
const INTERRUPTED: u16 = 0x10;

/// Why the kernel gave no answer that could be used.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The socket could not be opened or used. Nothing was changed by this request.
    #[error("netlink socket: {action}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the request. Nothing was changed.
    #[error("the kernel refused: {0}; nothing was changed")]
    Refused(#[source] io::Error),
    /// No answer in time: it is not known whether the change was made. Look before going on.
    #[error("no answer from the kernel within {PATIENCE:?}; the change may or may not be made")]
    Unanswered,
}

impl NetlinkError {
    /// The error number of a refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<i32> {
        match self {
            Self::Refused(source) => source.raw_os_error(),
            Self::Socket { .. } | Self::Unanswered => None,
        }
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
    /// With its header, for a library that reads the whole.
    pub(crate) whole: &'a [u8],
}

/// The messages of a datagram; one that claims more than there is ends it.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let head: [u8; HEADER] = datagram.get(..HEADER)?.try_into().ok()?;
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = usize::try_from(word(0)).ok()?;
        let whole = datagram.get(..length)?;
        let payload = whole.get(HEADER..)?;
        let next = length.next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            flags: u16::from_ne_bytes([head[6], head[7]]),
            sequence: word(8),
            payload,
            whole,
        })
    })
}

/// The error number in an answer or at the end of a list: zero is an acknowledgement.
fn code(message: &Message<'_>) -> Option<i32> {
    let code = message.payload.get(..4)?.try_into().ok()?;
    matches!(message.kind, ERROR | DONE).then(|| i32::from_ne_bytes(code))
}

fn refused(code: i32) -> NetlinkError {
    NetlinkError::Refused(io::Error::from_raw_os_error(code.wrapping_neg()))
}

/// An open socket with its answer buffer.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// Opens a socket of a protocol, in the network namespace of the calling thread.
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let failed = |action| move |source| NetlinkError::Socket { action, source };
        let mut socket = Socket::new(protocol).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        let kernel = SocketAddr::new(0, 0);
        socket.connect(&kernel).map_err(failed("connect"))?;
        // Acknowledgements then carry the header of what they answer, not all of it.
        socket.set_cap_ack(true).map_err(failed("set"))?;
        let seconds = i64::try_from(PATIENCE.as_secs()).expect("a second");
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))
            .map_err(|e| failed("set a timeout")(e.into()))?;
        Ok(Self {
            socket,
            sequence: 1,
            answer: Vec::with_capacity(BUFFER),
        })
    }

    pub(crate) fn subscribe(&self, group: u32) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Socket {
            action: "subscribe to events",
            source,
        };
        self.socket.add_membership(group).map_err(failed)
    }

    /// A number for the next message, with room for `count` more after it.
    pub(crate) fn number(&mut self, count: u32) -> u32 {
        let number = self.sequence;
        self.sequence = self.sequence.wrapping_add(count).wrapping_add(1).max(1);
        number
    }

    /// Sends and waits for the acknowledgement of message `last`, or for the first refusal of any
    /// from `first` on.
    pub(crate) fn commit(
        &mut self,
        bytes: &[u8],
        first: u32,
        last: u32,
    ) -> Result<(), NetlinkError> {
        self.send(bytes)?;
        let mut refusal = None;
        loop {
            self.receive()?;
            for message in messages(&self.answer) {
                // Numbers wrap: what matters is the distance from the first.
                let at = message.sequence.wrapping_sub(first);
                let Some(code) = code(&message).filter(|_| at <= last.wrapping_sub(first)) else {
                    continue;
                };
                if code != 0 && refusal.is_none() {
                    refusal = Some(refused(code));
                }
                // A refusal of the whole batch answers its opening message, and comes alone.
                if message.sequence == last || (message.sequence == first && code != 0) {
                    return refusal.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Sends a request for a list and hands every message of the answer on. A list that changed
    /// while it was made is refused with EINTR: what was handed on is then to be forgotten.
    pub(crate) fn dump(
        &mut self,
        bytes: &[u8],
        sequence: u32,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), NetlinkError> {
        self.send(bytes)?;
        let mut interrupted = false;
        loop {
            self.receive()?;
            for message in messages(&self.answer).filter(|m| m.sequence == sequence) {
                interrupted |= message.flags & INTERRUPTED != 0;
                match (message.kind, code(&message)) {
                    (_, Some(code)) if code != 0 => return Err(refused(code)),
                    (DONE, _) if interrupted => return Err(refused(-nix::libc::EINTR)),
                    (DONE, _) => return Ok(()),
                    (_, Some(_)) => {}
                    (_, None) => each(&message),
                }
            }
        }
    }

    /// The messages of the next datagram, if one is there already.
    pub(crate) fn poll(&mut self) -> Result<Option<impl Iterator<Item = Message<'_>>>, io::Error> {
        self.answer.clear();
        match self.socket.recv(&mut self.answer, nix::libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Some(messages(&self.answer))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Socket {
            action: "send",
            source,
        };
        loop {
            match self.socket.send(bytes, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop).map_err(failed),
            }
        }
    }

    fn receive(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.answer.clear();
            match self.socket.recv(&mut self.answer, 0) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(NetlinkError::Unanswered);
                }
                // After the request was sent, a failure to read leaves its effect unknown.
                Err(_) => return Err(NetlinkError::Unanswered),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn datagrams_of_any_bytes_are_read_to_an_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let seen: usize = messages(&bytes).map(|m| m.whole.len()).sum();
            prop_assert!(seen <= bytes.len());
        }
    }
}
