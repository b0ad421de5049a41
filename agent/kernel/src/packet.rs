//! Packet sockets: send announcements and probes, hear who speaks as the owner of an address.
//!
//! Guarantees that only ARP and neighbour advertisements of one interface ever reach the program:
//! the kernel filters before it queues. One socket per protocol, since a socket for all protocols
//! would also be handed everything that the node sends.
//!
//! A socket is bound to the interface's index, so that it survives a rename.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike, SockaddrStorage, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use thiserror::Error;

use crate::frames::{ADVERTISEMENT, Heard, read};

/// Longer than any frame that is read here; the rest of a longer one is of no interest.
const LONGEST: usize = 128;
/// Frames read in one call at most, so that a storm cannot keep the holder from its lease.
pub const MOST_AT_ONCE: usize = 64;

/// Why a packet socket cannot be used.
#[derive(Debug, Error)]
pub enum PacketError {
    /// There is no such interface (any more). Nothing was sent.
    #[error("interface {index} is gone")]
    NoInterface {
        /// The index that was asked for.
        index: u32,
    },
    /// The kernel refused; nothing was sent. EPERM: the fence is closed, or CAP_NET_RAW missing.
    #[error("cannot {action} on interface {index}; nothing was sent")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Where.
        index: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// ARP, for IPv4 addresses.
    Arp,
    /// Neighbour advertisements, for IPv6 addresses.
    Advertisements,
}

/// A socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    index: u32,
}

impl AsFd for PacketSocket {
    /// Readable when there is something to [`PacketSocket::heard`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl PacketSocket {
    /// Opens a socket on the interface with this index. Needs CAP_NET_RAW.
    pub fn open(index: u32, speaks: Speaks) -> Result<Self, PacketError> {
        let failed = |action| {
            move |source| PacketError::Socket {
                action,
                index,
                source,
            }
        };
        let link = link_address(index).map_err(failed("list interfaces"))?;
        let link = link.ok_or(PacketError::NoInterface { index })?;
        let protocol = match speaks {
            Speaks::Arp => libc::ETH_P_ARP,
            Speaks::Advertisements => libc::ETH_P_IPV6,
        };
        let wire = i32::from(
            u16::try_from(protocol)
                .expect("16 bits on the wire")
                .to_be(),
        );
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(wire)))
            .map_err(failed("open a packet socket"))?;
        if speaks == Speaks::Advertisements {
            let filter = socket.attach_filter(&only_advertisements());
            filter.map_err(failed("attach a filter"))?;
        }
        // The address holds no protocol, which leaves that of the socket.
        bind(socket.as_raw_fd(), &link).map_err(|e| failed("bind")(e.into()))?;
        let nonblocking = socket.set_nonblocking(true);
        nonblocking.map_err(failed("prepare a packet socket"))?;
        let socket = Self { socket, index };
        // Between opening and binding, frames of other interfaces may have come in.
        socket.discard()?;
        Ok(socket)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<(), PacketError> {
        let sent = self.socket.send(frame);
        sent.map(drop).map_err(self.failed("send"))
    }

    /// All that was said of addresses since the last call, up to [`MOST_AT_ONCE`]; does not wait.
    pub fn heard(&self) -> Result<Vec<Heard>, PacketError> {
        let mut all = Vec::new();
        for _ in 0..MOST_AT_ONCE {
            let mut frame = [0; LONGEST];
            match self.next(&mut frame)? {
                Some(length) => all.extend(read(&frame[..length])),
                None => break,
            }
        }
        Ok(all)
    }

    fn discard(&self) -> Result<(), PacketError> {
        let mut frame = [0; LONGEST];
        for _ in 0..MOST_AT_ONCE {
            if self.next(&mut frame)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn next(&self, frame: &mut [u8; LONGEST]) -> Result<Option<usize>, PacketError> {
        match (&self.socket).read(frame) {
            Ok(length) => Ok(Some(length)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(self.failed("receive")(e)),
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> PacketError {
        let index = self.index;
        move |source| PacketError::Socket {
            action,
            index,
            source,
        }
    }
}

/// The interface's packet address as the kernel lists it.
fn link_address(index: u32) -> io::Result<Option<LinkAddr>> {
    let wanted = usize::try_from(index).expect("32 bits fit");
    let link = |address: SockaddrStorage| address.as_link_addr().copied();
    let mut links = getifaddrs()?.filter_map(|i| i.address.and_then(link));
    Ok(links.find(|link| link.ifindex() == wanted && link.len() > 0))
}

/// In the classic filter language: next header is ICMPv6, its type is an advertisement.
fn only_advertisements() -> [SockFilter; 6] {
    const LOAD_BYTE: u16 = 0x30;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let load = |at| SockFilter::new(LOAD_BYTE, 0, 0, at);
    let give = |bytes| SockFilter::new(RETURN, 0, 0, bytes);
    [
        load(20),
        SockFilter::new(EQUAL, 0, 3, 58),
        load(54),
        SockFilter::new(EQUAL, 0, 1, u32::from(ADVERTISEMENT)),
        give(u32::MAX),
        give(0),
    ]
}
