//! The site that all rivals are measured on: two proxies, two clients, one coordinator.
//!
//! Guarantees that every run begins from the same state: no fault in force, HAProxy serving on both
//! proxies, exactly one of them with the address, every neighbour cache empty.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::inside;
use crate::lab::Lab;

/// The site file.
pub const SITE_FILE: &str = "lab/sites/two-proxies.yaml";
/// The two that may hold the address.
pub const PROXIES: [&str; 2] = ["proxy-1", "proxy-2"];
/// The node with hamesh's coordinator.
pub const COORDINATOR: &str = "control-1";
/// The address that is measured.
pub const WEB: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 20);
/// The other address: idle figures are with two.
pub const SPARE: Ipv4Addr = Ipv4Addr::new(192, 168, 56, 19);
/// Where the page is.
pub const PAGE: SocketAddr = SocketAddr::new(IpAddr::V4(WEB), 80);
/// The unit of the proxy.
pub const HAPROXY: &str = "haproxy.service";
/// The network that all is on.
const NETWORK: &str = "trust";
/// Where the lab's network namespaces are.
const NAMESPACES: &str = "/run/netns";
/// Units that compute as much as they can, on a proxy.
const LOADS: [&str; 2] = ["bench-load-1", "bench-load-2"];
/// How long a rival may take to settle.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one proxy must have been the only holder.
const SETTLED: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// The network namespace of a proxy.
pub fn namespace(proxy: &str) -> PathBuf {
    Path::new(NAMESPACES).join(format!("hamesh-lab-node-{proxy}"))
}

/// The network namespaces of the clients.
pub fn clients() -> [PathBuf; 2] {
    let name = |seat: &str| Path::new(NAMESPACES).join(format!("hamesh-lab-{seat}-{NETWORK}"));
    [name("client"), name("client2")]
}

/// The other proxy.
pub fn other(proxy: &str) -> &'static str {
    let [first, second] = PROXIES;
    if proxy == first { second } else { first }
}

/// HAProxy's whole configuration: a tiny page that it serves by itself.
pub fn haproxy_config(proxy: &str) -> String {
    format!(
        "global\n    maxconn 4000\n    stats socket /run/haproxy/admin.sock mode 600\n\n\
         defaults\n    mode http\n    timeout connect 1s\n    timeout client 60s\n    \
         timeout server 5s\n    timeout http-keep-alive 60s\n\n\
         frontend page\n    bind :80\n    \
         http-request return status 200 content-type text/plain string \"{proxy}\\n\"\n"
    )
}

/// The site in the lab.
#[derive(Debug, Clone)]
pub struct Site {
    lab: Lab,
}

impl Site {
    /// The site that the lab of this build runs.
    ///
    /// # Errors
    /// The lab is not built.
    pub fn of_this_build() -> Result<Self> {
        let lab = Lab::of_this_build()?;
        Ok(Self { lab })
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Brings it up, the VMs alone or with hamesh on them, with HAProxy on the proxies.
    ///
    /// # Errors
    /// The lab cannot bring it up.
    pub fn up(&self, bare: bool) -> Result<()> {
        self.down()?;
        let bare = bare.then_some("--bare");
        self.lab.must(["up", SITE_FILE].into_iter().chain(bare))?;
        self.serve()
    }

    /// Has HAProxy serve the page on both proxies.
    ///
    /// # Errors
    /// It cannot be installed.
    pub fn serve(&self) -> Result<()> {
        PROXIES
            .into_iter()
            .try_for_each(|proxy| self.install_haproxy(proxy))
    }

    /// Takes it down.
    ///
    /// # Errors
    /// The lab cannot take it down.
    pub fn down(&self) -> Result<()> {
        self.lab.must(["down"]).map(drop)
    }

    /// Whether any lab is up.
    ///
    /// # Errors
    /// The lab cannot be asked.
    pub fn is_up(&self) -> Result<bool> {
        Ok(self.lab.run(["list"])?.status.success())
    }

    /// Installs a Debian package on a proxy from the lab's pool.
    ///
    /// # Errors
    /// apt fails.
    pub fn install(&self, proxy: &str, package: &str) -> Result<()> {
        let script = format!(
            "apt-get update -qq >/dev/null; DEBIAN_FRONTEND=noninteractive \
             apt-get install -qq -y {package} >/dev/null 2>&1"
        );
        let installed = self.lab.sh(proxy, &script);
        installed
            .map(drop)
            .with_context(|| format!("installing {package} on {proxy}"))
    }

    /// Writes a file on a node.
    ///
    /// # Errors
    /// The node does not take it.
    pub fn write(&self, node: &str, path: &str, content: &str) -> Result<()> {
        let quoted = content.replace('\'', r"'\''");
        let script = format!("mkdir -p \"$(dirname {path})\"; printf %s '{quoted}' > {path}");
        self.lab.sh(node, &script).map(drop)
    }

    fn install_haproxy(&self, proxy: &str) -> Result<()> {
        self.install(proxy, "haproxy")?;
        self.write(proxy, "/etc/haproxy/haproxy.cfg", &haproxy_config(proxy))?;
        // What is measured is how fast the address leaves, not how fast systemd is; and in a
        // container systemd does not see that all killed processes have ended.
        let drop_in = "/etc/systemd/system/haproxy.service.d/bench.conf";
        self.write(proxy, drop_in, "[Service]\nRestart=no\nTimeoutStopSec=1s\n")?;
        let script = format!("systemctl daemon-reload; systemctl restart {HAPROXY}");
        self.lab.sh(proxy, &script).map(drop)
    }

    /// Ends every fault: network, power, stopped and ended processes, load. `units` run on the
    /// proxies beside HAProxy, and on the coordinator where `coordinator` names any.
    ///
    /// # Errors
    /// Something cannot be brought back.
    pub fn restore(&self, unit: &str, coordinator: &[&str]) -> Result<()> {
        self.lab.must(["heal"])?;
        self.lab
            .must([&["start"], &PROXIES[..], &[COORDINATOR]].concat())?;
        self.lab.must([&["plug"], &PROXIES[..]].concat())?;
        let loads = LOADS.join(" ");
        let script = format!(
            "systemctl stop {loads} 2>/dev/null || :; \
             systemctl kill -s CONT {unit} 2>/dev/null || :; \
             systemctl reset-failed; systemctl start {HAPROXY} {unit}"
        );
        for proxy in PROXIES {
            self.lab.sh(proxy, &script)?;
        }
        if !coordinator.is_empty() {
            let script = format!("systemctl start {}", coordinator.join(" "));
            self.lab.sh(COORDINATOR, &script)?;
        }
        Ok(())
    }

    /// Empties every neighbour cache.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn flush_neighbours(&self) -> Result<()> {
        let flush = ["ip", "neigh", "flush", "all"];
        for seat in [None, Some("--second")] {
            let client = ["client", "--network", NETWORK].into_iter().chain(seat);
            self.lab.must(client.chain(["--"]).chain(flush))?;
        }
        for proxy in PROXIES {
            self.lab
                .must(["exec", proxy, "--"].into_iter().chain(flush))?;
        }
        Ok(())
    }

    /// Waits until one proxy alone has held the measured address for a while.
    ///
    /// # Errors
    /// That does not come.
    pub fn settled_holder(&self) -> Result<&'static str> {
        let began = Instant::now();
        let mut since: Option<(&str, Instant)> = None;
        loop {
            let holders = holders_of(WEB)?;
            match (&holders[..], since) {
                ([holder], Some((before, at))) if *holder == before => {
                    if at.elapsed() >= SETTLED {
                        return Ok(holder);
                    }
                }
                ([holder], _) => since = Some((holder, Instant::now())),
                (_, _) => since = None,
            }
            if began.elapsed() > PATIENCE {
                bail!(
                    "after {} s {WEB} is held by {holders:?}",
                    PATIENCE.as_secs()
                );
            }
            sleep(PAUSE);
        }
    }

    /// Waits until a proxy holds an address alone.
    ///
    /// # Errors
    /// That does not come.
    pub fn wait_held(&self, address: Ipv4Addr, proxy: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let holders = holders_of(address)?;
            if holders == [proxy] {
                return Ok(());
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "after {} s {address} is held by {holders:?}, not by {proxy}",
                PATIENCE.as_secs()
            );
            sleep(PAUSE);
        }
    }

    /// Has a proxy compute as much as it can, until [`Site::restore`].
    ///
    /// # Errors
    /// systemd does not start it.
    pub fn load(&self, proxy: &str) -> Result<()> {
        for unit in LOADS {
            let script = format!("systemd-run -q --unit={unit} sh -c 'while :; do :; done'");
            self.lab.sh(proxy, &script)?;
        }
        Ok(())
    }
}

/// The proxies that hold an address now.
///
/// # Errors
/// The kernel cannot be asked.
pub fn holders_of(address: Ipv4Addr) -> Result<Vec<&'static str>> {
    let mut holders = Vec::new();
    for proxy in PROXIES {
        let namespace = namespace(proxy);
        if namespace.exists() && !inside::once(&namespace, &[address.into()])?.is_empty() {
            holders.push(proxy);
        }
    }
    Ok(holders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_proxy_that_serves_it() {
        let config = haproxy_config("proxy-2");
        assert!(config.contains("string \"proxy-2\\n\"\n"), "{config}");
    }

    #[test]
    fn the_constants_are_those_of_the_site_file() {
        let path = crate::tidy::root().join(SITE_FILE);
        let text = std::fs::read_to_string(path).expect("the site file");
        for word in PROXIES.into_iter().chain([COORDINATOR, NETWORK]) {
            assert!(text.contains(&format!("{word}: ")), "{word}");
        }
        for address in [WEB, SPARE] {
            assert!(text.contains(&format!("address: {address},")), "{address}");
        }
    }
}
