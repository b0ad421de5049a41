//! A server's machine that is lost: how soon the inner proxy leaves it out, by gossip and by its
//! own checks alone, in one run.

use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};

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

/// What came of a hit.
struct Seen {
    told: Told,
    /// How long after it HAProxy left the server out.
    down: Duration,
    /// And how long after it it was used again.
    back: Option<Duration>,
}

/// Tells when HAProxy's state of a server changes. The journal would not do: of thousands of lines
/// a second it drops some.
const WATCH: &str = r#"
use IO::Socket::UNIX;
my ($server, $seconds) = @ARGV;
my ($was, $end) = ("", time + $seconds);
while (time < $end) {
    my $socket = IO::Socket::UNIX->new("/run/haproxy/admin.sock") or die $!;
    print $socket "show servers state web\n";
    my ($now) = join("", <$socket>) =~ / web \d+ \Q$server\E \S+ (\d) /;
    print `date +%s.%N` =~ s/\n//r, " $now\n" if $now ne $was;
    $was = $now;
    select undef, undef, undef, 0.02;
}
"#;

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
    let hit = |site: &Site| site.lab.must([loss.hit, server]).map(drop);
    let seen = watched(world, (proxy, server), hit);
    site.lab.must([loss.mend, server])?;
    chmod(site, Ears::Gossip)?;
    let Seen { told, down, .. } = seen?;
    let marks = marked(site, proxy)? - before;
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
    // It stops at once, and tells nobody.
    let hit = |site: &Site| {
        let stop = "systemctl kill --signal=STOP hamesh-agent.service";
        site.sh(SERVER, stop).map(drop)
    };
    let seen = watched(world, (proxy, SERVER), hit);
    let used = until_up(site, (proxy, SERVER));
    let marks = marked(site, proxy);
    site.sh(SERVER, "systemctl kill --signal=CONT hamesh-agent.service")?;
    used?;
    let (Seen { told, down, back }, marks) = (seen?, marks? - before);
    let back = back.context("it was not used again")?;
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

/// Hits while the page is asked for and the server is watched.
fn watched(
    world: &World,
    (proxy, server): (&str, &str),
    hit: impl FnOnce(&Site) -> Result<()>,
) -> Result<Seen> {
    let site = &world.site;
    let load = Load::start(world, SECONDS)?;
    thread::scope(|scope| {
        let watch = format!("perl - {server} {}", SECONDS + 2);
        let watch = scope.spawn(move || site.sh_fed(proxy, &watch, WATCH));
        sleep(BEFORE);
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        hit(site)?;
        let told = load.end()?;
        let changes = watch
            .join()
            .map_err(|_| anyhow!("the watch ended badly"))??;
        let first = |state: &str, from: Duration| {
            let lines = changes.lines().filter_map(|line| line.split_once(' '));
            let times = lines.filter(|(_, is)| *is == state);
            let mut times =
                times.filter_map(|(at, _)| at.parse().ok().map(Duration::from_secs_f64));
            times.find(|time| *time >= from)
        };
        let down = first("0", at).with_context(|| format!("it was never down:\n{changes}"))?;
        let back = first("2", down).map(|time| time - at);
        let down = down - at;
        Ok(Seen { told, down, back })
    })
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
