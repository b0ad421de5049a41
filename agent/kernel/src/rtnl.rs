//! Addresses and interfaces over rtnetlink: a plain blocking driver for the holder's thread.
//!
//! Guarantees that adding what is there and removing what is not are no errors, and that a missed
//! event is never silent: the monitor then says that all must be looked at again.
//!
//! Absent on purpose: duplicate address detection for a claimed address. The lease is the proof
//! that nobody else has it, and a second of silence at take-over is what hamesh is there to avoid.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use thiserror::Error;

use crate::device::Mac;
use crate::interfaces::{Address, Interfaces, Link};
use crate::netlink::{Message, Netlink, NetlinkError};

/// A list that changed while it was read is read again, so often at most.
const LOOKS: u32 = 4;
/// Lifetime without an end.
const FOREVER: u32 = u32::MAX;

/// Why an address could not be changed or the interfaces not be read.
#[derive(Debug, Error)]
pub enum RtnlError {
    /// The interface is gone or down for good. Nothing was changed; look for the address's network
    /// again.
    #[error("interface {index} is gone; nothing was changed")]
    NoInterface {
        /// The index that was asked for.
        index: u32,
    },
    /// The kernel refused or did not answer.
    #[error("cannot {action}")]
    Netlink {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: NetlinkError,
    },
}

/// The way to change and to list.
#[derive(Debug)]
pub struct Rtnl {
    netlink: Netlink,
    request: Vec<u8>,
}

impl Rtnl {
    /// Opens the way to the kernel, in the network namespace of the calling thread.
    pub fn open() -> Result<Self, RtnlError> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_ROUTE).map_err(failed("open rtnetlink"))?,
            request: Vec::with_capacity(4096),
        })
    }

    /// Puts a claimed address on an interface as a host address, without duplicate address
    /// detection. An IPv6 one is deprecated from the start, so that the node does not choose it as
    /// source for connections of its own.
    pub fn add(&mut self, ip: IpAddr, index: u32) -> Result<(), RtnlError> {
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        let mut message = address_message(Address { index, ip, prefix });
        if ip.is_ipv6() {
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            message.attributes.push(AddressAttribute::Flags(flags));
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = FOREVER;
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetime));
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        match self.change(RouteNetlinkMessage::NewAddress(message), flags) {
            Err(e) if e.refusal() == Some(libc::EEXIST) => Ok(()),
            Err(e) if e.refusal() == Some(libc::ENODEV) => Err(RtnlError::NoInterface { index }),
            other => other.map_err(failed("add an address")),
        }
    }

    /// Takes an address away, exactly as it was listed. False where it was not there.
    pub fn remove(&mut self, address: Address) -> Result<bool, RtnlError> {
        let message = RouteNetlinkMessage::DelAddress(address_message(address));
        match self.change(message, NLM_F_REQUEST | NLM_F_ACK) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.refusal(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(false),
            Err(e) => Err(failed("remove an address")(e)),
        }
    }

    /// All interfaces and addresses now.
    pub fn interfaces(&mut self) -> Result<Interfaces, RtnlError> {
        let mut seen = Interfaces::default();
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        for message in self.list(links).map_err(failed("list interfaces"))? {
            note(&mut seen, message);
        }
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for message in self.list(addresses).map_err(failed("list addresses"))? {
            note(&mut seen, message);
        }
        Ok(seen)
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        let number = self.write(message, flags);
        self.netlink.commit(&self.request, number, number)
    }

    fn list(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut last = NetlinkError::Refused(io::Error::from_raw_os_error(libc::EINTR));
        for _ in 0..LOOKS {
            let number = self.write(message.clone(), NLM_F_REQUEST | NLM_F_DUMP);
            let mut found = Vec::new();
            let each = |m: &Message<'_>| found.extend(parse(m));
            match self.netlink.dump(&self.request, number, each) {
                Ok(()) => return Ok(found),
                Err(e) if e.refusal() == Some(libc::EINTR) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    fn write(&mut self, message: RouteNetlinkMessage, flags: u16) -> u32 {
        let number = self.netlink.number(0);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = number;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        self.request.resize(message.buffer_len(), 0);
        message.serialize(&mut self.request);
        number
    }
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface is new, renamed, up or down, or its wire was plugged or pulled.
    Link {
        /// The interface's index.
        index: u32,
        /// How it is now.
        link: Link,
    },
    /// An interface is gone, and its addresses with it.
    LinkGone {
        /// The index that it had.
        index: u32,
    },
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// Events were lost: look at everything again.
    Missed,
}

/// Hears of changes as they happen.
#[derive(Debug)]
pub struct Monitor {
    netlink: Netlink,
}

impl AsFd for Monitor {
    /// Readable when there is something to [`Monitor::events`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl Monitor {
    /// Starts to listen, in the network namespace of the calling thread. List *after* this.
    pub fn open() -> Result<Self, RtnlError> {
        let netlink = Netlink::open(NETLINK_ROUTE).map_err(failed("open rtnetlink"))?;
        let groups = [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
        ];
        for group in groups {
            netlink
                .subscribe(group)
                .map_err(failed("hear of changes"))?;
        }
        Ok(Self { netlink })
    }

    /// All that has happened since the last call; does not wait.
    pub fn events(&mut self) -> Result<Vec<Event>, RtnlError> {
        let mut events = Vec::new();
        loop {
            match self.netlink.poll() {
                Ok(None) => return Ok(events),
                Ok(Some(messages)) => {
                    let parsed = messages.filter_map(|m| parse(&m));
                    events.extend(parsed.filter_map(event));
                }
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => events.push(Event::Missed),
                Err(source) => {
                    let action = "read events";
                    return Err(failed(action)(NetlinkError::Socket { action, source }));
                }
            }
        }
    }
}

fn failed(action: &'static str) -> impl Fn(NetlinkError) -> RtnlError {
    move |source| RtnlError::Netlink { action, source }
}

fn parse(message: &Message<'_>) -> Option<RouteNetlinkMessage> {
    match NetlinkMessage::deserialize(message.whole).ok()?.payload {
        NetlinkPayload::InnerMessage(inner) => Some(inner),
        _ => None,
    }
}

fn event(message: RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(m) => {
            read_link(&m).map(|(index, link)| Event::Link { index, link })
        }
        RouteNetlinkMessage::DelLink(m) => Some(Event::LinkGone {
            index: m.header.index,
        }),
        RouteNetlinkMessage::NewAddress(m) => read_address(&m).map(Event::Address),
        RouteNetlinkMessage::DelAddress(m) => read_address(&m).map(Event::AddressGone),
        _ => None,
    }
}

fn note(seen: &mut Interfaces, message: RouteNetlinkMessage) {
    match event(message) {
        Some(Event::Link { index, link }) => {
            seen.links.insert(index, link);
        }
        Some(Event::Address(address)) => {
            seen.addresses.insert(address);
        }
        Some(Event::LinkGone { .. } | Event::AddressGone(_) | Event::Missed) | None => {}
    }
}

fn read_link(message: &LinkMessage) -> Option<(u32, Link)> {
    // A bridge speaks of its ports in messages of its own, which hold only a part.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        mac: None,
        master: None,
        loopback: flags.contains(LinkFlags::Loopback),
        pair: false,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|i| *i != 0),
            LinkAttribute::Address(bytes)
                if message.header.link_layer_type == LinkLayerType::Ether =>
            {
                link.mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            LinkAttribute::LinkInfo(infos) => {
                link.pair = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some((message.header.index, link))
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    // On a point-to-point interface `Address` is the peer's.
    let ip = local.or(address)?;
    Some(Address {
        index: message.header.index,
        ip,
        prefix: message.header.prefix_len,
    })
}

fn address_message(address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.ip.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.prefix_len = address.prefix;
    message.header.index = address.index;
    message.attributes = vec![
        AddressAttribute::Local(address.ip),
        AddressAttribute::Address(address.ip),
    ];
    message
}
