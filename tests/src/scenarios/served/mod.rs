//! The reference site as `./lab/up` leaves it: a page over TLS through an edge proxy and an
//! internal proxy, both built by their roles.
//!
//! | module | about |
//! |---|---|
//! | [`page`] | what a browser sees, and what a scan does |
//! | [`changes`] | none is felt, a bad one is put back, an interrupted one ends |
//! | [`drift`] | what others change on a node, and nodes that are only looked at |
//! | [`forged`] | orders that no coordinator signed |
//! | [`faults`] | each proxy lost in each way, under load |
//! | [`drained`] | a machine behind the inner proxies that is worked upon |
//! | [`silent`] | machines behind the inner proxies that are lost |
//! | [`load`] | requests without a pause, and what became of them |
//! | [`soaked`] | faults drawn at random, one after another |
//! | [`sql`] | statements and transactions through the inner proxies |

pub mod changes;
pub mod drained;
pub mod drift;
pub mod faults;
pub mod forged;
pub mod load;
pub mod page;
pub mod silent;
pub mod soaked;
pub mod sql;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::scenarios::World;
use crate::scenarios::identity::apply;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// The address of the page, and its name.
const EDGE: &str = "192.168.30.130";
const NAME: &str = "www.thirteen.test";
/// The proxies of each role.
const OUTER: [&str; 2] = ["haproxy-ext-1", "haproxy-ext-2"];
const INNER: [&str; 2] = ["haproxy-int-1", "haproxy-int-2"];
/// Where their configuration is.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// `coordctl role status`
#[derive(Debug, Clone, Deserialize)]
struct RoleState {
    node: String,
    place: String,
    reason: Option<String>,
    drift: Vec<String>,
    corrected: u64,
    refused: u64,
    refusal: Option<String>,
}

fn role_of(site: &Site, node: &str) -> Result<RoleState> {
    let states: Vec<RoleState> = site.query(&["role", "status"])?;
    let mut states = states.into_iter();
    states
        .find(|state| state.node == node)
        .with_context(|| format!("{node} has no role that is applied"))
}

/// Waits until these nodes have what they are to have.
pub fn until_as_wanted(site: &Site, nodes: &[&str]) -> Result<()> {
    until("every role is as wanted", PATIENCE, || {
        for node in nodes {
            let state = role_of(site, node)?;
            ensure!(
                state.place == "as-wanted" && state.drift.is_empty(),
                "{state:?}"
            );
        }
        Ok(())
    })
}

/// The document with another part of its text.
fn changed(site: &Site, from: &str, to: &str) -> Result<String> {
    let document = site.coordctl(&["site"])?;
    let other = document.replacen(from, to, 1);
    ensure!(other != document, "`{from}` is not in:\n{document}");
    Ok(other)
}

/// Applies a document and waits until the nodes have it.
fn applied(site: &Site, document: &str) -> Result<()> {
    apply(site, document)?.expect(0, &[])
}

/// One of those that may hold a claim, in `coordctl explain`.
#[derive(Debug, Clone, Deserialize)]
struct Candidate {
    node: String,
    health: String,
    holds: bool,
    why_not: Option<String>,
}

/// `coordctl explain`
#[derive(Debug, Clone, Deserialize)]
struct Explained {
    candidates: Vec<Candidate>,
}

/// The node of a role that holds the claim, and the other one, once that could take it: one that
/// has just got its role joins those that may hold only after all promises of before have ended.
fn holder_and_other(
    site: &Site,
    claim: &str,
    nodes: [&'static str; 2],
) -> Result<[&'static str; 2]> {
    until(
        "one of the two holds, and the other could",
        PATIENCE,
        || {
            let Explained { candidates } = site.query(&["explain", claim])?;
            let well = |it: &Candidate| it.health == "healthy" && it.why_not.is_none();
            ensure!(candidates.iter().all(well), "{candidates:?}");
            let holder = candidates.iter().find(|it| it.holds);
            let holder = holder.with_context(|| format!("nobody holds: {candidates:?}"))?;
            match nodes {
                [a, b] if a == holder.node => Ok([a, b]),
                [a, b] if b == holder.node => Ok([b, a]),
                other => anyhow::bail!("{} is none of {other:?}", holder.node),
            }
        },
    )
}

/// Waits until a browser outside is served.
fn until_served(world: &World) -> Result<()> {
    until("the page is served", PATIENCE, || {
        page::fetch(world, &[]).map(drop)
    })
}
