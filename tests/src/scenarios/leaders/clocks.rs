//! Coordinators whose clocks are an hour off, each to another side: no clock of one machine is ever
//! compared with another's, so each of them leads as well as the others.

use anyhow::{Result, ensure};

use super::members::add_all;
use super::{ALL, WATCH, lead, lost, succeeded};
use crate::scenarios::asked::{asked, by_one_throughout};
use crate::scenarios::identity::enrol_anew;
use crate::scenarios::{World, lab};
use crate::site::Site;
use crate::site::vip::Shared;
use crate::site::wait::throughout;

const SITE_FILE: &str = "lab/sites/clocks.yaml";
const WEB: Shared = Shared {
    claim: "vip/web",
    ip: "192.168.56.20",
    network: NETWORK,
    members: ["proxy-1", "proxy-2"],
};
const NETWORK: &str = "trust";
/// Whose clock goes how far.
const SHIFTS: [(&str, &str); 2] = [(ALL[1], "+1 hour"), (ALL[2], "-1 hour")];

/// Each coordinator leads in turn; the address stays where it is, and nodes are enrolled under
/// every clock. Then the one that is ahead is killed while it leads.
pub fn apart(world: &World) -> Result<()> {
    let lab = &world.site.lab;
    lab.must(["down"])?;
    lab.must(["up", SITE_FILE])?;
    let world = World {
        site: Site::of(lab.clone())?,
        before: world.before.clone(),
    };
    let site = &world.site;
    site.until_whole()?;
    add_all(site)?;
    for (node, shift) in SHIFTS {
        site.sh(node, &format!("date --set='{shift}'"))?;
    }
    let (holder, other) = WEB.settled(site)?;
    let ((), questions) = asked(NETWORK, WEB.ip.parse()?, || {
        for node in ALL {
            lead(site, |leader| leader == node)?;
            throughout("it stays where it is", WATCH, || WEB.held_by(site, holder))?;
            site.until_whole()?;
            enrol_anew(site, other)?;
            site.until_whole()?;
            WEB.settled(site)?;
        }
        lead(site, |leader| leader == ALL[1])?;
        let what = "leader an hour ahead killed";
        succeeded(site, what, || lost::kill(site, ALL[1])).map(drop)
    })?;
    by_one_throughout(&questions)?;
    ensure!(WEB.settled(site)?.0 == holder, "it moved");
    lab.must(["down"])?;
    lab::nothing_left(&world)
}
