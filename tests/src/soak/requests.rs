//! Requests for the page without a pause, from outside.
//!
//! Like rows ([`crate::sql`]): each has a number, and was answered or was not.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::scenarios::World;
use crate::sql::Writer;

const PROBER: &str = concat!(include_str!("../sql/pace.py"), include_str!("prober.py"));
/// The page's address, and its name.
const PLACE: [&str; 2] = ["192.168.30.130", "www.thirteen.test"];
/// Connections, and the milliseconds between two requests of one.
const PACE: [&str; 2] = ["4", "20"];

/// Begins; `ca` is a file with the CA of the site.
///
/// # Errors
/// The client cannot be run.
pub fn start(world: &World, ca: &Path) -> Result<Writer> {
    let [address, name] = PLACE;
    let [connections, every_ms] = PACE;
    let ca = ca.to_str().context("the CA's path")?;
    let words = [
        "/usr/bin/python3",
        "-c",
        PROBER,
        address,
        name,
        ca,
        connections,
        every_ms,
    ];
    Writer::start(world.site.lab.client_command("untrust", &words))
}
