//! Debian's keepalived as a rival.
//!
//! Both proxies start as backup and none takes the address back from the other, as with hamesh, so
//! that what is compared is the loss of a holder and not the wish for a favourite.
//!
//! Its process tracking cannot work in a container; a tracked file stands in for it, see
//! [`tell`](super::tell).

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::proxies::{PROXIES, SPARE, Site, WEB};
use super::rival::Tracking;

/// Its unit.
pub const UNIT: &str = "keepalived.service";
const CONFIG: &str = "/etc/keepalived/keepalived.conf";
/// 0 while HAProxy runs, 1 once it has ended.
const ENDED: &str = "/run/haproxy-ended";
/// This program on a proxy, and the unit that runs it.
const TELLER: &str = "/usr/local/bin/bench-vip";
const TELL_UNIT: &str = "/etc/systemd/system/bench-tell.service";
const AFTER: &str = "/etc/systemd/system/keepalived.service.d/bench.conf";

/// The whole configuration of a proxy.
pub fn config(proxy: &str, advert: Duration, tracking: Tracking) -> String {
    // VRRP 2 counts in whole seconds.
    let version = if advert.subsec_nanos() == 0 { 2 } else { 3 };
    let priority = if proxy == PROXIES[0] { 101 } else { 100 };
    let (definition, track) = match tracking {
        Tracking::Process => (
            format!("track_file haproxy {{\n    file {ENDED}\n    weight 0\n}}"),
            "track_file",
        ),
        Tracking::Script => {
            let script = "/usr/bin/pgrep -x haproxy";
            let body = format!("script \"{script}\"\n    interval 2");
            (
                format!("vrrp_script haproxy {{\n    {body}\n}}"),
                "track_script",
            )
        }
    };
    let mut text = format!(
        "global_defs {{\n    router_id {proxy}\n    vrrp_version {version}\n    \
         script_user root\n    enable_script_security\n}}\n\n{definition}\n"
    );
    for (name, router, address) in [("web", 51, WEB), ("spare", 52, SPARE)] {
        text += &format!(
            "\nvrrp_instance {name} {{\n    state BACKUP\n    nopreempt\n    interface eth0\n    \
             virtual_router_id {router}\n    priority {priority}\n    advert_int {}\n    \
             virtual_ipaddress {{\n        {address}\n    }}\n    \
             {track} {{\n        haproxy\n    }}\n}}\n",
            advert.as_secs_f64()
        );
    }
    text
}

/// Installs, configures and starts it on both proxies.
///
/// # Errors
/// A proxy refuses.
pub fn start(site: &Site, advert: Duration, tracking: Tracking) -> Result<()> {
    let tell = format!(
        "[Service]\nExecStartPre=sh -c 'echo 1 >{ENDED}'\nExecStart={TELLER} --tell {ENDED}\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    // systemd waits for the end of killed processes that it cannot see the end of, in a container.
    let after = "[Unit]\nWants=bench-tell.service\nAfter=bench-tell.service\n\
                 [Service]\nTimeoutStopSec=5s\n";
    let program = std::env::current_exe().context("finding this program")?;
    let program = program.to_string_lossy();
    for proxy in PROXIES {
        site.install(proxy, "keepalived")?;
        site.lab().must(["push", proxy, program.as_ref(), TELLER])?;
        site.write(proxy, TELL_UNIT, &tell)?;
        site.write(proxy, AFTER, after)?;
        let script = "systemctl daemon-reload; systemctl enable -q bench-tell; \
                      systemctl restart bench-tell";
        site.lab().sh(proxy, script)?;
        let config = config(proxy, advert, tracking);
        site.write(proxy, CONFIG, &config)?;
        site.lab().sh(
            proxy,
            &format!("keepalived --config-test; systemctl stop {UNIT}"),
        )?;
    }
    for proxy in PROXIES {
        site.lab()
            .sh(proxy, &format!("systemctl enable -q --now {UNIT}"))?;
    }
    Ok(())
}

/// Stops it and takes away what it left.
///
/// # Errors
/// A proxy refuses.
pub fn stop(site: &Site) -> Result<()> {
    let script = format!(
        "systemctl disable -q --now {UNIT}; \
         for a in {WEB} {SPARE}; do ip address delete $a/32 dev eth0 2>/dev/null || :; done"
    );
    PROXIES
        .into_iter()
        .try_for_each(|proxy| site.lab().sh(proxy, &script).map(drop))
}

/// Moves both addresses away from a proxy, the way it offers: by stopping it there.
///
/// # Errors
/// systemd refuses.
pub fn leave(site: &Site, holder: &str) -> Result<()> {
    site.lab()
        .sh(holder, &format!("systemctl stop {UNIT}"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_this_one() {
        let text = config("proxy-1", Duration::from_secs(1), Tracking::Process);
        let instance = |name, router, address| {
            format!(
                "vrrp_instance {name} {{
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id {router}
    priority 101
    advert_int 1
    virtual_ipaddress {{
        {address}
    }}
    track_file {{
        haproxy
    }}
}}
"
            )
        };
        let head = "\
global_defs {
    router_id proxy-1
    vrrp_version 2
    script_user root
    enable_script_security
}

track_file haproxy {
    file /run/haproxy-ended
    weight 0
}
";
        let (web, spare) = (
            instance("web", 51, "192.168.56.20"),
            instance("spare", 52, "192.168.56.19"),
        );
        assert_eq!(text, format!("{head}\n{web}\n{spare}"));
    }

    #[test]
    fn a_pace_below_a_second_needs_the_third_version_of_the_protocol() {
        let text = config("proxy-2", Duration::from_millis(100), Tracking::Script);
        assert!(
            text.contains("vrrp_version 3") && text.contains("advert_int 0.1"),
            "{text}"
        );
        assert!(
            text.contains("priority 100\n") && text.contains("track_script"),
            "{text}"
        );
    }
}
