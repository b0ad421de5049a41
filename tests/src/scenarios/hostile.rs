//! Noise: random datagrams and bytes at every port of the site, from a machine without identity.

use anyhow::{Context as _, Result, ensure};

use super::World;
use super::identity::address;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How many datagrams are thrown at one node's gossip port.
const DATAGRAMS: u64 = 1_000_000;

/// A million random datagrams at a gossip port are counted and dropped; nothing else happens.
pub fn datagrams(world: &World) -> Result<()> {
    let site = &world.site;
    let before = rejected(site, "node-1")?;
    let target = address(site, "node-1")?;
    // Random bytes of every length up to the longest, cut out of one random block.
    let throw = format!(
        r#"perl -MSocket -e '
            srand 7;
            my $block = join "", map {{ chr int rand 256 }} 1..4000;
            my $to = sockaddr_in 7445, inet_aton "{target}";
            socket my $s, PF_INET, SOCK_DGRAM, 0 or die;
            for (1..{DATAGRAMS}) {{
                send $s, substr($block, int rand 2000, int rand 1500), 0, $to
            }}'"#
    );
    site.lab
        .must(["client", "--network", "trust", "--", "sh", "-c", &throw])?;
    let all = site.others(&[]);
    site.until_seen(&all, &all)?;
    let after = until("what was thrown is counted", PATIENCE, || {
        let after = rejected(site, "node-1")?;
        ensure!(after > before + 1000.0, "{} so far", after - before);
        Ok(after)
    })?;
    let logged = site.sh(
        "node-1",
        "journalctl -u hamesh-agent --since -2min --no-pager | wc -l",
    )?;
    let lines: f64 = logged.trim().parse().context("wc")?;
    ensure!(
        lines < 500.0,
        "{lines} lines of log for {} datagrams",
        after - before
    );
    Ok(())
}

/// Random bytes at every TCP port: every connection is ended, every daemon goes on.
pub fn bytes(world: &World) -> Result<()> {
    let site = &world.site;
    let epoch = site.status()?.epoch;
    let run = site.agent("node-1")?.started_unix_ms;
    let mut targets = vec![(address(site, "node-1")?, 7446)];
    for port in [7443, 7444, 7447] {
        targets.push((address(site, COORDINATOR)?, port));
    }
    for (host, port) in &targets {
        let throw = format!(
            r#"for i in $(seq 50); do
                   head -c $((RANDOM % 4000)) /dev/urandom |
                       timeout 5 bash -c 'cat > /dev/tcp/{host}/{port}' || true
               done 2>/dev/null"#
        );
        site.lab
            .must(["client", "--network", "trust", "--", "bash", "-c", &throw])?;
    }
    ensure!(
        site.status()?.epoch == epoch,
        "the coordinator was restarted"
    );
    ensure!(
        site.agent("node-1")?.started_unix_ms == run,
        "the agent was restarted"
    );
    Ok(())
}

/// The store answers its clients on the loopback only; its port for other members, which will be
/// other coordinators, talks to nobody without a certificate of the store's own CA.
pub fn store_is_hidden(world: &World) -> Result<()> {
    let site = &world.site;
    let host = address(site, COORDINATOR)?;
    for port in [2379, 2380, 7448] {
        let knock = format!("timeout 5 bash -c 'true < /dev/tcp/{host}/{port}'");
        let answer = site.try_sh("node-1", &knock)?;
        ensure!(
            answer.code != 0,
            "port {port} of {COORDINATOR} answers node-1"
        );
    }
    let own = "-cert /var/lib/hamesh-agent/identity.pem -key /var/lib/hamesh-agent/identity.pem";
    let knock =
        format!("sleep 1 | timeout 10 openssl s_client -connect {host}:7449 {own} -ign_eof 2>&1");
    let answer = site.try_sh("node-1", &knock)?;
    ensure!(
        answer.stdout.contains("alert"),
        "an agent's certificate opens 7449: {answer:?}"
    );
    Ok(())
}

/// The sum of the datagrams that a node's agent dropped.
fn rejected(site: &Site, node: &str) -> Result<f64> {
    let text = site.sh(node, "hamesh-agent metrics")?;
    let lines = text
        .lines()
        .filter(|l| l.starts_with("hamesh_agent_gossip_rejected_total"));
    let mut sum = 0.0;
    for line in lines {
        let value = line.rsplit(' ').next().unwrap_or_default();
        sum += value
            .parse::<f64>()
            .with_context(|| format!("not a number: {line}"))?;
    }
    Ok(sum)
}
