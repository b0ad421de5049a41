//! The claim on leading the databases: what is seen of Patroni, and what follows for the claim.
//!
//! ```text
//!  etcd: leader, sync, members --> view --+
//!  /proc: PostgreSQL, Patroni  -----------+--> judge, standing --words--> claims --> the fence
//!  the lease, by its holder's thread -----+          |
//!                                                    +--> Patroni is killed, a leader key removed
//! ```
//! Guarantees: only the member that Patroni's leader key names, or one that has every acknowledged
//! commit, asks for the claim; the leader key of another is removed only while this node holds the
//! claim, so when the other's fence has closed, and only as it was read; after a lease that was
//! lost Patroni takes part again only as a process that has seen nothing of before.
//!
//! | module | holds |
//! |---|---|
//! | [`view`] | Patroni's keys, as values (pure) |
//! | [`judge`] | how well the node could lead (pure) |
//! | [`standing`] | whether Patroni may take part without a lease (pure) |
//! | [`etcd`], [`processes`], [`patroni`] | the ways to etcd, `/proc` and systemd |
//! | [`keeper`] | the loop around them |
//!
//! Deliberately absent: promoting. Patroni does, once its leader key says so.

pub mod etcd;
pub mod judge;
pub mod keeper;
pub mod patroni;
pub mod processes;
pub mod standing;
pub mod view;

use hamesh_claims::message::Health;

use crate::claims::duty::Judged;
use crate::claims::holder::Without;

/// What the claims are told of this node's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// How well it could lead.
    pub judged: Judged,
    /// What is open without a lease.
    pub without: Without,
}

impl Default for Word {
    fn default() -> Self {
        Self {
            judged: (Health::Failed, "not looked at yet".to_owned()),
            without: Without::default(),
        }
    }
}
