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
/// How long all may take to come alive.
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

/// Waits until the coordinator calls every node alive, so that the other proxy may take over.
///
/// # Errors
/// That does not come.
pub fn wait_alive(site: &Site) -> Result<()> {
    let began = Instant::now();
    loop {
        let status = site.lab().sh(COORDINATOR, "coordctl status --output json");
        let last = match status.and_then(|text| not_alive(&text)) {
            Ok(late) if late.is_empty() => return Ok(()),
            Ok(late) => late.join(", "),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            began.elapsed() < PATIENCE,
            "not all nodes are alive: {last}"
        );
        sleep(PAUSE);
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

/// The nodes of a status document that are not alive.
fn not_alive(status: &str) -> Result<Vec<String>> {
    let status: Value = serde_json::from_str(status).context("reading the status")?;
    let nodes = status["nodes"]
        .as_array()
        .context("a status without nodes")?;
    let late = nodes.iter().filter(|node| node["state"] != "alive");
    Ok(late
        .map(|node| format!("{} is {}", node["name"], node["state"]))
        .collect())
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
    fn a_node_that_is_not_alive_is_named() {
        let status =
            r#"{"nodes": [{"name": "a", "state": "alive"}, {"name": "b", "state": "dead"}]}"#;
        assert_eq!(not_alive(status).expect("a status"), ["\"b\" is \"dead\""]);
        assert!(not_alive("{}").is_err());
    }

    #[test]
    fn without_one_the_site_is_as_it_stands() {
        assert_eq!(with_lease(&site(), None), site());
    }
}
