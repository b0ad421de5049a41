//! Names contents by their SHA-256.

use std::fmt;

use hamesh_proto::digest::sha256_hex;
use serde::{Deserialize, Serialize};

/// The SHA-256 of something, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha256_hex(bytes.as_ref()))
    }

    /// Enough of it for people to tell two apart.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(12)]
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Digest {
    /// From what was a digest before: it is compared, never computed with.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
