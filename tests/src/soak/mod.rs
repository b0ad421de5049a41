//! Long runs: what holds for minutes and hours, and through many faults.
//!
//! | module | about |
//! |---|---|
//! | [`away`] | the coordinator away while agents restart |
//! | [`faults`] | which faults there are, drawn at random |
//! | [`holders`] | who held each claim, and for how long two did |
//! | [`requests`] | requests for the page without a pause |
//! | [`report`] | what was felt of each kind of fault |

pub mod away;
pub mod faults;
pub mod holders;
pub mod report;
pub mod requests;

pub use away::coordinator_away;
