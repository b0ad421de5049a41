//! A machine behind the inner proxies that an operator drains for work, under load.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::load::during;
use super::{INNER, until_as_wanted, until_served};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// Who is worked upon, and what serves there.
const SERVER: &str = "node-2";
const UNIT: &str = "nginx.service";
/// How long nothing new may come.
const QUIET: Duration = Duration::from_secs(3);

/// It gets nothing new, also after the proxies were loaded anew, no request is lost while its web
/// server is stopped, and it is used again after it.
pub fn worked_upon(world: &World) -> Result<()> {
    let site = &world.site;
    let ((), told) = during(world, || {
        site.coordctl(&["drain", SERVER])?;
        let worked = work(site);
        site.coordctl(&["undrain", SERVER])?;
        worked?;
        until_is(site, "UP")?;
        let before = sessions(site)?;
        until("it is used again", PATIENCE, || {
            let now = sessions(site)?;
            ensure!(now > before, "{now} sessions, as before");
            Ok(())
        })
    })?;
    println!("    {SERVER} drained, worked upon, and used again: {told}");
    ensure!(told.failed == 0 && told.served > 0, "{told}");
    site.until_whole()?;
    until_as_wanted(site, &INNER)?;
    until_served(world)
}

fn work(site: &Site) -> Result<()> {
    until_is(site, "DRAIN")?;
    gets_nothing(site)?;
    // A reload forgets it, and so does a new worker in its place.
    for node in INNER {
        site.sh(node, "systemctl reload haproxy.service")?;
    }
    until_is(site, "DRAIN")?;
    for node in INNER {
        site.sh(node, "systemctl restart hamesh-agent.service")?;
    }
    gets_nothing(site)?;
    site.sh(SERVER, &format!("systemctl stop {UNIT}"))?;
    sleep(QUIET);
    site.sh(SERVER, &format!("systemctl start {UNIT}"))?;
    until_is(site, "DRAIN")
}

fn gets_nothing(site: &Site) -> Result<()> {
    let before = sessions(site)?;
    sleep(QUIET);
    let now = sessions(site)?;
    ensure!(
        now == before,
        "{} sessions came",
        now.saturating_sub(before)
    );
    Ok(())
}

/// Waits until both proxies show the server in this state.
fn until_is(site: &Site, state: &str) -> Result<()> {
    let labels = format!("proxy=\"web\",server=\"{SERVER}\",state=\"{state}\"");
    let series = format!("haproxy_server_status{{{labels}}} 1");
    until(&format!("{SERVER} is {state}"), PATIENCE, || {
        for proxy in INNER {
            let metrics = metrics(site, proxy)?;
            let is = metrics.lines().any(|line| line == series);
            ensure!(is, "no {series} at {proxy}");
        }
        Ok(())
    })
}

/// How many sessions both proxies sent it since their workers started: either may hold the address.
fn sessions(site: &Site) -> Result<u64> {
    let series = format!("haproxy_server_sessions_total{{proxy=\"web\",server=\"{SERVER}\"}} ");
    let mut all = 0;
    for proxy in INNER {
        let metrics = metrics(site, proxy)?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        let value = value.with_context(|| format!("no {series}"))?;
        all += value.parse::<u64>()?;
    }
    Ok(all)
}

fn metrics(site: &Site, proxy: &str) -> Result<String> {
    let address = site.lab.address(proxy)?;
    site.sh(
        proxy,
        &format!("curl --silent --fail http://{address}:8404/metrics"),
    )
}
