//! The store: linearizable. What it is asked takes its time, more while its disk is stalled.

use hamesh_claims::election::Leadership;
use hamesh_claims::group::Record;
use hamesh_claims::ids::GroupVersion;

use super::site;

/// More changes than any group sees in a run.
const RESTORED: u64 = 1000;

/// What a coordinator asks of the store.
#[derive(Clone, Debug)]
pub enum Op {
    /// Who leads.
    Read,
    /// Write the leadership's record, if it still is as it was read.
    Lead {
        over: Option<Leadership>,
        next: Leadership,
    },
    /// Write a claim's record.
    Write(Write),
}

/// A claim's record, to be written.
#[derive(Clone, Debug)]
pub struct Write {
    /// By the leader of this term.
    pub term: u64,
    pub claim: usize,
    /// If it was last written as this revision: what was asked for long ago changes nothing.
    pub over: u64,
    pub record: Record,
}

/// What the store says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The leadership's record, and what the store holds of the claims.
    Leadership(Option<Leadership>),
    /// The leadership's record is written; these are the claims' records and their revisions.
    Led(Vec<(Record, u64)>),
    /// It was not as it was read.
    Refused,
    /// The claim's record is written, as this revision.
    Written(usize, Record, u64),
    /// It was written since.
    Outdated,
    /// Another one leads.
    Succeeded,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    leadership: Option<Leadership>,
    pub records: Vec<Record>,
    revisions: Vec<u64>,
    /// Until when its disk does nothing.
    pub stalled_until: u64,
}

impl Store {
    /// Nobody has led yet; the claims are as the site has them at first.
    pub fn new() -> Self {
        Self {
            leadership: None,
            records: (0..site::CLAIMS).map(site::record).collect(),
            revisions: vec![0; site::CLAIMS],
            stalled_until: 0,
        }
    }

    /// A new one, of a site that is restored from these records.
    pub fn restored(records: Vec<Record>) -> Self {
        let restored = |record: Record| record.restored(GroupVersion(RESTORED));
        Self {
            leadership: None,
            records: records.into_iter().map(restored).collect(),
            revisions: vec![0; site::CLAIMS],
            stalled_until: 0,
        }
    }

    /// Does `op`, in one instant.
    pub fn serve(&mut self, op: Op) -> Reply {
        match op {
            Op::Read => Reply::Leadership(self.leadership.clone()),
            Op::Lead { over, next } if over == self.leadership => {
                self.leadership = Some(next);
                let revisions = self.revisions.iter().copied();
                Reply::Led(self.records.iter().cloned().zip(revisions).collect())
            }
            Op::Lead { .. } => Reply::Refused,
            Op::Write(write) => self.write(write),
        }
    }

    fn write(&mut self, write: Write) -> Reply {
        let Write {
            term,
            claim,
            over,
            record,
        } = write;
        if !self.is_of(term) {
            return Reply::Succeeded;
        }
        if self.records[claim] != record {
            if self.revisions[claim] != over {
                return Reply::Outdated;
            }
            self.records[claim] = record.clone();
            self.revisions[claim] += 1;
        }
        Reply::Written(claim, record, self.revisions[claim])
    }

    fn is_of(&self, term: u64) -> bool {
        self.leadership
            .as_ref()
            .is_some_and(|leadership| leadership.term == term)
    }
}
