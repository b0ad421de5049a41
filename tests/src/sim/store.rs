//! The store: linearizable, and the judge of who leads.

use hamesh_claims::group::Record;
use hamesh_claims::ids::Epoch;

use super::site;

/// What a coordinator asks of the store.
#[derive(Clone, Debug)]
pub enum Op {
    /// Who leads, and how often that was renewed.
    Read,
    /// Lead under the next term, if the leadership is still as it was read.
    Take(Leadership),
    /// Stay leader of this epoch.
    Renew(Epoch),
    /// Write a claim's record, as leader of this epoch.
    Write(Epoch, usize, Record),
}

/// The leadership's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The last leader's epoch.
    pub epoch: Epoch,
    /// Changes with every renewal.
    pub renewed: u64,
}

/// What the store says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The leadership's record.
    Leadership(Leadership),
    /// It leads under this epoch, and these are the claims' records.
    Taken(Epoch, Vec<Record>),
    /// Another one leads.
    Lost,
    /// It still leads.
    Renewed,
    /// The record is written.
    Written(usize, Record),
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    leadership: Leadership,
    records: Vec<Record>,
}

impl Store {
    /// Nobody leads; the claims are as the site has them at first.
    pub fn new() -> Self {
        let first = Epoch {
            incarnation: 1,
            term: 0,
        };
        Self {
            leadership: Leadership {
                epoch: first,
                renewed: 0,
            },
            records: (0..site::CLAIMS).map(site::record).collect(),
        }
    }

    /// Does `op`, in one instant.
    pub fn serve(&mut self, op: Op) -> Reply {
        match op {
            Op::Read => Reply::Leadership(self.leadership),
            Op::Take(seen) if seen == self.leadership => {
                self.leadership.epoch.term += 1;
                self.leadership.renewed += 1;
                Reply::Taken(self.leadership.epoch, self.records.clone())
            }
            Op::Renew(epoch) if epoch == self.leadership.epoch => {
                self.leadership.renewed += 1;
                Reply::Renewed
            }
            Op::Write(epoch, claim, record) if epoch == self.leadership.epoch => {
                self.records[claim] = record.clone();
                Reply::Written(claim, record)
            }
            Op::Take(_) | Op::Renew(_) | Op::Write(..) => Reply::Lost,
        }
    }
}
