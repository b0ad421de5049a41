//! The packages, with apt on real machines: upgrade, remove, install again, purge, and beside an
//! etcd of the administrator's own.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::World;
use super::identity::enrol_anew;
use crate::site::COORDINATOR;
use crate::site::views::Token;
use crate::tidy;

/// The machine on which packages come and go.
const MACHINE: &str = "database-3";

/// A later version is installed over the running one: daemons restart, nothing is lost.
pub fn upgraded(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.status()?;
    let tokens: Vec<Token> = site.query(&["token", "list"])?;
    let later = later_packages()?;
    for (node, names) in [
        (MACHINE, &["hamesh-agent"][..]),
        (
            COORDINATOR,
            &["hamesh-agent", "hamesh-cli", "hamesh-coordinator"][..],
        ),
    ] {
        let run = site.agent(node)?.started_unix_ms;
        site.sh(
            node,
            "echo '# an edit of the administrator' >> /etc/default/hamesh-agent",
        )?;
        let mut files = Vec::new();
        for name in names {
            let (_, file) = later.iter().find(|(n, _)| n == name).context("a package")?;
            let target = format!("/root/{name}.deb");
            site.lab.must(["push", node, file, &target])?;
            files.push(target);
        }
        site.sh(
            node,
            &format!("{APT} install -y -q {} </dev/null", files.join(" ")),
        )?;
        site.until_whole()?;
        ensure!(
            site.agent(node)?.started_unix_ms > run,
            "{node}'s agent was not restarted"
        );
        let kept = site.sh(node, "grep -c 'an edit' /etc/default/hamesh-agent")?;
        ensure!(
            kept.trim() == "1",
            "the administrator's edit of the conffile is gone"
        );
    }
    let after = site.status()?;
    ensure!(
        after.epoch > before.epoch,
        "the coordinator was not restarted"
    );
    ensure!(after.desired == before.desired, "the desired state changed");
    let now: Vec<Token> = site.query(&["token", "list"])?;
    let missing = tokens
        .iter()
        .filter(|t| !now.iter().any(|n| n.id == t.id))
        .count();
    ensure!(missing == 0, "{missing} tokens are lost");
    Ok(())
}

/// Removed, the state stays and serves the next installation; purged, it is gone.
pub fn removed_and_purged(world: &World) -> Result<()> {
    let site = &world.site;
    site.sh(MACHINE, &format!("{APT} remove -y -q hamesh-agent"))?;
    site.until_state(MACHINE, "dead")?;
    site.sh(MACHINE, "test -s /var/lib/hamesh-agent/identity.pem")?;
    site.sh(MACHINE, &format!("{APT} install -y -q hamesh-agent"))?;
    site.until_whole()?;

    site.sh(MACHINE, &format!("{APT} purge -y -q hamesh-agent"))?;
    let left = site.sh(
        MACHINE,
        "find / -xdev -path /proc -prune -o -path /srv -prune -o -name '*hamesh-agent*' -print \
         2>/dev/null | grep -v -e /var/lib/apt -e /var/log -e /var/cache -e /root || true",
    )?;
    ensure!(left.is_empty(), "left after purge:\n{left}");
    site.sh(MACHINE, &format!("{APT} install -y -q hamesh-agent"))?;
    let state = site.sh(
        MACHINE,
        "systemctl is-active hamesh-agent || true; systemctl --failed -q",
    )?;
    ensure!(
        state.trim() == "inactive",
        "an agent that is not enrolled is {state}"
    );
    enrol_anew(site, MACHINE)
}

/// Debian's own etcd stays off where it came in with us, and is left alone where it was before.
pub fn beside_etcd(world: &World) -> Result<()> {
    let site = &world.site;
    let ask = "systemctl is-enabled etcd || true; systemctl is-active etcd || true";
    let ours = site.sh(COORDINATOR, ask)?;
    ensure!(
        ours.split_whitespace().eq(["disabled", "inactive"]),
        "on {COORDINATOR}: {ours}"
    );

    site.sh(MACHINE, &format!("{APT} install -y -q etcd-server"))?;
    let first = site.sh(MACHINE, ask)?;
    ensure!(
        first.split_whitespace().eq(["enabled", "active"]),
        "an admin's etcd: {first}"
    );
    site.sh(MACHINE, &format!("{APT} install -y -q hamesh-coordinator"))?;
    let still = site.sh(MACHINE, ask)?;
    ensure!(
        still.split_whitespace().eq(["enabled", "active"]),
        "beside ours: {still}"
    );
    let units =
        "systemctl is-active hamesh-store hamesh-coordinator || true; systemctl -q --failed";
    let idle = site.sh(MACHINE, units)?;
    ensure!(
        idle.split_whitespace().eq(["inactive", "inactive"]),
        "without a site: {idle}"
    );

    site.sh(
        MACHINE,
        &format!("{APT} purge -y -q hamesh-coordinator hamesh-cli"),
    )?;
    let after = site.sh(MACHINE, ask)?;
    ensure!(
        after.split_whitespace().eq(["enabled", "active"]),
        "after ours went: {after}"
    );
    site.sh(
        MACHINE,
        "test ! -e /var/lib/hamesh && getent passwd hamesh >/dev/null",
    )?;
    site.sh(MACHINE, &format!("{APT} purge -y -q etcd-server"))?;
    Ok(())
}

/// apt, asking nothing.
pub(super) const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get --no-install-recommends";

/// A second version of the same tree: names and files.
pub(super) fn later_packages() -> Result<Vec<(String, String)>> {
    let suffix = "+next1";
    let made = Command::new("packaging/build")
        .args(["--suffix", suffix])
        .current_dir(tidy::root())
        .output()
        .context("packaging/build")?;
    ensure!(
        made.status.success(),
        "packaging/build --suffix {suffix}: {made:?}"
    );
    let folder = tidy::root().join(format!("target/debian{suffix}"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).context("the folder of packages")? {
        let file = entry?.path().to_string_lossy().into_owned();
        let name = file.rsplit('/').next().unwrap_or_default();
        if let (Some((package, _)), true) = (name.split_once('_'), name.ends_with(".deb")) {
            found.push((package.to_owned(), file));
        }
    }
    ensure!(
        found.len() == 3,
        "{} packages in {}",
        found.len(),
        folder.display()
    );
    Ok(found)
}
