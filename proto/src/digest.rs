//! Names contents.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::hex;

/// The SHA-256 of these bytes, as lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}

/// The SHA-1 of these bytes, likewise: for programs that tell certificates apart by it. It proves
/// nothing.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}
