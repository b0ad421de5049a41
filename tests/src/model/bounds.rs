//! How much of the modelled world is explored: what may go wrong, and what has.

use hamesh_claims::Rules;

/// What may happen, and how often: everything else happens in time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Which rules the machines keep.
    pub rules: Rules,
    /// Members of the group at first, of three nodes.
    pub members: usize,
    /// How many ticks the world goes on for after it began with a held claim.
    pub ticks: u64,
    /// For how many of those, at the end, nothing goes wrong any more.
    pub calm: u64,
    /// How much goes wrong, of all kinds together.
    pub faults: u8,
    /// Messages that come late, twice or never.
    pub late: u8,
    /// Agents that are stopped for longer than a lease.
    pub pauses: u8,
    /// Nodes that hear no coordinator, nor are heard, until all is calm; they hear each other.
    pub cuts: u8,
    /// Agents that die and start again, with their memory or without it.
    pub crashes: u8,
    /// Whether a crashed agent may have lost its memory.
    pub forgetful: bool,
    /// Leaders that die, or are stopped and go on answering for as long as they may.
    pub depositions: u8,
    /// Leaderships, the first one included.
    pub leaders: u8,
    /// Times that the holder is asked to give the claim back.
    pub give_backs: u8,
    /// Changes of the group, from two members to three.
    pub group_changes: u8,
    /// Restores of the site from a backup of its beginning, beside the leader of then.
    pub restores: u8,
    /// Whether somebody must hold at the end.
    pub held_at_last: bool,
}

impl Bounds {
    /// Nothing goes wrong.
    pub const CALM: Self = Self {
        rules: Rules::all(),
        members: 2,
        ticks: 8,
        calm: 8,
        faults: 0,
        late: 0,
        pauses: 0,
        cuts: 0,
        crashes: 0,
        forgetful: true,
        depositions: 0,
        leaders: 1,
        give_backs: 0,
        group_changes: 0,
        restores: 0,
        held_at_last: true,
    };
}

/// How much has gone wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// Faults of all kinds.
    pub faults: u8,
    /// Messages that were not delivered in time.
    pub late: u8,
    /// Agents that were stopped.
    pub pauses: u8,
    /// Nodes that were cut off from the coordinators.
    pub cuts: u8,
    /// Agents that died.
    pub crashes: u8,
    /// Leaders that died or were stopped.
    pub depositions: u8,
    /// Times that the holder was asked to give back.
    pub give_backs: u8,
    /// Changes of the group.
    pub group_changes: u8,
    /// Restores from a backup.
    pub restores: u8,
}
