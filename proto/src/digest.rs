//! Names contents.

use ring::digest::{SHA256, digest};

use crate::hex;

/// The SHA-256 of these bytes, as lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}
