//! The seal of lease datagrams: one key for two ends, and no datagram opens twice.
//!
//! ```text
//! datagram = version (1) | key id (8) | run (8) | sequence (8) | ciphertext | tag (16)
//! ```
//! XChaCha20-Poly1305. From the shared secret each direction derives a key of its own (HKDF-SHA256
//! over both ends' names), so that the nonce, run and sequence, never repeats under a key: an end
//! counts its datagrams, and no two of its runs have the same number.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::hkdf;

use crate::spiffe::Principal;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 8 + 8 + 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const PURPOSE: &[u8] = b"hamesh-lease-v1";

/// By how many bytes a sealed datagram is longer than its content.
pub const OVERHEAD: usize = HEADER + TAG_BYTES;

/// Why a datagram does not open. Count and drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than the overhead.
    #[error("too short to be sealed")]
    Short,
    /// Another format.
    #[error("sealed in the unknown format {0}")]
    Version(u8),
    /// Under another key.
    #[error("sealed under key {0:016x}")]
    OtherKey(u64),
    /// Made by someone without the key, or changed.
    #[error("the seal is broken")]
    Broken,
    /// Of a run that ended before the newest one seen, or opened before.
    #[error("seen before, or of an earlier run")]
    Replayed,
}

/// One end of a key that two ends share.
pub struct Channel {
    id: u64,
    run: u64,
    sent: u64,
    seals: XChaCha20Poly1305,
    opens: XChaCha20Poly1305,
    window: Window,
}

/// Which key a datagram names; nothing about it is proven by that.
pub fn key_id(datagram: &[u8]) -> Result<u64, OpenError> {
    let header = datagram.first_chunk::<HEADER>().ok_or(OpenError::Short)?;
    match header[0] {
        VERSION => Ok(number(header, 1)),
        version => Err(OpenError::Version(version)),
    }
}

impl Channel {
    /// The end of `own`, facing `other`. `run` rises with each start of this process: no two runs
    /// have the same.
    pub fn new(id: u64, secret: &[u8; 32], own: &Principal, other: &Principal, run: u64) -> Self {
        Self {
            id,
            run,
            sent: 0,
            seals: cipher(secret, own, other),
            opens: cipher(secret, other, own),
            window: Window::default(),
        }
    }

    /// Seals a content.
    pub fn seal(&mut self, content: &[u8]) -> Vec<u8> {
        self.sent += 1;
        let mut header = [0; HEADER];
        header[0] = VERSION;
        header[1..9].copy_from_slice(&self.id.to_be_bytes());
        header[9..17].copy_from_slice(&self.run.to_be_bytes());
        header[17..].copy_from_slice(&self.sent.to_be_bytes());
        let payload = Payload {
            msg: content,
            aad: &header,
        };
        let sealed = self.seals.encrypt(&nonce(self.run, self.sent), payload);
        let sealed = sealed.expect("far below the cipher's limit of 256 GiB");
        [header.as_slice(), &sealed].concat()
    }

    /// Opens what the other end sealed, once.
    ///
    /// # Errors
    /// [`OpenError`] says why not; nothing is remembered of such a datagram.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
        let id = key_id(datagram)?;
        if id != self.id {
            return Err(OpenError::OtherKey(id));
        }
        let (header, sealed) = datagram
            .split_first_chunk::<HEADER>()
            .ok_or(OpenError::Short)?;
        let (run, sequence) = (number(header, 9), number(header, 17));
        if !self.window.is_new(run, sequence) {
            return Err(OpenError::Replayed);
        }
        let payload = Payload {
            msg: sealed,
            aad: header,
        };
        let opened = self.opens.decrypt(&nonce(run, sequence), payload);
        let content = opened.map_err(|_| OpenError::Broken)?;
        self.window.note(run, sequence);
        Ok(content)
    }

    /// The other end has started anew under this number: of no earlier run anything opens.
    pub fn expect_run(&mut self, run: u64) {
        if run > self.window.run {
            self.window = Window {
                run,
                ..Window::default()
            };
        }
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.id)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// Which datagrams of the newest run were opened: the last one, and which of those just before it.
#[derive(Debug, Default)]
struct Window {
    run: u64,
    last: u64,
    /// Bit n: `last - n` was opened.
    opened: u128,
}

impl Window {
    fn is_new(&self, run: u64, sequence: u64) -> bool {
        if run != self.run {
            return run > self.run;
        }
        match self.last.checked_sub(sequence) {
            None => true,
            Some(behind) if behind < u64::from(u128::BITS) => self.opened & (1 << behind) == 0,
            Some(_) => false,
        }
    }

    fn note(&mut self, run: u64, sequence: u64) {
        if run > self.run {
            *self = Self {
                run,
                last: sequence,
                opened: 1,
            };
        } else if let Some(ahead) = sequence.checked_sub(self.last).filter(|ahead| *ahead > 0) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.opened = self.opened.checked_shl(shift).unwrap_or(0) | 1;
            self.last = sequence;
        } else {
            self.opened |= 1 << (self.last - sequence);
        }
    }
}

fn number(header: &[u8; HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_be_bytes(bytes)
}

fn nonce(run: u64, sequence: u64) -> XNonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&run.to_be_bytes());
    nonce[8..16].copy_from_slice(&sequence.to_be_bytes());
    XNonce::from(nonce)
}

/// The cipher for what `from` says to `to`.
fn cipher(secret: &[u8; 32], from: &Principal, to: &Principal) -> XChaCha20Poly1305 {
    let (from, to) = (from.path(), to.path());
    // A NUL is in no name: no two pairs of names read the same.
    let info = [from.as_bytes(), b"\0", to.as_bytes()];
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(secret);
    let mut key = zeroize::Zeroizing::new([0; 32]);
    derived
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .expect("32 bytes are one block of HKDF-SHA256");
    XChaCha20Poly1305::new((&*key).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn agent(name: &str) -> Principal {
        Principal::Agent(name.parse().expect("a name"))
    }

    fn pair(run: u64) -> (Channel, Channel) {
        let (a, b) = (agent("a"), agent("b"));
        let end = |own, other| Channel::new(1, &SECRET, own, other, run);
        (end(&a, &b), end(&b, &a))
    }

    #[test]
    fn of_a_run_before_the_one_that_is_expected_nothing_opens() {
        let (mut a, mut b) = pair(5);
        let opens = |b: &mut Channel, a: &mut Channel| b.open(&a.seal(b"x"));
        assert!(opens(&mut b, &mut a).is_ok());
        b.expect_run(5);
        assert!(opens(&mut b, &mut a).is_ok(), "the same run goes on");
        let first = a.seal(b"x");
        b.expect_run(6);
        assert_eq!(b.open(&first), Err(OpenError::Replayed));
        b.expect_run(4);
        assert_eq!(opens(&mut b, &mut a), Err(OpenError::Replayed));
        let (mut next, _) = pair(6);
        assert!(opens(&mut b, &mut next).is_ok());
    }

    #[test]
    fn the_other_end_opens_what_one_end_sealed_and_only_once() {
        let (mut a, mut b) = pair(1);
        let datagram = a.seal(b"renew");
        assert_eq!(datagram.len(), OVERHEAD + 5);
        assert_eq!(b.open(&datagram).as_deref(), Ok(b"renew".as_slice()));
        assert_eq!(b.open(&datagram), Err(OpenError::Replayed));
    }

    #[test]
    fn an_end_does_not_open_its_own_words() {
        let (mut a, _) = pair(1);
        let datagram = a.seal(b"renew");
        assert_eq!(a.open(&datagram), Err(OpenError::Broken));
    }

    #[test]
    fn a_changed_datagram_is_refused_wherever_it_was_changed() {
        let (mut a, _) = pair(1);
        let sealed = a.seal(b"renew");
        for at in 0..sealed.len() {
            let (_, mut b) = pair(1);
            let mut datagram = sealed.clone();
            datagram[at] ^= 1;
            assert!(b.open(&datagram).is_err(), "byte {at}");
            assert!(b.open(&sealed).is_ok(), "refusing must leave no trace");
        }
    }

    #[test]
    fn no_datagram_of_an_earlier_run_opens_after_one_of_a_later() {
        let (mut old, _) = pair(1);
        let (mut new, mut b) = pair(2);
        let (first, second) = (old.seal(b"1"), old.seal(b"2"));
        assert!(b.open(&first).is_ok());
        assert!(b.open(&new.seal(b"3")).is_ok());
        assert_eq!(b.open(&second), Err(OpenError::Replayed));
    }

    #[test]
    fn another_key_and_another_pair_are_told_apart() {
        let (mut a, _) = pair(1);
        let datagram = a.seal(b"x");
        let (b, c) = (agent("b"), agent("c"));
        let mut other_id = Channel::new(2, &SECRET, &b, &agent("a"), 1);
        assert_eq!(other_id.open(&datagram), Err(OpenError::OtherKey(1)));
        let mut other_pair = Channel::new(1, &SECRET, &b, &c, 1);
        assert_eq!(other_pair.open(&datagram), Err(OpenError::Broken));
        assert_eq!(key_id(&datagram), Ok(1));
    }

    proptest! {
        #[test]
        fn invariant_each_of_a_runs_datagrams_opens_at_most_once(
            order in prop::collection::vec(0usize..300, 1..600),
        ) {
            let (mut a, mut b) = pair(9);
            let datagrams: Vec<_> = (0..300u32).map(|n| a.seal(&n.to_be_bytes())).collect();
            let mut opened = std::collections::BTreeSet::new();
            for at in order {
                if b.open(&datagrams[at]).is_ok() {
                    prop_assert!(opened.insert(at), "{at} opened twice");
                } else {
                    let newest = opened.last().copied().unwrap_or_default();
                    prop_assert!(opened.contains(&at) || newest >= at + 128, "{at} lost");
                }
            }
        }

        #[test]
        fn no_bytes_upset_the_opener(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_, mut b) = pair(1);
            prop_assert!(b.open(&bytes).is_err());
        }
    }
}
