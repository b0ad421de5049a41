//! The system's cryptographic random numbers.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes, fit for keys and nonces.
///
/// # Panics
/// If the kernel has no random numbers to give. Since Linux 5.6 that does not happen after boot,
/// and nothing secret can be made without them.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the kernel gives random numbers");
    bytes
}
