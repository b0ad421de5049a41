//! hamesh as a rival: as its packages install it, driven by its operators' commands.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::proxies::{COORDINATOR, PROXIES, SITE_FILE, Site};
use crate::tidy;

/// The unit of the agent.
pub const UNIT: &str = "hamesh-agent.service";
/// The units of the coordinator, the store first.
pub const COORDINATOR_UNITS: [&str; 2] = ["hamesh-store.service", "hamesh-coordinator.service"];
/// How long a claim may take to be as it is wanted.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// After this a lease is written into the entry of an address.
const ROLE: &str = "role: internal-proxy";

/// Applies the site with this lease for its addresses, or with hamesh's own.
///
/// # Errors
/// The coordinator refuses.
pub fn start(site: &Site, ttl: Option<Duration>) -> Result<()> {
    let path = tidy::root().join(SITE_FILE);
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    site.write(COORDINATOR, "/root/bench.yaml", &with_lease(&text, ttl))?;
    site.lab()
        .sh(COORDINATOR, "coordctl apply -f /root/bench.yaml --yes")
        .map(drop)
}

/// Moves an address to a proxy.
///
/// # Errors
/// The coordinator refuses.
pub fn move_to(site: &Site, vip: &str, proxy: &str) -> Result<()> {
    let script = format!("coordctl move vip/{vip} --to {proxy}");
    site.lab().sh(COORDINATOR, &script).map(drop)
}

/// Waits until a proxy could take the measured address over from its holder.
///
/// # Errors
/// That does not come.
pub fn wait_ready(site: &Site, proxy: &str) -> Result<()> {
    wait(site, |claim| missing(claim, proxy))
}

/// Waits until the claim of the measured address lacks nothing.
fn wait(site: &Site, lacks: impl Fn(&Value) -> Option<String>) -> Result<()> {
    let began = Instant::now();
    loop {
        let explained = site
            .lab()
            .sh(COORDINATOR, "coordctl explain vip/web --output json");
        let last = match explained {
            Ok(text) => lacks(&serde_json::from_str(&text).context("reading the explanation")?),
            Err(error) => Some(format!("{error:#}")),
        };
        let Some(last) = last else { return Ok(()) };
        ensure!(began.elapsed() < PATIENCE, "vip/web is not ready: {last}");
        sleep(PAUSE);
    }
}

/// Why a proxy could not take a claim over now, from the document that explains the claim.
fn missing(claim: &Value, proxy: &str) -> Option<String> {
    if claim["state"] != "held" {
        return Some(format!("its state is {}", claim["state"]));
    }
    if claim["awaited"]
        .as_array()
        .is_none_or(|awaited| !awaited.is_empty())
    {
        return Some(format!("it waits for {}", claim["awaited"]));
    }
    let candidates = claim["candidates"].as_array();
    let mut candidates = candidates.into_iter().flatten();
    match candidates.find(|candidate| candidate["node"] == proxy) {
        None => Some(format!("{proxy} is no candidate")),
        Some(found) if found["health"] != "healthy" || !found["why_not"].is_null() => Some(
            format!("{proxy} is {}, {}", found["health"], found["why_not"]),
        ),
        Some(_) => None,
    }
}

/// Starts every agent and the coordinator anew.
///
/// # Errors
/// systemd refuses.
pub fn restart(site: &Site) -> Result<()> {
    let coordinator = COORDINATOR_UNITS[1];
    site.lab()
        .sh(COORDINATOR, &format!("systemctl restart {coordinator}"))?;
    PROXIES.into_iter().try_for_each(|proxy| {
        site.lab()
            .sh(proxy, &format!("systemctl restart {UNIT}"))
            .map(drop)
    })
}

/// A site's text with a lease in the entry of every address.
fn with_lease(text: &str, ttl: Option<Duration>) -> String {
    let Some(ttl) = ttl else {
        return text.to_owned();
    };
    let lease = format!(", ttl: {}ms", ttl.as_millis());
    let line = |line: &str| match line.contains("{address: ") {
        true => line.replacen(ROLE, &format!("{ROLE}{lease}"), 1) + "\n",
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn site() -> String {
        std::fs::read_to_string(tidy::root().join(SITE_FILE)).expect("the site file")
    }

    #[test]
    fn a_lease_is_written_into_the_entry_of_each_address_and_nowhere_else() {
        let text = with_lease(&site(), Some(Duration::from_millis(200)));
        assert_eq!(text.replace(", ttl: 200ms", ""), site());
        let site = hamesh_roles::Site::parse(&text).expect("a valid site");
        assert_eq!(site.vips.len(), 2);
        assert!(
            site.vips
                .values()
                .all(|vip| vip.ttl == Duration::from_millis(200))
        );
    }

    #[test]
    fn a_proxy_is_ready_if_it_is_healthy_and_nothing_stands_against_it() {
        let claim = |state: &str, awaited: Value, health: &str, why_not: Value| {
            let candidate = json!({"node": "proxy-2", "health": health, "why_not": why_not});
            json!({"state": state, "awaited": awaited, "candidates": [candidate]})
        };
        let well = claim("held", json!([]), "healthy", Value::Null);
        assert_eq!(missing(&well, "proxy-2"), None);
        assert!(missing(&well, "proxy-1").is_some());
        for ill in [
            claim("vacant", json!([]), "healthy", Value::Null),
            claim("held", json!(["proxy-2"]), "healthy", Value::Null),
            claim("held", json!([]), "failed", Value::Null),
            claim("held", json!([]), "healthy", json!("is drained")),
            json!({}),
        ] {
            assert!(missing(&ill, "proxy-2").is_some(), "{ill}");
        }
    }

    #[test]
    fn without_one_the_site_is_as_it_stands() {
        assert_eq!(with_lease(&site(), None), site());
    }
}
