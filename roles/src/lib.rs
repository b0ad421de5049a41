//! What a site is, and what changes between two of them.
//!
//! Everything here is a pure function of its arguments: no clock, file, socket or process, so that
//! the lab, the coordinator and `coordctl` read one `site.yaml` in one way.
//!
//! | module | holds |
//! |---|---|
//! | [`site`] | the model of a site, its reading from YAML and its printing |
//! | [`diagnostic`] | what is wrong with a document: where, what, and the nearest valid name |
//! | [`plan`] | the steps between the desired site of before and of after |
//! | [`engine`] | what a node is to have, what it has, and the steps between the two |
//! | [`render`] | what a role makes of a node: its packages, files, firewall and units |
//! | [`edit`] | a changed value put into the document's own text, comments kept |
//! | [`adoption`] | taking over what served before: in which order, and what is in the way |
//! | [`checks`] | what tells how well a node could serve a virtual address |
//! | [`duration`] | spans of time as a document writes them |
//! | [`role`], [`names`] | the roles, and the names of networks and virtual addresses |
//! | [`words`] | texts that are written into other programs' files |

pub mod adoption;
pub mod checks;
pub mod diagnostic;
pub mod duration;
pub mod edit;
pub mod engine;
pub mod names;
pub mod plan;
pub mod render;
pub mod role;
pub mod site;
pub mod words;
mod yaml;

pub use checks::{Check, CheckKind};
pub use diagnostic::{Diagnostic, Position};
pub use edit::with_role;
pub use names::{NetworkName, VipName};
pub use role::Role;
pub use site::{
    Candidates, DatabaseCluster, Engine, Examined, HeldBy, LabOptions, Mode, Network, Node, Site,
    Vip,
};
