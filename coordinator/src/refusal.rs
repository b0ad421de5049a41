//! How the crate's errors become gRPC codes.
//!
//! | code | means |
//! |---|---|
//! | `unavailable` | nothing was changed; try again |
//! | `unknown` | the store did not confirm: look before trying again |
//! | `aborted` | someone else was faster; nothing was changed; read again |
//! | `internal` | the store or a file is damaged; a human must look |

use tonic::{Code, Status};

use crate::ledger::{CommitError, FollowError, ReadError};
use crate::rotation::RotationError;
use crate::store::StoreError;
use crate::world::WorldError;

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable { .. } => Code::Unavailable,
            StoreError::Unconfirmed { .. } => Code::Unknown,
            StoreError::Foreign { .. } | StoreError::Files { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::Decode(error) => Self::internal(error.to_string()),
        }
    }
}

impl From<CommitError> for Status {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::aborted(error.to_string()),
            CommitError::Store(error) => error.into(),
            CommitError::Decode(error) => Self::internal(error.to_string()),
        }
    }
}

impl From<WorldError> for Status {
    fn from(error: WorldError) -> Self {
        match error {
            WorldError::Read(error) => error.into(),
            WorldError::Site(_) | WorldError::Missing { .. } | WorldError::Sealed { .. } => {
                Self::internal(error.to_string())
            }
        }
    }
}

impl From<RotationError> for Status {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::World(error) => error.into(),
            RotationError::Commit(error) => error.into(),
        }
    }
}

impl From<FollowError> for Status {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Read(error) => error.into(),
            FollowError::Watch(error) => Self::unavailable(error.to_string()),
        }
    }
}
