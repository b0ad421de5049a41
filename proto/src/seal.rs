//! Sealing: gossip datagrams under the site's key ring, and secrets at rest under one key.
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce for each message: so many bits that repetition
//! need not be feared at any rate a site can reach, and no counter has to survive a restart.
//!
//! ```text
//! datagram = version (1) | key id (4, big endian) | nonce (24) | ciphertext | tag (16)
//! secret   = version (1)                          | nonce (24) | ciphertext | tag (16)
//! ```
//! Everything before the nonce is authenticated together with the caller's associated data.
//!
//! Deliberately absent: protection against replay (what gossip carries is ordered by its own
//! versions, and what decides anything is signed by its node), and secrecy against a member of the
//! site: all members share the ring.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::files;
use crate::random;
use crate::v1;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const RING_HEADER: usize = 1 + 4;
const SECRET_HEADER: usize = 1;

/// By how many bytes a sealed datagram is longer than what it carries.
pub const OVERHEAD: usize = RING_HEADER + NONCE_BYTES + TAG_BYTES;

/// A rotation needs two keys; more than a few are a mistake.
pub const MAX_KEYS: usize = 8;

/// The gossip keys of the site. The primary seals; every key of the ring opens.
#[derive(Clone)]
pub struct KeyRing {
    version: u64,
    primary: u32,
    keys: BTreeMap<u32, Key>,
}

#[derive(Clone)]
struct Key {
    secret: Zeroizing<[u8; KEY_BYTES]>,
    cipher: XChaCha20Poly1305,
}

/// Why a ring from outside is refused. The ring in use stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// No key.
    #[error("the key ring is empty")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("the key ring holds more than {MAX_KEYS} keys")]
    TooMany,
    /// A key is not 32 bytes long.
    #[error("gossip key {0} is not 32 bytes long")]
    Length(u32),
    /// Two keys share an id.
    #[error("gossip key {0} is in the ring twice")]
    Twice(u32),
    /// The primary is not in the ring.
    #[error("the primary gossip key {0} is not in the ring")]
    NoPrimary(u32),
}

/// Why sealed bytes do not open. Nothing is known about them: count and drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than the overhead.
    #[error("too short to be sealed")]
    Short,
    /// Another format.
    #[error("sealed in the unknown format {0}")]
    Version(u8),
    /// The key was retired, or never existed.
    #[error("sealed under key {0}, which is not in the ring")]
    UnknownKey(u32),
    /// Made by someone without the key, or changed, or meant for another purpose.
    #[error("the seal is broken")]
    Broken,
}

impl KeyRing {
    /// A ring of one fresh key, version 1.
    pub fn generate() -> Self {
        let keys = BTreeMap::from([(1, Key::new(Zeroizing::new(random::bytes())))]);
        Self {
            version: 1,
            primary: 1,
            keys,
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The id of the key that seals.
    pub fn primary(&self) -> u32 {
        self.primary
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.keys.keys().copied()
    }

    /// Rotation, first phase: a fresh key that opens but does not seal yet. Gives its id.
    ///
    /// `None`, and no change, if the ring is full.
    #[must_use]
    pub fn with_fresh_key(&self) -> Option<(Self, u32)> {
        let id = self
            .keys
            .last_key_value()
            .map_or(1, |(last, _)| last.wrapping_add(1));
        if self.keys.len() >= MAX_KEYS || self.keys.contains_key(&id) {
            return None;
        }
        let mut next = self.clone();
        next.version += 1;
        next.keys
            .insert(id, Key::new(Zeroizing::new(random::bytes())));
        Some((next, id))
    }

    /// Rotation, second phase, once all members hold the key: `id` seals from now on.
    ///
    /// `None`, and no change, if `id` is not in the ring.
    #[must_use]
    pub fn with_primary(&self, id: u32) -> Option<Self> {
        let known = self.keys.contains_key(&id);
        known.then(|| Self {
            version: self.version + 1,
            primary: id,
            keys: self.keys.clone(),
        })
    }

    /// Rotation, third phase, once all members seal under the primary: no other key opens.
    #[must_use]
    pub fn with_primary_only(&self) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.keys.retain(|id, _| *id == self.primary);
        next
    }

    /// Seals `plaintext` under the primary; only the same `aad` opens it.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut header = [0; RING_HEADER];
        header[0] = VERSION;
        header[1..].copy_from_slice(&self.primary.to_be_bytes());
        let key = self
            .keys
            .get(&self.primary)
            .expect("the primary is in the ring");
        seal(&key.cipher, &header, aad, plaintext)
    }

    /// Opens what any member sealed under a key of this ring.
    pub fn open(&self, aad: &[u8], datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
        if datagram.len() < OVERHEAD {
            return Err(OpenError::Short);
        }
        let (header, body) = datagram.split_at(RING_HEADER);
        if header[0] != VERSION {
            return Err(OpenError::Version(header[0]));
        }
        let id = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let key = self.keys.get(&id).ok_or(OpenError::UnknownKey(id))?;
        open(&key.cipher, header, aad, body)
    }
}

impl Key {
    fn new(secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new((&*secret).into()),
            secret,
        }
    }
}

fn seal(cipher: &XChaCha20Poly1305, header: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = random::bytes();
    let bound = [header, aad].concat();
    let ciphertext = cipher
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: plaintext,
                aad: &bound,
            },
        )
        .expect("far below the cipher's limit of 256 GiB");
    [header, nonce.as_slice(), &ciphertext].concat()
}

/// `body` is nonce, ciphertext and tag; its length has been checked.
fn open(
    cipher: &XChaCha20Poly1305,
    header: &[u8],
    aad: &[u8],
    body: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let (nonce, ciphertext) = body
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(OpenError::Short)?;
    let bound = [header, aad].concat();
    cipher
        .decrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: ciphertext,
                aad: &bound,
            },
        )
        .map_err(|_| OpenError::Broken)
}

impl TryFrom<&v1::GossipKeyRing> for KeyRing {
    type Error = KeyRingError;

    fn try_from(ring: &v1::GossipKeyRing) -> Result<Self, KeyRingError> {
        if ring.keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        if ring.keys.len() > MAX_KEYS {
            return Err(KeyRingError::TooMany);
        }
        let mut keys = BTreeMap::new();
        for key in &ring.keys {
            let secret: [u8; KEY_BYTES] = key
                .secret
                .as_slice()
                .try_into()
                .map_err(|_| KeyRingError::Length(key.id))?;
            if keys
                .insert(key.id, Key::new(Zeroizing::new(secret)))
                .is_some()
            {
                return Err(KeyRingError::Twice(key.id));
            }
        }
        if !keys.contains_key(&ring.primary) {
            return Err(KeyRingError::NoPrimary(ring.primary));
        }
        Ok(Self {
            version: ring.version,
            primary: ring.primary,
            keys,
        })
    }
}

impl From<&KeyRing> for v1::GossipKeyRing {
    fn from(ring: &KeyRing) -> Self {
        let key = |(id, key): (&u32, &Key)| v1::GossipKey {
            id: *id,
            secret: key.secret.to_vec(),
        };
        Self {
            version: ring.version,
            keys: ring.keys.iter().map(key).collect(),
            primary: ring.primary,
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("version", &self.version)
            .field("primary", &self.primary)
            .field("ids", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

/// Seals secrets that are kept in the store, under a key that is kept beside it and not in it.
#[derive(Clone)]
pub struct SealKey(Key);

impl SealKey {
    /// A fresh key.
    pub fn generate() -> Self {
        Self(Key::new(Zeroizing::new(random::bytes())))
    }

    /// The key of these bytes.
    pub fn from_bytes(secret: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Key::new(secret))
    }

    /// Its bytes, for a backup that is itself sealed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.0.secret.clone()
    }

    /// Reads the 32 bytes at `path`.
    pub fn load(path: &Path) -> io::Result<Self> {
        let bytes = Zeroizing::new(std::fs::read(path)?);
        let secret: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is not a key of 32 bytes",
            )
        })?;
        Ok(Self(Key::new(Zeroizing::new(secret))))
    }

    /// Writes the file at `path`, 0600, atomically and durably.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        files::write_atomic(path, self.0.secret.as_slice(), files::SECRET)
    }

    /// Seals `plaintext`; only the same `aad` (the name it is stored under) opens it.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        seal(&self.0.cipher, &[VERSION], aad, plaintext)
    }

    /// Opens what [`seal`](Self::seal) made.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if sealed.len() < SECRET_HEADER + NONCE_BYTES + TAG_BYTES {
            return Err(OpenError::Short);
        }
        let (header, body) = sealed.split_at(SECRET_HEADER);
        if header[0] != VERSION {
            return Err(OpenError::Version(header[0]));
        }
        open(&self.0.cipher, header, aad, body).map(Zeroizing::new)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey([redacted])")
    }
}
