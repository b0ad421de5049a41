//! A server's machine that is lost: how soon the inner proxy leaves it out, by gossip and by its
//! own checks alone, in one run.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};

use super::load::{Load, Told};
use super::{INNER, holder_and_other, until_as_wanted, until_served};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// A machine behind the inner proxies whose agent alone falls silent.
const SERVER: &str = "node-2";
/// How long the page is asked for around each loss, and how long before it.
const SECONDS: u32 = 12;
const BEFORE: Duration = Duration::from_secs(2);
/// A way to lose a machine, and the way back.
struct Loss {
    name: &'static str,
    hit: &'static str,
    mend: &'static str,
    /// Who is lost, heard by checks alone and by gossip: by turns, because a machine that died is
    /// not marked again for half a minute.
    servers: [&'static str; 2],
}

const LOSSES: [Loss; 2] = [
    Loss {
        name: "cut off",
        hit: "cut",
        mend: "heal",
        servers: ["node-1", "node-2"],
    },
    Loss {
        name: "without power",
        hit: "kill",
        mend: "start",
        servers: ["node-3", "node-1"],
    },
];

/// By which way the proxy hears of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ears {
    Gossip,
    ChecksAlone,
}

impl Ears {
    const fn name(self) -> &'static str {
        match self {
            Ears::Gossip => "gossip and checks",
            Ears::ChecksAlone => "checks alone",
        }
    }

    /// Without its rights the agent cannot reach the socket: it is root without privileges.
    const fn mode(self) -> &'static str {
        match self {
            Ears::Gossip => "600",
            Ears::ChecksAlone => "000",
        }
    }
}

/// Each loss, heard in each way, under load.
pub fn left_out(world: &World) -> Result<()> {
    println!("    loss           heard by           server down after   requests");
    for loss in &LOSSES {
        let mut after = Vec::new();
        for (ears, server) in [Ears::ChecksAlone, Ears::Gossip]
            .into_iter()
            .zip(loss.servers)
        {
            let (down, told) = lose(world, loss, server, ears)
                .with_context(|| format!("{server} {}, {}", loss.name, ears.name()))?;
            println!(
                "    {:<14} {:<18} {down:>13.2?}       {told}",
                loss.name,
                ears.name()
            );
            after.push(down.as_secs_f64());
        }
        println!(
            "    {:<14} gossip / checks: {:.2}",
            loss.name,
            after[1] / after[0]
        );
    }
    Ok(())
}

fn lose(world: &World, loss: &Loss, server: &str, ears: Ears) -> Result<(Duration, Told)> {
    let site = &world.site;
    let [proxy, _] = holder_and_other(site, "vip/internal", INNER)?;
    chmod(site, ears)?;
    let before = marked(site, proxy)?;
    let load = Load::start(world, SECONDS)?;
    sleep(BEFORE);
    let hit = SystemTime::now();
    site.lab.must([loss.hit, server])?;
    let told = load.end()?;
    site.lab.must([loss.mend, server])?;
    chmod(site, Ears::Gossip)?;
    let marks = marked(site, proxy)? - before;
    let down = said_since(site, (proxy, server), hit, "DOWN")?;
    site.until_whole()?;
    until_up(site, (proxy, server))?;
    // Were nobody left out, each third request would wait for seconds.
    ensure!(told.served > 4 * told.failed.max(1), "{told}");
    match ears {
        Ears::Gossip => {}
        Ears::ChecksAlone => ensure!(marks == 0, "{marks} were marked without a socket"),
    }
    Ok((down, told))
}

/// A machine whose agent alone is dead goes on serving: gossip has its server left out for a
/// moment, and HAProxy's own checks bring it back; no request is lost.
pub fn brought_back(world: &World) -> Result<()> {
    let site = &world.site;
    let [proxy, _] = holder_and_other(site, "vip/internal", INNER)?;
    let before = marked(site, proxy)?;
    let load = Load::start(world, SECONDS)?;
    sleep(BEFORE);
    let hit = SystemTime::now();
    // A clean end would tell nobody either; this one cannot.
    site.sh(SERVER, "systemctl kill --signal=STOP hamesh-agent.service")?;
    let told = load.end()?;
    let marks = marked(site, proxy)? - before;
    let up = until_up(site, (proxy, SERVER));
    let down = said_since(site, (proxy, SERVER), hit, "DOWN");
    let back = said_since(site, (proxy, SERVER), hit, "UP");
    site.sh(SERVER, "systemctl kill --signal=CONT hamesh-agent.service")?;
    up?;
    let (down, back) = (down?, back?);
    println!("    the agent alone: down after {down:.2?}, up after {back:.2?}, {told}");
    ensure!(marks == 1, "{marks} marks");
    ensure!(told.failed == 0, "{told}");
    site.until_whole()?;
    until_as_wanted(site, &INNER)?;
    until_served(world)
}

fn chmod(site: &Site, ears: Ears) -> Result<()> {
    for node in INNER {
        let change = format!("chmod {} /run/haproxy/hamesh.sock", ears.mode());
        site.sh(node, &change)?;
    }
    Ok(())
}

/// How many servers the agent there has marked down.
fn marked(site: &Site, proxy: &str) -> Result<u64> {
    let metrics = "curl --silent --fail --unix-socket /run/hamesh-agent/agent.sock \
                   http://localhost/metrics";
    let metrics = site.sh(proxy, metrics)?;
    let series = "hamesh_agent_proxy_marks_total{outcome=\"marked\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    let value = value.with_context(|| format!("no {series}in:\n{metrics}"))?;
    Ok(value.parse()?)
}

/// How long after `since` HAProxy first said that the server is so.
fn said_since(
    site: &Site,
    (proxy, server): (&str, &str),
    since: SystemTime,
    state: &str,
) -> Result<Duration> {
    let begin = since.duration_since(SystemTime::UNIX_EPOCH)?;
    let script = format!(
        "journalctl --identifier haproxy --since @{} --output short-unix --no-pager",
        begin.as_secs()
    );
    let journal = site.sh(proxy, &script)?;
    let part = format!("Server web/{server} is {state}");
    let times = journal.lines().filter(|line| line.contains(&part));
    let mut times = times.filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let first = times.find(|at| *at >= begin.as_secs_f64());
    let first = first.with_context(|| format!("no `{part}` in:\n{journal}"))?;
    Ok(Duration::from_secs_f64(first - begin.as_secs_f64()))
}

/// Waits until HAProxy uses the server.
fn until_up(site: &Site, (proxy, server): (&str, &str)) -> Result<()> {
    let script = format!(
        "curl --silent --fail http://{}:8404/metrics",
        site.lab.address(proxy)?
    );
    let series =
        format!("haproxy_server_status{{proxy=\"web\",server=\"{server}\",state=\"UP\"}} 1");
    until("the server is used", PATIENCE, || {
        let metrics = site.sh(proxy, &script)?;
        ensure!(metrics.contains(&series), "no {series}");
        Ok(())
    })
}
