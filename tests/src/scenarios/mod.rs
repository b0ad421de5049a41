//! What must hold on a whole site: one function per sentence, in the order in which they are tried.
//!
//! | module | about |
//! |---|---|
//! | [`membership`] | who is there: deaths, returns, cuts, losses |
//! | [`coordinator`] | the coordinator and its store, restarted, killed and gone |
//! | [`leaders`] | three coordinators, and what becomes of the leader |
//! | [`claims`] | who holds the virtual addresses, whatever breaks |
//! | [`moves`] | claims as operators see and move them |
//! | [`identity`] | who may come in, and who no longer |
//! | [`desired`] | documents, generations, keys, access |
//! | [`disks`] | full disks |
//! | [`hostile`] | random datagrams and bytes |
//! | [`observe`] | metrics, the journal, the guide |
//! | [`upgrade`] | the whole site to another version, and back |
//! | [`packages`] | apt: upgrade, remove, purge |
//! | `world` | the site that all of them are tried on |
//! | [`lab`] | what the lab leaves behind |
//! | [`pair`] | a small site: apt on the holder, copies of it, both families, layers |
//! | [`served`] | the page through both proxies, what breaks it and what does not |
//! | [`database`] | the cluster of PostgreSQL: it forms, is mended, changes, loses its leader |
//! | [`adopted`] | a site that others built is taken over while it serves |
//! | [`kernels`] | nodes with a kernel of their own |
//! | [`stock_kernel`] | claims on Debian's stock kernel |

pub mod adopted;
mod all;
mod asked;
pub mod claims;
pub mod coordinator;
pub mod database;
pub mod desired;
pub mod disks;
mod ground;
pub mod hostile;
pub mod identity;
mod interfaces;
pub mod kernels;
pub mod lab;
pub mod leaders;
pub mod membership;
pub mod moves;
pub mod observe;
pub mod packages;
pub mod pair;

pub mod served;
pub mod stock_kernel;
pub mod upgrade;
mod world;

use anyhow::Result;

use crate::site::Site;
use crate::site::traces::Traces;

pub use all::ALL;

/// The document of [`Ground::Thirteen`].
pub const THIRTEEN: &str = "lab/sites/unconfigured.yaml";

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What holds, as a sentence.
    pub sentence: &'static str,
    /// Tries it.
    pub play: fn(&World) -> Result<()>,
    /// Whether it needs all nodes alive to begin with, and leaves them so.
    pub whole: bool,
    /// The site that it plays on.
    pub ground: Ground,
}

/// A site to play on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The machines of the reference site, with nothing said of what its proxies are to do.
    Thirteen,
    /// The reference site, with the page served.
    Served,
    /// The small one of [`pair`].
    Pair,
    /// What the script of [`adopted`] builds, without hamesh.
    Plain,
}

/// The site, and the machine before there was one.
#[derive(Debug)]
pub struct World {
    /// The site.
    pub site: Site,
    /// What was on the machine before.
    pub before: Traces,
}
