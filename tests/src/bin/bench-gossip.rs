//! Gossip beside Debian's serf: the same kills, on the same VMs, seen by both.
//!
//! Both daemons run on all nodes of the lab and write what they notice to the journal, whose time
//! stamps come from the one clock that all these VMs share. Nothing polls them meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use hamesh_tests::lab::Lab;
use serde_json::Value;

/// serf's own ports, beside hamesh's.
const SERF_RPC: &str = "127.0.0.1:7373";
/// How long a death or a return may take to be seen before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured: a unit of the node and how it says that a peer is gone.
struct Daemon {
    name: &'static str,
    unit: &'static str,
    /// Part of the journal line about the death of `PEER`.
    death: fn(line: &Value, peer: &str) -> bool,
}

const HAMESH: Daemon = Daemon {
    name: "hamesh",
    unit: "hamesh-agent",
    death: hamesh_death,
};
const SERF: Daemon = Daemon {
    name: "serf",
    unit: "bench-serf",
    death: serf_death,
};

fn main() -> Result<()> {
    let (kills, idle) = arguments()?;
    let lab = Lab::of_this_build()?;
    let nodes = lab.nodes()?;
    prepare(&lab, &nodes)?;
    print_load("before")?;
    let idle_figures = idle_figures(&lab, &nodes[nodes.len() - 1], idle)?;
    let mut delays: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    // The coordinators stay: their loss is not what is measured here.
    let victims = nodes.iter().filter(|node| !node.starts_with("control"));
    for victim in victims.cycle().take(kills) {
        for (name, delay) in kill_once(&lab, &nodes, victim)? {
            println!("{victim} killed: last survivor of {name} knew after {delay:.2} s");
            delays.entry(name).or_default().push(delay);
        }
    }
    print_table(nodes.len(), &mut delays, &idle_figures, idle);
    print_load("after")?;
    stop_rivals(&lab, &nodes)
}

fn arguments() -> Result<(usize, Duration)> {
    let (mut kills, mut idle) = (5, 60);
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given
            .next()
            .with_context(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--kills" => kills = value.parse().context("--kills needs a number")?,
            "--idle" => idle = value.parse().context("--idle needs seconds")?,
            _ => bail!("unknown option {name}; there are --kills N and --idle SECONDS"),
        }
    }
    Ok((kills, Duration::from_secs(idle)))
}

/// Starts serf and the node exporter everywhere, and waits until both gossips see all.
fn prepare(lab: &Lab, nodes: &[String]) -> Result<()> {
    for node in nodes {
        lab.sh(
            node,
            "command -v serf prometheus-node-exporter >/dev/null || DEBIAN_FRONTEND=noninteractive \
             apt-get install -qq -y serf prometheus-node-exporter >/dev/null; \
             systemctl start prometheus-node-exporter",
        )?;
        start_serf(lab, node, &nodes[0])?;
    }
    wait_for_all(lab, nodes)
}

fn start_serf(lab: &Lab, node: &str, first: &str) -> Result<()> {
    let script = format!(
        "systemctl disable -q --now serf 2>/dev/null || :; \
         systemctl is-active -q {unit} || {{ systemctl reset-failed {unit} 2>/dev/null || :; \
         systemd-run -q --unit={unit} serf agent -node={node} -profile=lan \
         -bind=$(getent hosts {node} | cut -d' ' -f1) -rpc-addr={SERF_RPC} -retry-join={first}; }}",
        unit = SERF.unit
    );
    lab.sh(node, &script).map(drop)
}

fn wait_for_all(lab: &Lab, nodes: &[String]) -> Result<()> {
    let began = Instant::now();
    loop {
        let (hamesh, serf) = (hamesh_alive(lab, &nodes[0])?, serf_alive(lab, &nodes[0])?);
        if hamesh + 1 == nodes.len() && serf == nodes.len() {
            // Failure detectors learn the usual interval first.
            sleep(Duration::from_secs(10));
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "{}: hamesh sees {hamesh} peers, serf {serf} members of {}",
            nodes[0],
            nodes.len()
        );
        sleep(Duration::from_secs(1));
    }
}

fn hamesh_alive(lab: &Lab, node: &str) -> Result<usize> {
    let text = lab.sh(node, "hamesh-agent status --output json")?;
    let status: Value = serde_json::from_str(&text)?;
    let peers = status["peers"]
        .as_array()
        .context("no `peers` in the agent's status")?;
    Ok(peers.iter().filter(|peer| peer["alive"] == true).count())
}

fn serf_alive(lab: &Lab, node: &str) -> Result<usize> {
    let list = format!("serf members -rpc-addr={SERF_RPC} -status=alive | wc -l");
    Ok(lab.sh(node, &list)?.trim().parse()?)
}

/// Kills one VM and gives, for each daemon, when its last survivor knew (seconds).
fn kill_once(lab: &Lab, nodes: &[String], victim: &str) -> Result<Vec<(&'static str, f64)>> {
    let killed_at = unix_s()?;
    lab.must(["kill", victim])?;
    let survivors: BTreeSet<&String> = nodes.iter().filter(|node| *node != victim).collect();
    // Longer than either takes, so that reading the journals disturbs neither.
    sleep(Duration::from_secs(20));
    let mut delays = Vec::new();
    for daemon in [&HAMESH, &SERF] {
        let mut last: f64 = 0.0;
        for node in &survivors {
            last = last.max(death_seen(lab, node, daemon, victim, killed_at)?);
        }
        delays.push((daemon.name, last));
    }
    lab.must(["start", victim])?;
    start_serf(lab, victim, &nodes[0])?;
    wait_for_all(lab, nodes)?;
    Ok(delays)
}

fn death_seen(lab: &Lab, node: &str, daemon: &Daemon, peer: &str, since: f64) -> Result<f64> {
    let began = Instant::now();
    loop {
        let journal = lab.sh(
            node,
            &format!(
                "journalctl -q -o json -u {} --since=@{}",
                daemon.unit,
                since.floor()
            ),
        )?;
        let seen = journal
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| (daemon.death)(line, peer))
            .filter_map(|line| line["__REALTIME_TIMESTAMP"].as_str()?.parse::<f64>().ok())
            .map(|micros| micros / 1e6 - since)
            .find(|delay| *delay > 0.0);
        match seen {
            Some(delay) => return Ok(delay),
            None if began.elapsed() > PATIENCE => {
                bail!("{node}: {} never said that {peer} is gone", daemon.name)
            }
            None => sleep(Duration::from_secs(2)),
        }
    }
}

fn hamesh_death(line: &Value, peer: &str) -> bool {
    line["PEER"] == peer && line["MESSAGE"] == format!("{peer} fell silent")
}

fn serf_death(line: &Value, peer: &str) -> bool {
    line["MESSAGE"]
        .as_str()
        .is_some_and(|text| text.contains("EventMemberFailed:") && text.contains(peer))
}

/// PSS (MiB) and CPU (percent of one core) of each process over `idle`, both scraped as they are
/// in service.
fn idle_figures(lab: &Lab, node: &str, idle: Duration) -> Result<Vec<(String, f64, f64)>> {
    let script = format!(
        "pids=\"hamesh-agent=$(systemctl show -P MainPID hamesh-agent) \
         serf=$(systemctl show -P MainPID {serf}) \
         node-exporter=$(systemctl show -P MainPID prometheus-node-exporter)\"; \
         run() {{ cat /proc/$1/task/*/schedstat | \
         awk '{{n += $1}} END {{printf \"%.0f\", n}}'; }}; \
         for p in $pids; do eval \"before_${{p#*=}}=$(run ${{p#*=}})\"; done; \
         i=0; while [ $i -lt {scrapes} ]; do sleep 15; i=$((i+1)); \
         curl -s --unix-socket /run/hamesh-agent/agent.sock http://localhost/metrics >/dev/null; \
         curl -s http://127.0.0.1:9100/metrics >/dev/null; done; \
         for p in $pids; do id=${{p#*=}}; eval \"before=\\$before_$id\"; \
         echo ${{p%=*}} $(( $(run $id) - before )) \
         $(awk '/^Pss:/ {{print $2}}' /proc/$id/smaps_rollup); done",
        serf = SERF.unit,
        scrapes = idle.as_secs() / 15
    );
    let took = Instant::now();
    let text = lab.sh(node, &script)?;
    let seconds = took.elapsed().as_secs_f64();
    text.lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [name, nanoseconds, kib] = words[..] else {
                bail!("unexpected line: {line}")
            };
            let cpu = nanoseconds.parse::<f64>()? / 1e9 / seconds * 100.0;
            Ok((name.to_owned(), kib.parse::<f64>()? / 1024.0, cpu))
        })
        .collect()
}

/// One line for the reader of the figures: what else the machine had to do.
fn print_load(when: &str) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    println!("load average {when}: {}", averages.join(" "));
    Ok(())
}

fn print_table(
    members: usize,
    delays: &mut BTreeMap<&str, Vec<f64>>,
    idle: &[(String, f64, f64)],
    over: Duration,
) {
    println!("\ndeath known to the last survivor of {members} members (s)");
    println!(
        "{:<14} {:>5} {:>8} {:>8} {:>8}",
        "", "kills", "min", "median", "max"
    );
    for (name, times) in delays.iter_mut() {
        times.sort_by(f64::total_cmp);
        let (min, max) = (times[0], times[times.len() - 1]);
        let median = times[times.len() / 2];
        println!(
            "{name:<14} {:>5} {min:>8.2} {median:>8.2} {max:>8.2}",
            times.len()
        );
    }
    println!(
        "\none idle process over {} s, scraped every 15 s",
        over.as_secs()
    );
    println!("{:<14} {:>9} {:>13}", "", "PSS MiB", "CPU % of core");
    for (name, mib, cpu) in idle {
        println!("{name:<14} {mib:>9.1} {cpu:>13.2}");
    }
}

fn stop_rivals(lab: &Lab, nodes: &[String]) -> Result<()> {
    for node in nodes {
        lab.sh(
            node,
            &format!("systemctl stop {} prometheus-node-exporter", SERF.unit),
        )?;
    }
    Ok(())
}

fn unix_s() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}
