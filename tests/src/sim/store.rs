//! The store: linearizable. What it is asked takes its time, more while its disk is stalled.

use hamesh_claims::election::Leadership;
use hamesh_claims::group::Record;

use super::site;

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
    /// Write a claim's record, as leader of this term.
    Write(u64, usize, Record),
}

/// What the store says.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The leadership's record, and what the store holds of the claims.
    Leadership(Option<Leadership>),
    /// The leadership's record is written; these are the claims' records.
    Led(Vec<Record>),
    /// It was not as it was read.
    Refused,
    /// The claim's record is written.
    Written(usize, Record),
    /// Another one leads.
    Succeeded,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    leadership: Option<Leadership>,
    records: Vec<Record>,
    /// Until when its disk does nothing.
    pub stalled_until: u64,
}

impl Store {
    /// Nobody has led yet; the claims are as the site has them at first.
    pub fn new() -> Self {
        Self {
            leadership: None,
            records: (0..site::CLAIMS).map(site::record).collect(),
            stalled_until: 0,
        }
    }

    /// Does `op`, in one instant.
    pub fn serve(&mut self, op: Op) -> Reply {
        match op {
            Op::Read => Reply::Leadership(self.leadership.clone()),
            Op::Lead { over, next } if over == self.leadership => {
                self.leadership = Some(next);
                Reply::Led(self.records.clone())
            }
            Op::Lead { .. } => Reply::Refused,
            Op::Write(term, claim, record) if self.is_of(term) => {
                self.records[claim] = record.clone();
                Reply::Written(claim, record)
            }
            Op::Write(..) => Reply::Succeeded,
        }
    }

    fn is_of(&self, term: u64) -> bool {
        self.leadership
            .as_ref()
            .is_some_and(|leadership| leadership.term == term)
    }
}
