//! Taking a running site over, role by role, without an outage.
//!
//! Guarantees: what served before is stopped on a node only where something else has its addresses
//! or takes them there; each change of the document is safe by itself, so that whoever stops
//! between two of them leaves something that serves; what the new configuration does not say is
//! told before it goes.
//!
//! | module | holds |
//! |---|---|
//! | [`stage`] | the next change of the document on the way |
//! | [`traces`] | what served before, as far as it stands in the way of a role |
//! | [`lost`] | what files of before say and those of the role do not |

pub mod lost;
pub mod stage;
pub mod traces;

pub use lost::lost;
pub use stage::Stage;
pub use traces::{Found, Traces};
