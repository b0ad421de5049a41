//! The values of the store that are about coordinators. Times are Unix milliseconds.

use hamesh_claims::election::{Candidate, Leadership};
use hamesh_claims::ids::NodeName;
use serde::{Deserialize, Serialize};

use super::Record;

/// Who leads. Rewritten twice a second, each time with the next beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// The epoch of the leader's grants.
    pub term: u64,
    /// Its node.
    pub node: String,
    /// Which machine of this name it is.
    pub instance: u64,
    /// Its start.
    pub run: u64,
    /// Rises with each rewriting.
    pub beat: u64,
    /// It has stopped, and waits for nobody.
    pub resigned: bool,
}

impl From<LeaderRecord> for Leadership {
    fn from(record: LeaderRecord) -> Self {
        Self {
            term: record.term,
            leader: Candidate {
                name: NodeName::new(&record.node),
                instance: record.instance,
                run: record.run,
            },
            beat: record.beat,
            resigned: record.resigned,
        }
    }
}

impl From<Leadership> for LeaderRecord {
    fn from(leadership: Leadership) -> Self {
        Self {
            term: leadership.term,
            node: leadership.leader.name.to_string(),
            instance: leadership.leader.instance,
            run: leadership.leader.run,
            beat: leadership.beat,
            resigned: leadership.resigned,
        }
    }
}

/// A coordinator of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorRecord {
    /// How far it is.
    pub part: CoordinatorPart,
    /// When it was added.
    pub added_unix_ms: u64,
    /// SPIFFE path of who added it.
    pub added_by: String,
}

/// How far a coordinator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinatorPart {
    /// An admin added it: its machine may ask for what makes it a coordinator.
    Added,
    /// It was given that; its store has no vote yet.
    Joining,
    /// It keeps the store, and may lead.
    Member,
}

impl Record for LeaderRecord {}
impl Record for CoordinatorRecord {}
