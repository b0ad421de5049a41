//! Thirteen agents as processes on 127.0.0.0/8: what they hear, what they cost, how they end.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hamesh_agent::keys::StoredRing;
use hamesh_agent::state::StateDir;
use hamesh_agent::status::Status;
use hamesh_proto::metrics_http::fetch_unix;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Site;
use tempfile::TempDir;

/// How long the agents' idle cost is measured.
const IDLE: Duration = Duration::from_secs(5);

struct Process {
    child: Child,
    directory: PathBuf,
}

impl Process {
    fn start(site: &Site, ring: &KeyRing, name: &str, root: &TempDir) -> Self {
        let directory = root.path().join(name);
        let state = StateDir::open(&directory).unwrap();
        state
            .save_identity(&site.credentials(&format!("agent/{name}")))
            .unwrap();
        state.save_assignment(&site.assignment(name, 1)).unwrap();
        state
            .save_key_ring(&StoredRing::from(&v1::GossipKeyRing::from(ring)))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hamesh-agent"))
            .arg("run")
            .args(["--metrics-port", "0"])
            .arg("--state-dir")
            .arg(&directory)
            .arg("--runtime-dir")
            .arg(&directory)
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stderr(File::create(directory.join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    async fn alive_peers(&self) -> Option<usize> {
        let (_, body) = fetch_unix(&self.directory.join("agent.sock"), "/status")
            .await
            .ok()?;
        let status: Status = serde_json::from_slice(&body).ok()?;
        Some(status.peers.iter().filter(|peer| peer.alive).count())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Clock ticks (hundredths of a second) of CPU so far.
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let fields = after_name.split_whitespace();
        fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    }

    fn pss_kib(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path).unwrap();
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already, as it should.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn all_hear(agents: &[Process], peers: usize) -> Duration {
    let began = Instant::now();
    for agent in agents {
        loop {
            let heard = agent.alive_peers().await;
            if heard == Some(peers) {
                break;
            }
            let log = agent.log();
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "{heard:?} not {peers}:\n{log}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    began.elapsed()
}

#[tokio::test]
async fn thirteen_agents_start_from_disk_miss_a_killed_one_and_end_cleanly() {
    let site = Site::of(13);
    let ring = KeyRing::generate();
    let root = tempfile::tempdir().unwrap();
    let names: Vec<String> = site.members.keys().map(ToString::to_string).collect();
    let mut agents: Vec<Process> = names
        .iter()
        .map(|name| Process::start(&site, &ring, name, &root))
        .collect();
    println!(
        "13 agents hear each other after {:?}",
        all_hear(&agents, 12).await
    );

    let ticks = |agents: &[Process]| agents.iter().map(Process::cpu_ticks).sum::<u64>();
    let before = ticks(&agents);
    tokio::time::sleep(IDLE).await;
    let percent = (ticks(&agents) - before) as f64 / IDLE.as_secs_f64() / agents.len() as f64;
    let pss = agents.iter().map(Process::pss_kib).sum::<u64>() / 13;
    println!("one agent: {percent:.2} % of a core, {pss} KiB");
    let silent = |agents: &[Process]| -> usize {
        agents
            .iter()
            .map(|agent| agent.log().matches("fell silent").count())
            .sum()
    };
    println!("deaths of the living: {}", silent(&agents));

    let killed = agents.pop().unwrap();
    killed.signal(Signal::SIGKILL);
    println!(
        "the last of 12 survivors knows of a death after {:?}",
        all_hear(&agents, 11).await
    );
    drop(killed);

    for agent in &mut agents {
        agent.signal(Signal::SIGTERM);
        let status = agent.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", agent.log());
        assert!(
            !agent.directory.join("agent.sock").exists(),
            "it leaves no socket behind"
        );
    }
}

#[tokio::test]
async fn a_second_agent_on_the_same_directory_is_refused_in_plain_words() {
    let site = Site::of(1);
    let root = tempfile::tempdir().unwrap();
    let ring = KeyRing::generate();
    let first = Process::start(&site, &ring, "node-1", &root);
    all_hear(std::slice::from_ref(&first), 0).await;
    let second = Command::new(env!("CARGO_BIN_EXE_hamesh-agent"))
        .args(["run", "--metrics-port", "0", "--state-dir"])
        .arg(&first.directory)
        .arg("--runtime-dir")
        .arg(root.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(said.contains("another hamesh-agent works on"), "{said}");
    assert_eq!(
        first.alive_peers().await,
        Some(0),
        "the first one is not disturbed"
    );
}
