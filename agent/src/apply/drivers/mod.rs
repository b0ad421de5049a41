//! How each kind of resource is looked at, made and taken away on a real machine.
//!
//! Every driver has `look`, `make` and `remove`; none of them decides anything. `look` says
//! [`Seen::Unknown`](hamesh_roles::engine::Seen::Unknown) where it could not look.

pub mod certificates;
pub mod commands;
pub mod directories;
pub mod files;
pub mod gates;
pub mod live;
pub mod modules;
pub mod mounts;
pub mod originals;
pub mod owners;
pub mod packages;
pub mod sysctls;
pub mod tables;
pub mod traces;
pub mod units;
pub mod users;
