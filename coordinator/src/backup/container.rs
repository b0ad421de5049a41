//! The file of a backup, format 1. All numbers are big endian.
//!
//! ```text
//! "hamesh backup\n" (14) | format (2) | length of the header (4) | header (JSON)
//!   | sealed content: version (1) | nonce (24) | ciphertext | tag (16)
//!   | SHA-256 of everything before (32)
//! ```
//! The header is in the clear and authenticated with the content (XChaCha20-Poly1305). The digest
//! needs no passphrase: it tells a damaged file from a wrong passphrase, and proves nothing else.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{BackupKey, KeyError};
use hamesh_proto::hex;

/// How every backup begins, whatever its format.
const MAGIC: &[u8] = b"hamesh backup\n";
/// The one format that is written, and the newest that is read.
const FORMAT: u16 = 1;
const PREAMBLE: usize = MAGIC.len() + 2 + 4;
const DIGEST: usize = 32;
/// A header has about 300 bytes.
const LONGEST_HEADER: usize = 16 * 1024;

/// What a backup says of itself in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The site.
    pub site: String,
    /// The coordinator that made it.
    pub coordinator: String,
    /// The version of that coordinator.
    pub version: String,
    /// When.
    pub made_unix_ms: u64,
    /// What the key is derived with: 16 bytes, hex.
    salt: String,
    /// Rounds of PBKDF2-HMAC-SHA256.
    iterations: u32,
    /// 8 bytes, hex: tells whether a key is the right one.
    check: String,
    /// The length of the sealed content.
    sealed_bytes: u64,
}

/// A file that is whole.
#[derive(Debug)]
pub struct Container {
    header: Header,
    head: Vec<u8>,
    sealed: Vec<u8>,
}

/// What is wrong with a file. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Something else.
    #[error("it is not a backup of hamesh; name a file that `coordctl backup` wrote")]
    Foreign,
    /// Of a later release.
    #[error(
        "it has format {0}, written by a later version of hamesh; use the coordctl of that version"
    )]
    Later(u16),
    /// Its end is missing.
    #[error(
        "it ends after {found} of {expected} bytes: it was not copied whole; copy it again, or \
             take another backup"
    )]
    Truncated {
        /// How many bytes there are.
        found: u64,
        /// How many there were.
        expected: u64,
    },
    /// Its content is not what was written.
    #[error(
        "it is damaged: its bytes are not those that were written; copy it again, or take \
             another backup"
    )]
    Damaged,
    /// Another passphrase.
    #[error("the passphrase is not the one of this backup of site {site}, made by {coordinator}")]
    Passphrase {
        /// Whose it is.
        site: String,
        /// Who made it.
        coordinator: String,
    },
    /// The key's terms are of no use.
    #[error("it names a key of no use ({0}); take another backup")]
    Key(#[from] KeyError),
}

/// Seals a content under a key: the bytes of the file.
pub fn wrap(about: &About<'_>, key: &BackupKey, content: &[u8]) -> Vec<u8> {
    const OVERHEAD: u64 = 1 + 24 + 16;
    let header = Header {
        site: about.site.to_owned(),
        coordinator: about.coordinator.to_owned(),
        version: crate::version().to_owned(),
        made_unix_ms: about.made_unix_ms,
        salt: hex::encode(&key.salt),
        iterations: key.iterations,
        check: hex::encode(&key.check()),
        sealed_bytes: content.len() as u64 + OVERHEAD,
    };
    let header = serde_json::to_vec(&header).expect("plain values are JSON");
    let length = u32::try_from(header.len()).expect("names are short");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(header);
    let sealed = key.seal_key().seal(&bytes, content);
    bytes.extend(sealed);
    let sum = digest(&SHA256, &bytes);
    bytes.extend(sum.as_ref());
    bytes
}

/// Who makes a backup, and when.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are those of the header")]
pub struct About<'a> {
    pub site: &'a str,
    pub coordinator: &'a str,
    pub made_unix_ms: u64,
}

impl Container {
    /// Takes a file apart. That it is whole is known from here on; that it is genuine is not.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContainerError> {
        let truncated = |expected: usize| ContainerError::Truncated {
            found: bytes.len() as u64,
            expected: expected as u64,
        };
        let begins = bytes.len().min(MAGIC.len());
        if bytes.is_empty() || bytes[..begins] != MAGIC[..begins] {
            return Err(ContainerError::Foreign);
        }
        let preamble = bytes.get(..PREAMBLE).ok_or_else(|| truncated(PREAMBLE))?;
        let format = u16::from_be_bytes([preamble[14], preamble[15]]);
        if format > FORMAT {
            return Err(ContainerError::Later(format));
        }
        let length = [preamble[16], preamble[17], preamble[18], preamble[19]];
        let length = u32::from_be_bytes(length) as usize;
        if format == 0 || length > LONGEST_HEADER {
            return Err(ContainerError::Damaged);
        }
        let end = PREAMBLE + length;
        let head = bytes.get(..end).ok_or_else(|| truncated(end + DIGEST))?;
        let header: Header =
            serde_json::from_slice(&head[PREAMBLE..]).map_err(|_| ContainerError::Damaged)?;
        let sealed = usize::try_from(header.sealed_bytes).map_err(|_| ContainerError::Damaged)?;
        let whole = end.checked_add(sealed).and_then(|n| n.checked_add(DIGEST));
        let whole = whole.ok_or(ContainerError::Damaged)?;
        if bytes.len() < whole {
            return Err(truncated(whole));
        }
        let (before, sum) = bytes.split_at(whole - DIGEST);
        if digest(&SHA256, before).as_ref() != sum {
            return Err(ContainerError::Damaged);
        }
        Ok(Self {
            header,
            head: head.to_vec(),
            sealed: before[end..].to_vec(),
        })
    }

    /// What it says of itself. Believe it once it was opened.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The content, for whoever has the passphrase.
    pub fn open(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let salt = hex::decode(&self.header.salt).ok_or(ContainerError::Damaged)?;
        self.open_with(&BackupKey::derive(
            passphrase,
            salt,
            self.header.iterations,
        )?)
    }

    /// The content, for whoever has the key.
    pub fn open_with(&self, key: &BackupKey) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        if hex::encode(&key.check()) != self.header.check {
            return Err(ContainerError::Passphrase {
                site: self.header.site.clone(),
                coordinator: self.header.coordinator.clone(),
            });
        }
        let opened = key.seal_key().open(&self.head, &self.sealed);
        opened.map_err(|_| ContainerError::Damaged)
    }
}
