//! What the store holds: keys, values, and how a value is written.
//!
//! Guarantees: a value is JSON in an envelope that names its format, `{"format":1,"value":{...}}`;
//! a value that cannot be read is an error that names its key; a value of a later format is
//! refused rather than half understood, and an unknown field of a known format is ignored.
//!
//! The idea: a person with `etcdctl get` can read the state of the site, and secrets are sealed
//! before they come here.

mod audit;
mod backups;
mod claims;
mod coordinators;
pub mod keys;
mod roles;
mod values;

use hamesh_proto::version::PackageVersion;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use audit::{AuditHead, AuditRecord, AuditResult};
pub use backups::{BackupKeyRecord, BackupsRecord, FailedBackup, MadeBackup};
pub use claims::{
    ClaimRecord, ClaimWishesRecord, Drain, LeaseSecretRecord, MoveRecord, MovesRecord,
};
pub use coordinators::{CoordinatorPart, CoordinatorRecord, LeaderRecord};
pub use roles::{RolesRecord, SecretRecord};
pub use values::{
    CertificateRecord, DesiredRecord, EpochRecord, EventHead, EventRecord, GossipRecord,
    NodeRecord, OperatorAccess, OperatorRecord, ReEnrolWindow, Revocation, RotationPhase,
    SiteRecord, TokenRecord, TokenState,
};

/// The one format that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// The version of hamesh that each format is read since, the first format first. A release reads a
/// format before any release writes it.
const READ_SINCE: [&str; FORMAT as usize] = ["0.1.0"];

/// A type that the store holds.
pub trait Record: Serialize + DeserializeOwned {}

/// Why a value of the store cannot be used. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A later version wrote it.
    #[error(
        "{key} in the store has format {format}, written by a later version of hamesh; \
             upgrade this coordinator"
    )]
    Later {
        /// The whole key.
        key: String,
        /// Its format.
        format: u32,
    },
    /// It is not what hamesh wrote.
    #[error(
        "{key} in the store cannot be read ({problem}); it was changed by hand or damaged: \
             restore it, or delete the key"
    )]
    Damaged {
        /// The whole key.
        key: String,
        /// What the reader stumbled over.
        problem: String,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    value: T,
}

/// The value as the store keeps it.
pub fn encode<T: Record>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&Written {
        format: FORMAT,
        value,
    })
    .expect("our records are plain JSON")
}

/// The oldest version of hamesh that reads this format.
pub fn read_since(format: u32) -> PackageVersion {
    let at = (format.clamp(1, FORMAT) - 1) as usize;
    READ_SINCE[at].parse().expect("our own versions are some")
}

/// The format of the value that `key` holds, which may be a later one than can be read here.
pub fn format_of(key: &str, bytes: &[u8]) -> Result<u32, DecodeError> {
    match serde_json::from_slice(bytes) {
        Ok(Format { format }) => Ok(format),
        Err(error) => Err(DecodeError::Damaged {
            key: key.to_owned(),
            problem: error.to_string(),
        }),
    }
}

/// The value that `key` holds.
pub fn decode<T: Record>(key: &str, bytes: &[u8]) -> Result<T, DecodeError> {
    let damaged = |error: serde_json::Error| DecodeError::Damaged {
        key: key.to_owned(),
        problem: error.to_string(),
    };
    let format = format_of(key, bytes)?;
    if format > FORMAT {
        return Err(DecodeError::Later {
            key: key.to_owned(),
            format,
        });
    }
    let Read { value } = serde_json::from_slice(bytes).map_err(damaged)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "/hamesh/v1/state/epoch";

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let epoch = EpochRecord {
            epoch: 7,
            coordinator: "c-1".into(),
            started_unix_ms: 5,
        };
        assert_eq!(decode(KEY, &encode(&epoch)), Ok(epoch));
    }

    #[test]
    fn a_field_of_a_later_release_is_ignored() {
        let bytes =
            br#"{"format":1,"value":{"epoch":7,"coordinator":"c","started_unix_ms":5,"x":1}}"#;
        assert_eq!(decode::<EpochRecord>(KEY, bytes).map(|it| it.epoch), Ok(7));
    }

    #[test]
    fn a_later_format_is_refused_by_name() {
        let error = decode::<EpochRecord>(KEY, br#"{"format":2,"value":[]}"#).expect_err("read");
        assert_eq!(
            error,
            DecodeError::Later {
                key: KEY.to_owned(),
                format: 2
            }
        );
    }

    #[test]
    fn what_is_written_is_read_by_this_version_and_every_format_has_a_first_one() {
        let this: PackageVersion = env!("CARGO_PKG_VERSION").parse().expect("a version");
        assert!(read_since(FORMAT) <= this);
        let rising: Vec<_> = (1..=FORMAT).map(read_since).collect();
        assert!(rising.is_sorted());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused_with_their_key(bytes: Vec<u8>) {
            if let Err(error) = decode::<EpochRecord>(KEY, &bytes) {
                prop_assert!(error.to_string().contains(KEY));
            }
        }
    }
}
