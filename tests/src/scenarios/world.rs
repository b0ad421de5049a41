//! The site that scenarios are tried on: how it comes up, and what is told of a failure.

use anyhow::{Context as _, Result};

use super::{Ground, Scenario, THIRTEEN, World, adopted, pair};
use crate::lab::Lab;
use crate::site::traces::Traces;
use crate::site::{COORDINATOR, Site};
use crate::vip::proxies;

impl Ground {
    pub(super) fn up(self, lab: &Lab) -> Result<()> {
        match self {
            Ground::Thirteen => lab.must(["up", THIRTEEN]).map(drop),
            Ground::Served => lab.must(["up"]).map(drop),
            Ground::Plain => adopted::build(lab),
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
