//! HAProxy while it runs: what is told to it in place of a reload.
//!
//! | module | does |
//! |---|---|
//! | [`runtime`] | asks one question at its socket |
//! | [`certificates`] | hands it new certificates |

pub mod certificates;
pub mod runtime;
