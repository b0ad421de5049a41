//! What needs a site of its own: two proxies and a spare machine, beside one coordinator.
//!
//! While something is done there, the first claim's address is watched from all sides: connections
//! every few milliseconds, the question who has it, and a look into both proxies.
//!
//! | module | about |
//! |---|---|
//! | [`packages`] | apt, on the node that holds |
//! | [`twin`] | a second machine with the identity of the holder |
//! | [`memory`] | an agent that the kernel kills for want of memory |
//! | [`families`] | a claim with addresses of both families |
//! | [`layers`] | an interface that is renamed, taken down, put under another |
//! | [`away`] | no coordinator while agents restart |

pub mod away;
pub mod families;
pub mod layers;
pub mod memory;
pub mod packages;
pub mod twin;

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::scenarios::asked::at_most_one;
use crate::site::views::Explanation;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};
use crate::vip::figures::Seen;
use crate::vip::holding::{overlap, stretches};
use crate::vip::proxies::PROXIES;
use crate::vip::watch::{View, Watch};

/// The site document.
pub const SITE_FILE: &str = "lab/sites/pair.yaml";
/// The claim that is watched, and its addresses.
const CLAIM: &str = "vip/web";
const ADDRESSES: [&str; 2] = ["192.168.56.20", "fd56::20"];
/// The machine that has no part in any claim.
const SPARE: &str = "spare-1";

/// Does something while the claim is watched. However it ends, nobody but one may have held.
fn watched<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    let watch = Watch::start(View::ProbeAndAsk);
    let outcome = act();
    let seen = watch.end()?;
    let outcome = outcome?;
    one_held(&seen)?;
    Ok(outcome)
}

/// Nobody but one answered or had the address open, and somebody did at all.
fn one_held(seen: &Seen) -> Result<()> {
    let [one, other] = &seen.proxies;
    let both = overlap(&stretches(one), &stretches(other), Duration::ZERO);
    ensure!(both.is_zero(), "both proxies had the address for {both:?}");
    at_most_one(&seen.questions)
}

/// Waits until one proxy holds the claim and the other could take it: holder and other.
fn settled(site: &Site, claim: &str) -> Result<(&'static str, &'static str)> {
    until("one holds and the other could", PATIENCE, || {
        let explained = explain(site, claim)?;
        ensure!(explained.state == "held", "it is {}", explained.state);
        for candidate in &explained.candidates {
            let why = &candidate.why_not;
            ensure!(candidate.holds || why.is_none(), "{candidate:?}");
        }
        let [a, b] = PROXIES;
        let (holder, other) = match explained.holder.as_deref() {
            Some(holder) if holder == a => (a, b),
            Some(holder) if holder == b => (b, a),
            holder => bail!("held by {holder:?}"),
        };
        let parts = (site.part(holder, claim)?, site.part(other, claim)?);
        ensure!(parts == ("holding".into(), "standby".into()), "{parts:?}");
        Ok((holder, other))
    })
}

fn explain(site: &Site, claim: &str) -> Result<Explanation> {
    site.query(&["explain", claim])
}

/// The addresses of the claim that a node has configured.
fn addresses_on(site: &Site, node: &str) -> Result<String> {
    let show = ADDRESSES.map(|ip| format!("ip -o addr show to {ip}"));
    site.sh(node, &show.join("; "))
}
