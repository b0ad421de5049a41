//! Why an agent does not start, in words for people.

use std::io;

use crate::state::StateError;

/// Why the agent could not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory is of no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// Not enrolled.
    #[error(
        "this machine is not enrolled ({0} holds no identity); on a coordinator run \
         `coordctl token create NODE`, then here `hamesh-agent enroll`"
    )]
    NotEnrolled(std::path::PathBuf),
    /// The identity is a coordinator's or an operator's.
    #[error("{0} is not an agent's identity; enrol this machine with a token")]
    NoAgent(String),
    /// A socket cannot be opened.
    #[error("cannot listen on {what}")]
    Listen {
        /// Which.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The runtime directory cannot be made.
    #[error("cannot use {path}")]
    Runtime {
        /// The directory.
        path: std::path::PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A defect: two series of metrics clash.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
}
