//! The note by which an agent tells the coordinator's package what its machine is to be.
//!
//! The agent writes it into its own state directory; a unit of the package watches it, and does
//! what it says as root. The agent itself may touch nothing outside its own folder.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The file's name in the agent's state directory.
pub const FILE: &str = "coordinate.json";

/// What the machine is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinate {
    /// Whether it is to be a coordinator.
    pub wanted: bool,
    /// Where coordinators answer.
    pub coordinators: Vec<SocketAddr>,
}
