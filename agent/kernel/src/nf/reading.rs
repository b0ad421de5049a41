//! What the kernel answers: elements and chains, read from bytes that may be cut short or made up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{
    CHAIN_NAME, CHAIN_TABLE, CHAIN_USE, DATA_VALUE, ELEMENT_EXPIRATION, ELEMENT_KEY,
    ELEMENT_TIMEOUT, GENERIC, LIST_ELEMENT, LIST_ELEMENTS, NEW_CHAIN, NEW_ELEMENT,
};
use crate::nla;

/// An element as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) address: IpAddr,
    /// None where it has no end of its own: someone else wrote it.
    pub(crate) remaining: Option<Duration>,
}

/// Reads the addresses in one answer to [`get_elements`]; other messages hold none.
pub(crate) fn elements(kind: u16, payload: &[u8]) -> Vec<Element> {
    let element = |(value, remaining): (&[u8], Option<Duration>)| {
        let address = match value.len() {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into(),
            16 => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into(),
            _ => return None,
        };
        Some(Element { address, remaining })
    };
    keys(kind, payload).filter_map(element).collect()
}

/// A port that is open, and for how long yet; none where it has no end.
pub(crate) type OpenPort = (u16, Option<Duration>);

/// Reads the ports in one answer to [`get_elements`]; other messages hold none.
pub(crate) fn open_ports(kind: u16, payload: &[u8]) -> Vec<OpenPort> {
    let port = |(value, remaining): (&[u8], Option<Duration>)| {
        let port = u16::from_be_bytes(value.try_into().ok()?);
        Some((port, remaining))
    };
    keys(kind, payload).filter_map(port).collect()
}

/// The keys in one answer to [`get_elements`], with what is left of each.
fn keys(kind: u16, payload: &[u8]) -> impl Iterator<Item = (&[u8], Option<Duration>)> {
    let list = payload.get(GENERIC..).filter(|_| kind == NEW_ELEMENT);
    let list = nla::find(list.unwrap_or_default(), LIST_ELEMENTS).unwrap_or_default();
    nla::all(list)
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .filter_map(|(_, element)| read_element(element))
}

fn read_element(element: &[u8]) -> Option<(&[u8], Option<Duration>)> {
    let value = nla::find(nla::find(element, ELEMENT_KEY)?, DATA_VALUE)?;
    let ms = |kind| {
        let value = nla::find(element, kind)?;
        Some(u64::from_be_bytes(value.try_into().ok()?))
    };
    let remaining = match (ms(ELEMENT_TIMEOUT), ms(ELEMENT_EXPIRATION)) {
        (None, None) => None,
        (timeout, expiration) => Some(Duration::from_millis(expiration.or(timeout)?)),
    };
    Some((value, remaining))
}

/// Reads a chain of a table of ours in one answer to [`get_chains`]: its name and number of rules.
pub(crate) fn chain(kind: u16, payload: &[u8], table: &str) -> Option<(String, u32)> {
    if kind != NEW_CHAIN {
        return None;
    }
    let attributes = payload.get(GENERIC..)?;
    if nla::text(nla::find(attributes, CHAIN_TABLE)?) != Some(table) {
        return None;
    }
    let name = nla::text(nla::find(attributes, CHAIN_NAME)?)?.to_owned();
    let rules = u32::from_be_bytes(nla::find(attributes, CHAIN_USE)?.try_into().ok()?);
    Some((name, rules))
}
