//! Changes while the page is asked for, and the databases are used, without a pause.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::load::Load;
use super::sql::{self, Both, Client};
use super::{CONFIG, INNER, OUTER, applied, changed, role_of, until_as_wanted, until_served};
use crate::scenarios::World;
use crate::scenarios::identity::apply;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How many changes in a row nobody may feel.
const CHANGES: u32 = 10;
/// For how many seconds everything is used meanwhile.
const SPAN_S: u32 = 150;
const PLAIN: &str = "certificate: site-ca";
/// What the inner proxies are told of the page.
const WEB: &str = "check: /healthz";

/// A change is shown as what it does on each node, and a dry run does nothing of it; applied, it
/// reaches the nodes one after the other; a second time there is nothing to do.
pub fn planned(world: &World) -> Result<()> {
    let site = &world.site;
    let document = site.coordctl(&["site"])?;
    let wanted = changed(site, PLAIN, "certificate: site-ca\n  hsts: 1d")?;
    let dry = "cat > /root/planned.yaml; coordctl apply -f /root/planned.yaml --dry-run";
    let plan = site.sh_fed(COORDINATOR, dry, &wanted)?;
    for part in [
        "haproxy-ext-1\n",
        "haproxy-ext-2\n",
        "max-age=86400",
        "reload unit haproxy",
    ] {
        ensure!(plan.contains(part), "`{part}` is not in:\n{plan}");
    }
    ensure!(
        !plan.contains("haproxy-int"),
        "nothing changes inside:\n{plan}"
    );
    let configs = || -> Result<String> {
        let each = OUTER.map(|node| site.sh(node, &format!("cat {CONFIG}")));
        each.into_iter().collect()
    };
    ensure!(
        !configs()?.contains("max-age"),
        "the dry run changed something"
    );
    let told = apply(site, &wanted)?;
    told.expect(0, &["one after the other", "as wanted"])?;
    ensure!(configs()?.matches("max-age=86400").count() == 2, "{told:?}");
    apply(site, &wanted)?.expect(0, &["Nothing would change"])?;
    applied(site, &document)
}

/// Configurations of all proxies change again and again, secrets and keys are made anew, and
/// neither a request nor a transaction is lost.
pub fn unnoticed(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    client.prepare()?;
    let before = edge_keys(site)?;
    let begun = Instant::now();
    let (load, both) = (Load::start(world, SPAN_S)?, Both::start(&client, SPAN_S)?);
    change_all(site)?;
    let took = begun.elapsed();
    let told = load.end()?;
    println!("    {CHANGES} changes of each proxy and two rotations in {took:.0?}: {told}");
    both.end_well()?;
    client.clear()?;
    ensure!(told.failed == 0 && told.served > 0, "{told}");
    let span = Duration::from_secs(SPAN_S.into());
    ensure!(
        took < span,
        "the last changes came when nobody asked any more"
    );
    ensure!(edge_keys(site)? != before, "the edge has the key of before");
    Ok(())
}

fn edge_keys(site: &Site) -> Result<String> {
    let files = "sha256sum /etc/hamesh/haproxy/edge.pem /etc/hamesh/haproxy/edge.pem.key";
    site.sh(OUTER[0], files)
}

/// Each proxy again and again, and then its secrets.
fn change_all(site: &Site) -> Result<()> {
    let document = site.coordctl(&["site"])?;
    ensure!(document.contains(WEB), "`{WEB}` is not in:\n{document}");
    for n in 1..=CHANGES {
        let other = format!("certificate: site-ca\n  hsts: {n}d");
        let inner = format!("{WEB}?{n}");
        let changed = document.replacen(PLAIN, &other, 1).replacen(WEB, &inner, 1);
        applied(site, &changed)?;
    }
    applied(site, &document)?;
    site.coordctl(&["secret", "rotate", "proxy/statistics"])?;
    site.coordctl(&["secret", "rotate", "certificates"])?;
    until_as_wanted(site, &[&OUTER[..], &INNER, &sql::NODES].concat())
}

/// Keys are made anew, and the HAProxy that runs takes their certificates: none is reloaded.
pub fn handed_over(world: &World) -> Result<()> {
    let site = &world.site;
    let nodes = [OUTER, INNER].concat();
    let workers = || -> Result<Vec<String>> {
        let script = "pgrep --parent $(systemctl show --property MainPID --value haproxy.service)";
        nodes.iter().map(|node| site.sh(node, script)).collect()
    };
    let files = || -> Result<Vec<String>> {
        let script = "sha256sum /etc/hamesh/haproxy/*.pem";
        nodes.iter().map(|node| site.sh(node, script)).collect()
    };
    until_as_wanted(site, &nodes)?;
    let (workers_before, files_before) = (workers()?, files()?);
    let load = Load::start(world, 20)?;
    site.coordctl(&["secret", "rotate", "certificates"])?;
    until_as_wanted(site, &nodes)?;
    let told = load.end()?;
    println!("    all certificates: {told}");
    ensure!(told.failed == 0 && told.served > 0, "{told}");
    let files_after = files()?;
    let mut each = files_before.iter().zip(&files_after);
    ensure!(
        each.all(|(old, new)| old != new),
        "{files_before:?} {files_after:?}"
    );
    ensure!(
        workers()? == workers_before,
        "HAProxy has other processes than before"
    );
    // That clients are shown the new ones is a gate of the role.
    for node in OUTER {
        let said = "journalctl --unit hamesh-apply --no-pager --lines 100";
        let said = site.sh(node, said)?;
        ensure!(
            said.contains("hand certificate edge to haproxy.service"),
            "{said}"
        );
    }
    Ok(())
}

/// A change that cannot be had fails with the words of the program at fault; the other node keeps
/// what it has, and what worked is there again.
pub fn put_back(world: &World) -> Result<()> {
    let site = &world.site;
    let document = site.coordctl(&["site"])?;
    let bad = format!("{}\npackages: {{haproxy: 9.9-1}}\n", document.trim_end());
    let told = apply(site, &bad)?;
    told.expect(1, &["9.9-1", "coordctl role retry"])?;
    until_served(world)?;
    let states = [OUTER, INNER].concat();
    let states = states.into_iter().map(|node| role_of(site, node));
    let states = states.collect::<Result<Vec<_>>>()?;
    let failed = states.iter().filter(|state| state.place == "failed");
    ensure!(failed.count() == 2, "one of each role: {states:?}");
    let waits =
        |reason: &Option<String>| reason.as_ref().is_some_and(|it| it.contains("failed on"));
    ensure!(
        states.iter().filter(|it| waits(&it.reason)).count() == 2,
        "{states:?}"
    );
    applied(site, &document)?;
    until_as_wanted(site, &[OUTER, INNER].concat())
}

/// Whoever is killed while a change is rolled out, it ends as it would have.
pub fn interrupted(world: &World) -> Result<()> {
    let site = &world.site;
    let document = site.coordctl(&["site"])?;
    let wanted = changed(site, PLAIN, "certificate: site-ca\n  hsts: 2d")?;
    let begin = "cat > /root/begun.yaml; coordctl apply -f /root/begun.yaml --yes --no-wait";
    site.sh_fed(COORDINATOR, begin, &wanted)?;
    for unit in ["hamesh-apply", "hamesh-agent", "hamesh-apply"] {
        for node in OUTER {
            site.sh(
                node,
                &format!("systemctl kill --signal=KILL {unit}.service"),
            )?;
        }
        site.sh(
            COORDINATOR,
            "systemctl kill --signal=KILL hamesh-coordinator.service",
        )?;
    }
    until("both have the change", PATIENCE, || {
        each_has(site, "max-age=172800")
    })?;
    until_as_wanted(site, &OUTER)?;
    until_served(world)?;
    applied(site, &document)
}

fn each_has(site: &Site, part: &str) -> Result<()> {
    for node in OUTER {
        let config = site.sh(node, &format!("cat {CONFIG}"))?;
        ensure!(config.contains(part), "{node} has no `{part}`");
    }
    Ok(())
}

/// A node that has no role any more is cleared of all that the role made, and has it again when it
/// gets the role again.
pub fn cleared(world: &World) -> Result<()> {
    let site = &world.site;
    let node = OUTER[1];
    site.coordctl(&["assign", node, "none", "--yes"])?;
    let left = "dpkg-query -W -f '${db:Status-Status}' haproxy 2>/dev/null | grep -x installed || :
                nft list tables | grep hamesh_firewall || :
                ls -d /etc/hamesh/haproxy /etc/hamesh/firewall.nft 2>/dev/null || :";
    let left = site.sh(node, left)?;
    ensure!(left.is_empty(), "left on {node}:\n{left}");
    until_served(world)?;
    site.coordctl(&["assign", node, "edge-proxy", "--yes"])?;
    until_as_wanted(site, &OUTER)
}
