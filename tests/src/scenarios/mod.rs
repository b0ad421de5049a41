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
//! | [`packages`] | apt: upgrade, remove, purge |
//! | [`lab`] | what the lab leaves behind |
//! | [`pair`] | a small site: apt on the holder, copies of it, both families, layers |
//! | [`kernels`] | nodes with a kernel of their own |
//! | [`stock_kernel`] | claims on Debian's stock kernel |

mod all;
mod asked;
pub mod claims;
pub mod coordinator;
pub mod desired;
pub mod disks;
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
pub mod stock_kernel;

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::site::traces::Traces;
use crate::site::{COORDINATOR, Site};
use crate::vip::proxies;

pub use all::ALL;

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
    /// The reference site.
    Thirteen,
    /// The small one of [`pair`].
    Pair,
}

/// The site, and the machine before there was one.
#[derive(Debug)]
pub struct World {
    /// The site.
    pub site: Site,
    /// What was on the machine before.
    pub before: Traces,
}

impl Ground {
    fn up(self, lab: &Lab) -> Result<()> {
        match self {
            Ground::Thirteen => lab.must(["up"]).map(drop),
            Ground::Pair => {
                lab.must(["up", pair::SITE_FILE])?;
                proxies::Site::of_this_build()?.serve()
            }
        }
    }
}

impl World {
    /// Brings the site up, from nothing unless `HAMESH_TESTS_REUSE` is set: then a site that is up
    /// already is used, to try one scenario again and again.
    pub fn boot(lab: Lab, ground: Ground) -> Result<Self> {
        if std::env::var_os("HAMESH_TESTS_REUSE").is_none() {
            lab.must(["down"])
                .context("what an earlier run left does not go")?;
        }
        let before = Traces::look()?;
        ground.up(&lab).context("the site does not come up")?;
        let site = Site::of(lab)?;
        Ok(World { site, before })
    }

    /// Tries one scenario; an error carries what the site looked like.
    pub fn play(&self, scenario: &Scenario) -> Result<()> {
        if scenario.whole {
            self.site.until_whole().context("before the scenario")?;
        }
        (scenario.play)(self).map_err(|e| e.context(self.look_round()))?;
        if scenario.whole {
            self.site.until_whole().context("after the scenario")?;
        }
        Ok(())
    }

    /// For the reader of a failure: the site as it is, and the coordinator's last words.
    fn look_round(&self) -> String {
        let said = |command: &[&str]| match self.site.on(COORDINATOR, command) {
            Ok(answer) => format!("{}{}", answer.stdout, answer.stderr),
            Err(error) => format!("{error:#}"),
        };
        format!(
            "the site then:\n{}\nthe coordinator's journal:\n{}\nwhat failed",
            said(&["coordctl", "status"]),
            said(&["journalctl", "--no-pager", "-n", "30", "-u", "hamesh-*"]),
        )
    }
}
