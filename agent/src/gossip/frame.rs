//! How one chitchat message becomes one or two datagrams, before sealing and after opening.
//!
//! Guarantees: [`parts`] never yields a datagram above [`MAX_DATAGRAM`] once it is sealed;
//! [`Frame::decode`] accepts exactly what [`Frame::encode`] yields and never panics.
//!
//! Idea: a chitchat message may fill a UDP datagram to the last byte (it may even exceed it by
//! three bytes, see docs/decisions/0003-gossip.md), so that with the bytes of the seal it needs a
//! second datagram. Both halves carry consecutive counters, which is all that pairs them.
//!
//! Absent: keys (`hamesh_proto::seal`), replay protection and reassembly ([`super::senders`]).

use hamesh_proto::ids::NodeId;
use hamesh_proto::seal;

/// The largest payload of a UDP datagram over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// The largest message that is sent or put together again: 64 KiB, a little above the largest that
/// chitchat makes.
pub const MAX_MESSAGE: usize = 65_536;

const VERSION: u8 = 1;
/// Version, part, start, counter, sending time, length of the name.
const FIXED: usize = 1 + 1 + 8 + 8 + 8 + 1;
const LONGEST_NAME: usize = 63;

/// The most bytes of a message that one datagram carries, whoever sends it.
pub const MAX_PART: usize = MAX_DATAGRAM - seal::OVERHEAD - FIXED - LONGEST_NAME;

/// Which part of a message a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first half; the second has the next counter.
    First,
    /// The second half; the first had the counter before.
    Second,
}

/// One datagram, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who says that it sent this. Every member holds the key, so this is a claim, not a proof.
    pub sender: NodeId,
    /// Rises with every start of the sender's agent.
    pub start: u64,
    /// Rises by one with every datagram under one start.
    pub counter: u64,
    /// The sender's wall clock when it sent, Unix milliseconds. Only ever averaged for people.
    pub sent_unix_ms: u64,
    /// Which part of the message this is.
    pub part: Part,
    /// The part's bytes.
    pub body: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its header does.
    #[error("the datagram ends inside its header")]
    Short,
    /// Another version of this layout.
    #[error("the datagram has layout version {0}, this agent speaks version {VERSION}")]
    Version(u8),
    /// No such part.
    #[error("the datagram says it is part {0} of a message")]
    Part(u8),
    /// The sender's name is no node name.
    #[error("the datagram's sender is not a node name")]
    Sender,
}

impl<'a> Frame<'a> {
    /// The bytes to seal.
    pub fn encode(&self) -> Vec<u8> {
        let name = self.sender.as_ref().as_bytes();
        let length = u8::try_from(name.len()).expect("a node name has at most 63 bytes");
        let mut bytes = Vec::with_capacity(FIXED + name.len() + self.body.len());
        bytes.push(VERSION);
        bytes.push(self.part.code());
        bytes.extend(self.start.to_be_bytes());
        bytes.extend(self.counter.to_be_bytes());
        bytes.extend(self.sent_unix_ms.to_be_bytes());
        bytes.push(length);
        bytes.extend(name);
        bytes.extend(self.body);
        bytes
    }

    /// Reads what [`Frame::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] says which field is wrong; the datagram is then of no use.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&[version], rest) = bytes.split_first_chunk::<1>().ok_or(Malformed::Short)?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let (&[part], rest) = rest.split_first_chunk::<1>().ok_or(Malformed::Short)?;
        let part = Part::from_code(part).ok_or(Malformed::Part(part))?;
        let (start, rest) = number(rest)?;
        let (counter, rest) = number(rest)?;
        let (sent_unix_ms, rest) = number(rest)?;
        let (&[length], rest) = rest.split_first_chunk::<1>().ok_or(Malformed::Short)?;
        let (name, body) = rest
            .split_at_checked(usize::from(length))
            .ok_or(Malformed::Short)?;
        let sender = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse().ok())
            .ok_or(Malformed::Sender)?;
        Ok(Self {
            sender,
            start,
            counter,
            sent_unix_ms,
            part,
            body,
        })
    }
}

impl Part {
    fn code(self) -> u8 {
        match self {
            Part::Whole => 0,
            Part::First => 1,
            Part::Second => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Part::Whole, Part::First, Part::Second]
            .into_iter()
            .find(|part| part.code() == code)
    }
}

/// Cuts a message into the one or two parts that travel. `None`: it is above [`MAX_MESSAGE`].
pub fn parts(message: &[u8]) -> Option<Vec<(Part, &[u8])>> {
    if message.len() > MAX_MESSAGE {
        return None;
    }
    Some(match message.split_at_checked(MAX_PART) {
        Some((first, second)) if !second.is_empty() => {
            vec![(Part::First, first), (Part::Second, second)]
        }
        Some(_) | None => vec![(Part::Whole, message)],
    })
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed::Short)?;
    Ok((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![Just(Part::Whole), Just(Part::First), Just(Part::Second)]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_unchanged(
            name in "[a-z][a-z0-9]{0,62}",
            start: u64,
            counter: u64,
            sent_unix_ms: u64,
            part in part(),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let sender = name.parse().expect("a node name");
            let frame = Frame { sender, start, counter, sent_unix_ms, part, body: &body };
            let bytes = frame.encode();
            prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }

        #[test]
        fn a_frame_cut_short_inside_its_header_is_refused(cut in 0usize..FIXED + 6) {
            let sender = "node-1".parse().expect("a node name");
            let frame = Frame {
                sender, start: 1, counter: 2, sent_unix_ms: 3, part: Part::Whole, body: b"x",
            };
            let bytes = frame.encode();
            prop_assert_eq!(Frame::decode(&bytes[..cut]), Err(Malformed::Short));
        }
    }

    #[test]
    fn no_part_of_any_message_exceeds_a_datagram_once_sealed() {
        let message = vec![7; MAX_MESSAGE + 1];
        assert_eq!(parts(&message), None, "above the bound nothing is sent");
        let longest: NodeId = "n".repeat(LONGEST_NAME).parse().expect("a node name");
        for length in [
            0,
            1,
            MAX_PART,
            MAX_PART + 1,
            MAX_DATAGRAM,
            MAX_DATAGRAM + 3,
            MAX_MESSAGE,
        ] {
            let cut = parts(&message[..length]).expect("within the bound");
            assert_eq!(
                cut.len(),
                if length > MAX_PART { 2 } else { 1 },
                "{length} bytes"
            );
            assert_eq!(
                cut.iter().map(|(_, body)| body.len()).sum::<usize>(),
                length
            );
            for (part, body) in cut {
                let sender = longest.clone();
                let frame = Frame {
                    sender,
                    start: 0,
                    counter: 0,
                    sent_unix_ms: 0,
                    part,
                    body,
                };
                assert!(
                    frame.encode().len() + seal::OVERHEAD <= MAX_DATAGRAM,
                    "{length} bytes"
                );
            }
        }
    }
}
