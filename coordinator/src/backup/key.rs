//! From a passphrase to the key of a backup.
//!
//! PBKDF2-HMAC-SHA256 over a random salt, with as many rounds as OWASP asks for in 2023. The
//! derivation is done where the passphrase is typed: no coordinator ever hears it.

use std::num::NonZeroU32;

use hamesh_proto::random;
use hamesh_proto::seal::SealKey;
use hamesh_proto::v1;
use ring::{hmac, pbkdf2};
use zeroize::Zeroizing;

/// OWASP's Password Storage Cheat Sheet, 2023, for PBKDF2-HMAC-SHA256.
const ITERATIONS: u32 = 600_000;
/// A file that asks for more rounds is not worth waiting for.
const MOST_ITERATIONS: u32 = 20_000_000;
/// Below, a passphrase is guessed whatever the rounds.
pub const LEAST_CHARACTERS: usize = 12;
/// What is authenticated to tell a wrong passphrase from a damaged file.
const CHECK: &[u8] = b"hamesh backup key check";

/// A key and what it is derived from.
#[derive(Clone)]
pub struct BackupKey {
    /// Random, for each passphrase that is set or used.
    pub salt: [u8; 16],
    /// Rounds of PBKDF2.
    pub iterations: u32,
    secret: Zeroizing<[u8; 32]>,
}

/// Why there is no key. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short a passphrase.
    #[error("a passphrase has {LEAST_CHARACTERS} characters at least")]
    Short,
    /// No rounds, or too many.
    #[error("{0} rounds of PBKDF2 are none or too many (20 million at most)")]
    Iterations(u32),
    /// The salt has 16 bytes and the secret 32.
    #[error("the salt or the secret of a backup's key has another length than it must have")]
    Length,
}

impl BackupKey {
    /// A key for a new backup.
    pub fn fresh(passphrase: &str) -> Result<Self, KeyError> {
        if passphrase.chars().count() < LEAST_CHARACTERS {
            return Err(KeyError::Short);
        }
        Self::derive(passphrase, random::bytes(), ITERATIONS)
    }

    /// The key of an existing backup, if the passphrase is the right one.
    pub fn derive(passphrase: &str, salt: [u8; 16], iterations: u32) -> Result<Self, KeyError> {
        let rounds = NonZeroU32::new(iterations).filter(|it| it.get() <= MOST_ITERATIONS);
        let rounds = rounds.ok_or(KeyError::Iterations(iterations))?;
        let mut secret = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            passphrase.as_bytes(),
            secret.as_mut_slice(),
        );
        Ok(Self {
            salt,
            iterations,
            secret,
        })
    }

    /// Of parts that were kept.
    pub fn of_parts(salt: &[u8], iterations: u32, secret: &[u8]) -> Result<Self, KeyError> {
        let (Ok(salt), Ok(secret)) = (salt.try_into(), secret.try_into()) else {
            return Err(KeyError::Length);
        };
        if iterations == 0 || iterations > MOST_ITERATIONS {
            return Err(KeyError::Iterations(iterations));
        }
        Ok(Self {
            salt,
            iterations,
            secret: Zeroizing::new(secret),
        })
    }

    /// The secret itself.
    pub fn secret(&self) -> &[u8] {
        self.secret.as_slice()
    }

    /// Tells whether a key is this one without telling what it is.
    pub fn check(&self) -> [u8; 8] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice());
        let mut check = [0; 8];
        check.copy_from_slice(&hmac::sign(&key, CHECK).as_ref()[..8]);
        check
    }

    pub(super) fn seal_key(&self) -> SealKey {
        SealKey::from_bytes(self.secret.clone())
    }
}

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupKey([redacted])")
    }
}

impl TryFrom<v1::BackupKey> for BackupKey {
    type Error = KeyError;

    fn try_from(wire: v1::BackupKey) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(wire.secret);
        Self::of_parts(&wire.salt, wire.iterations, &secret)
    }
}

impl From<&BackupKey> for v1::BackupKey {
    fn from(key: &BackupKey) -> Self {
        v1::BackupKey {
            salt: key.salt.to_vec(),
            iterations: key.iterations,
            secret: key.secret().to_vec(),
        }
    }
}
