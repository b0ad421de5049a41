//! Noise: random datagrams and bytes at every port of the site, from a machine without identity.

use anyhow::{Context as _, Result, ensure};

use super::World;
use super::identity::address;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How many datagrams are thrown at one node's gossip port.
const DATAGRAMS: u64 = 1_000_000;

/// A million random datagrams at a gossip port: the kernel has no room for some, the agent counts
/// and drops every other one, and nothing else happens.
pub fn datagrams(world: &World) -> Result<()> {
    let site = &world.site;
    let before = Arrivals::at(site, "node-1")?;
    let target = address(site, "node-1")?;
    // Random bytes of every length up to the longest, cut out of one random block.
    let throw = format!(
        r#"perl -MSocket -e '
            srand 7;
            my $block = join "", map {{ chr int rand 256 }} 1..4000;
            my $to = sockaddr_in 7445, inet_aton "{target}";
            socket my $s, PF_INET, SOCK_DGRAM, 0 or die;
            my $sent = 0;
            for (1..{DATAGRAMS}) {{
                $sent++ if defined send $s, substr($block, int rand 2000, int rand 1500), 0, $to
            }}
            print $sent'"#
    );
    let sent = site
        .lab
        .must(["client", "--network", "trust", "--", "sh", "-c", &throw])?;
    let sent: u64 = sent.trim().parse().context("how many were sent")?;
    ensure!(sent >= DATAGRAMS * 9 / 10, "only {sent} could be sent");
    let all = site.others(&[]);
    site.until_seen(&all, &all)?;
    let rejected = until("all that were sent are accounted for", PATIENCE, || {
        let now = Arrivals::at(site, "node-1")?;
        let rejected = now.rejected - before.rejected;
        let no_room = now.no_room - before.no_room;
        // Of the true gossip of this time some found no room either.
        let gossip = (now.received - before.received).saturating_sub(rejected);
        ensure!(
            rejected + no_room >= sent && rejected <= sent + gossip,
            "{sent} were sent; the agent rejected {rejected} and took {gossip} for gossip, the \
             kernel had no room for {no_room}"
        );
        Ok(rejected)
    })?;
    ensure!(rejected > 1000, "the agent saw only {rejected} of {sent}");
    let logged = site.sh(
        "node-1",
        "journalctl -u hamesh-agent --since -2min --no-pager | wc -l",
    )?;
    let lines: u64 = logged.trim().parse().context("wc")?;
    ensure!(lines < 500, "{lines} lines of log for {rejected} datagrams");
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

/// What became of the datagrams that reached a node.
struct Arrivals {
    /// Read by the agent.
    received: u64,
    /// Of these, dropped.
    rejected: u64,
    /// Dropped by the kernel: the agent's socket was full.
    no_room: u64,
}

impl Arrivals {
    fn at(site: &Site, node: &str) -> Result<Self> {
        let text = site.sh(node, "grep ^Udp: /proc/net/snmp; hamesh-agent metrics")?;
        let mut udp = text.lines().filter(|line| line.starts_with("Udp:"));
        let (names, values) = (udp.next().context("Udp")?, udp.next().context("Udp")?);
        let mut fields = names.split(' ').zip(values.split(' '));
        let (_, no_room) = fields
            .find(|(name, _)| *name == "RcvbufErrors")
            .with_context(|| format!("no RcvbufErrors in {names}"))?;
        let series = "hamesh_agent_gossip_datagrams_total{direction=\"received\"}";
        Ok(Arrivals {
            received: sum(&text, series)?,
            rejected: sum(&text, "hamesh_agent_gossip_rejected_total{")?,
            no_room: no_room.parse().context("RcvbufErrors")?,
        })
    }
}

/// The sum of the series whose lines begin so.
fn sum(page: &str, series: &str) -> Result<u64> {
    let lines = page.lines().filter(|line| line.starts_with(series));
    let values = lines.map(|line| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse::<u64>().with_context(|| line.to_owned())
    });
    values.sum()
}
