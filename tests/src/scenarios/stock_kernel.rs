//! Claims on Debian's stock kernel, on machines that QEMU emulates: the fence closes there too, and
//! a machine can be paused whole and have its wall clock set.
//!
//! What cannot be excluded has its bound tried: a machine that goes on after a pause may answer for
//! what was left of its lease when it was paused.

pub mod layers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::asked::Asking;
use super::{World, lab};
use crate::site::views::{ClaimMove, Explanation};
use crate::site::vip::Shared;
use crate::site::wait::throughout;
use crate::site::{COORDINATOR, Site};
use crate::vip::arp::Question;

const SITE_FILE: &str = "lab/sites/stock-kernel.yaml";
const WEB: Shared = Shared {
    claim: "vip/web",
    ip: "192.168.56.20",
    network: NETWORK,
    members: ["proxy-1", "proxy-2"],
};
/// The lease of the site file, and how much longer clocks that differ by 3 % may make it (with the
/// 25 ms of a coarse kernel tick).
const TTL: Duration = Duration::from_secs(3);
const TTL_ELSEWHERE: Duration = Duration::from_millis(3115);
/// Keeps systemd from starting the agent anew after it was killed, and lets it again.
const NO_RESTART: &str = "d=/run/systemd/system/hamesh-agent.service.d; mkdir -p $d; \
     printf '[Service]\\nRestart=no\\n' > $d/drill.conf; systemctl daemon-reload";
const RESTART: &str = "rm -r /run/systemd/system/hamesh-agent.service.d; systemctl daemon-reload";
/// Several leases long.
const WATCH: Duration = Duration::from_secs(10);
/// The network of the site.
const NETWORK: &str = "trust";

/// The kernel is Debian's 6.1, not this machine's; the fence is whole there; one node holds the
/// address and answers.
pub fn held(world: &World) -> Result<()> {
    let site = site(world)?;
    for node in WEB.members {
        let kernel = site.sh(node, "uname -r")?;
        ensure!(kernel.starts_with("6.1."), "{node} runs {kernel}");
        let rules = site.sh(node, "nft list ruleset")?;
        for family in ["inet", "arp", "netdev"] {
            let table = format!("table {family} hamesh_fence");
            ensure!(rules.contains(&table), "no {table} on {node}:\n{rules}");
        }
    }
    let (holder, _) = WEB.settled(&site)?;
    WEB.held_by(&site, holder)
}

/// An agent that is stopped or killed leaves its node fenced: one answers, and it is the other. The
/// killed one is kept from starting anew: on a quick machine it is back before its lease runs out.
pub fn silenced(world: &World) -> Result<()> {
    let site = site(world)?;
    for signal in ["STOP", "KILL"] {
        let (holder, other) = WEB.settled(&site)?;
        let kill = format!("systemctl kill --signal={signal} --kill-whom=main hamesh-agent");
        site.sh(holder, &format!("{NO_RESTART}; {kill}"))?;
        let taken = WEB.until_held_by(&site, other);
        let back = match signal {
            "STOP" => kill.replace("STOP", "CONT"),
            _ => "systemctl start hamesh-agent".to_owned(),
        };
        site.sh(holder, &format!("{RESTART}; {back}"))?;
        taken.with_context(|| format!("after SIG{signal} of the agent on {holder}"))?;
        WEB.until_standby(&site, holder)?;
        WEB.one_answers(&site)?;
    }
    Ok(())
}

/// A holder without power is succeeded by the other, which keeps it when the first is back.
pub fn killed(world: &World) -> Result<()> {
    let site = site(world)?;
    let (holder, other) = WEB.settled(&site)?;
    site.lab.must(["kill", holder])?;
    WEB.until_held_by(&site, other)?;
    site.lab.must(["start", holder])?;
    site.until_whole()?;
    ensure!(WEB.settled(&site)?.0 == other, "it went back by itself");
    Ok(())
}

/// The holder's wall clock goes hours ahead, then hours behind: no move, no lapse, no session lost.
/// Ahead, its agent can also make a new session; behind, certificates are not valid yet, and only
/// the leases must go on.
pub fn clock_set(world: &World) -> Result<()> {
    let site = site(world)?;
    let (holder, _) = WEB.settled(&site)?;
    let before = unmoved(&site, holder)?;
    for shift in ["+5 hours", "-10 hours"] {
        site.sh(holder, &format!("date --set='{shift}'"))?;
        throughout(&format!("{shift}, it stays"), WATCH, || {
            WEB.held_by(&site, holder)?;
            let status = site.status()?;
            for node in WEB.members {
                ensure!(status.node(node)?.session, "{node} has no session");
            }
            Ok(())
        })?;
        if shift.starts_with('+') {
            site.sh(COORDINATOR, "systemctl restart hamesh-coordinator")?;
            site.until_whole().with_context(|| shift.to_owned())?;
        }
        let after = unmoved(&site, holder)?;
        ensure!(after == before, "{shift}: {before:?} became {after:?}");
    }
    site.sh(holder, "date --set='+5 hours'")?;
    site.until_whole()?;
    WEB.held_by(&site, holder)
}

/// What a lost lease, a move or a new agent would change.
#[derive(Debug, PartialEq, Eq)]
struct Unmoved {
    holder: Option<String>,
    moves: Vec<ClaimMove>,
    agent_started_unix_ms: u64,
    taken: String,
}

fn unmoved(site: &Site, holder: &str) -> Result<Unmoved> {
    let taken = "journalctl --unit=hamesh-agent --grep='vip/web taken' --quiet | wc -l";
    let seen: Explanation = site.query(&["explain", WEB.claim])?;
    Ok(Unmoved {
        holder: seen.holder,
        moves: seen.moves,
        agent_started_unix_ms: site.agent(holder)?.started_unix_ms,
        taken: site.sh(holder, taken)?,
    })
}

/// The holder's machine is paused for longer than its lease: its clocks stand still, the other
/// takes over, and when the first goes on it answers at most for what was left of its lease.
pub fn paused(world: &World) -> Result<()> {
    let site = site(world)?;
    let (holder, other) = WEB.settled(&site)?;
    let mac = site.sh(holder, "cat /sys/class/net/eth0/address")?;
    let (read, uptime) = (Instant::now(), guest_clock(&site, holder)?);
    let asking = Asking::start(NETWORK, None, WEB.ip.parse().context("the address")?);
    site.lab.must(["freeze", holder])?;
    let stopped = Instant::now();
    let taken = throughout("it stands still", TTL_ELSEWHERE, || Ok(()))
        .and_then(|()| WEB.until_held_by(&site, other));
    let pause = stopped.elapsed();
    site.lab.must(["thaw", holder])?;
    let went_on = asking.origin.elapsed();
    let advanced = guest_clock(&site, holder)?.saturating_sub(uptime);
    let awake = read.elapsed().saturating_sub(pause);
    taken.and_then(|()| WEB.until_standby(&site, holder))?;
    WEB.one_answers(&site)?;
    WEB.held_by(&site, other)?;
    let questions = asking.end()?;
    ensure!(
        advanced <= awake + awake / 10,
        "the clock of {holder} went on by {advanced:?}, and it was awake for {awake:?} of it"
    );
    let late = answered_by(&questions, mac.trim(), went_on);
    let last = late.last().copied().unwrap_or_default();
    eprintln!(
        "    [paused {pause:.1?}; its clock went on by {advanced:.1?} in {awake:.1?} awake; then \
         it answered {} of {} questions, the last after {last:.3?}; lease {TTL:?}]",
        late.len(),
        questions.iter().filter(|q| q.at >= went_on).count(),
    );
    ensure!(last <= TTL_ELSEWHERE, "it answered for {last:?}");
    Ok(())
}

/// A machine's monotonic clock.
fn guest_clock(site: &Site, node: &str) -> Result<Duration> {
    let text = site.sh(node, "cat /proc/uptime")?;
    let seconds = text.split(' ').next().unwrap_or_default();
    let seconds: f64 = seconds.parse().with_context(|| text.clone())?;
    Ok(Duration::from_secs_f64(seconds))
}

/// How long after a moment those questions were asked that a hardware address answered.
fn answered_by(questions: &[Question], mac: &str, after: Duration) -> Vec<Duration> {
    let shown = |bytes: &[u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    let late = questions.iter().filter(|question| question.at >= after);
    late.filter(|question| question.answers.iter().any(|bytes| shown(bytes) == mac))
        .map(|question| question.at.saturating_sub(after))
        .collect()
}

/// The tests of the Linux side of a claim, compiled here, pass there: half of them on each node, to
/// use both processors of a small machine.
pub fn tests_of_the_kernel_side(world: &World) -> Result<()> {
    let site = site(world)?;
    WEB.settled(&site)?;
    let program = namespace_tests()?;
    let names = names_of_tests(&program)?;
    let (first, second) = names.split_at(names.len() / 2);
    let [one, two] = WEB.members;
    let (a, b) = std::thread::scope(|scope| {
        let half = scope.spawn(|| play_tests(&site, one, &program, second));
        let other = play_tests(&site, two, &program, first);
        (half.join(), other)
    });
    let passed = a.unwrap_or_else(|_| bail!("the thread broke off"))? + b?;
    ensure!(
        passed == names.len() && passed > 0,
        "{passed} of {} tests passed",
        names.len()
    );
    site.until_whole()?;
    WEB.settled(&site).map(drop)
}

/// Plays those that are not to be skipped, and gives how many passed. The node's agent rests
/// meanwhile.
fn play_tests(site: &Site, node: &str, program: &Path, skipped: &[String]) -> Result<usize> {
    let source = program.to_string_lossy().into_owned();
    site.lab.must(["push", node, &source, "/root/namespaces"])?;
    let skips: String = skipped.iter().map(|n| format!(" --skip {n}")).collect();
    let run = format!(
        "systemctl stop hamesh-agent; cd /root; \
         timeout 1800 ./namespaces --test-threads 1 --exact{skips} 2>&1; status=$?; \
         rm namespaces; systemctl start hamesh-agent; exit $status"
    );
    let answer = site.try_sh(node, &run)?;
    let summary = answer
        .stdout
        .lines()
        .rfind(|line| line.starts_with("test result:"));
    let summary = summary.with_context(|| format!("no summary: {answer:?}"))?;
    eprintln!("    [{node}: {summary}]");
    ensure!(answer.code == 0, "on {node}:\n{}", answer.stdout);
    let passed = summary.strip_prefix("test result: ok. ");
    let passed = passed.and_then(|rest| rest.split(' ').next()?.parse().ok());
    passed.with_context(|| format!("not all passed: {summary}"))
}

fn names_of_tests(program: &Path) -> Result<Vec<String>> {
    let listed = Command::new(program)
        .arg("--list")
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(ToOwned::to_owned).collect())
}

/// The newest build of them beside this program.
fn namespace_tests() -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot tell which program this is")?;
    let folder = here.parent().context("a program lies in a folder")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).context("beside this program")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("namespaces-") && !name.contains('.') {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = found.into_iter().max().map(|(_, path)| path);
    newest.context(
        "the kernel side's tests are not built: \
         cargo test --release --locked --workspace --test namespaces --no-run",
    )
}

/// After `down`, the machine is as it was before; also when the lab was killed on its way up.
pub fn nothing_left(world: &World) -> Result<()> {
    let lab = &world.site.lab;
    lab.must(["down"])?;
    lab::nothing_left(world)?;
    let killed = lab.killed_after("8", &["up", SITE_FILE])?;
    ensure!(
        killed.code().is_none(),
        "the lab was up before it could be killed: {killed}"
    );
    lab.must(["down"])?;
    lab::nothing_left(world).context("killed on its way up")
}

/// The site with the stock kernels, up and whole.
fn site(world: &World) -> Result<Site> {
    let lab = world.site.lab.clone();
    let up = lab.nodes().unwrap_or_default();
    if !up.is_empty() && !up.iter().any(|node| node == WEB.members[0]) {
        lab.must(["down"])?;
    }
    lab.must(["up", SITE_FILE])?;
    let site = Site::of(lab)?;
    site.until_whole()?;
    Ok(site)
}
