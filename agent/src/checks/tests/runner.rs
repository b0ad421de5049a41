//! The whole of it: assignments in, reports out.

use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::message::Health;
use hamesh_proto::ids::ClaimId;
use hamesh_roles::Check;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::Reports;
use super::super::memory::MemoryFile;
use super::super::runner::Checks;
use super::super::units::Systemd;
use super::{GENEROUS, command, shell, tcp};
use crate::assignment::{Assignment, AssignmentId, Claim};
use crate::metrics::Metrics;

fn edge() -> ClaimId {
    "vip/edge".parse().expect("a claim")
}

fn assignment(checks: Vec<Check>) -> Option<Arc<Assignment>> {
    let node: hamesh_proto::ids::NodeId = "haproxy-ext-1".parse().expect("a name");
    let claim = Claim {
        id: edge(),
        addresses: vec!["192.168.30.130".parse().expect("an address")],
        ttl: Duration::from_millis(350),
        checks,
        candidates: [node.clone()].into(),
        beside: false,
    };
    Some(Arc::new(Assignment {
        id: AssignmentId::default(),
        site: "thirteen".parse().expect("a name"),
        node,
        role: None,
        members: [].into(),
        coordinators: vec![],
        revoked_serials: [].into(),
        claims: vec![claim],
        proof: vec![],
        part: None,
    }))
}

struct Bench {
    directory: tempfile::TempDir,
    metrics: Metrics,
    assigned: watch::Sender<Option<Arc<Assignment>>>,
    reports: watch::Receiver<Reports>,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(directory: tempfile::TempDir, checks: Vec<Check>) -> Self {
        let metrics = Metrics::new("1.2.3").expect("no two series clash");
        let (assigned, watched) = watch::channel(assignment(checks));
        let memory = MemoryFile::within(directory.path());
        let nowhere = Systemd::at("unix:path=/nonexistent/bus");
        let (checks, reports) = Checks::new(watched, nowhere, memory, metrics.checks.clone());
        let task = tokio::spawn(checks.run());
        Self {
            directory,
            metrics,
            assigned,
            reports,
            task,
        }
    }

    fn now(&self) -> (Health, String) {
        let reports = self.reports.borrow();
        let report = reports
            .get(&edge())
            .expect("a report from the first moment");
        (report.health, report.why.clone())
    }

    async fn until(&mut self, health: Health) -> String {
        let wanted = |reports: &Reports| reports[&edge()].health == health;
        let found = timeout(GENEROUS, self.reports.wait_for(wanted))
            .await
            .is_ok();
        let (now, why) = self.now();
        assert!(found, "never {health:?}; last {now:?}: {why}");
        why
    }

    async fn stop(self) -> tempfile::TempDir {
        self.task.abort();
        let _ = self.task.await;
        self.directory
    }
}

fn quick(mut check: Check) -> Check {
    check.every = Duration::from_millis(100);
    check.timeout = Duration::from_millis(100);
    check
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test]
async fn a_server_that_comes_and_goes_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut bench = Bench::start(directory(), vec![quick(tcp(address.port()))]);
    assert_eq!(bench.now().0, Health::Failed, "nothing is known yet");
    bench.until(Health::Healthy).await;
    let shown =
        format!("hamesh_agent_check_passing{{check=\"tcp {address}\",claim=\"vip/edge\"}} 1");
    let page = bench.metrics.render();
    assert!(page.contains(&shown), "{page}");
    drop(listener);
    let why = bench.until(Health::Failed).await;
    assert!(why.contains("refused"), "{why}");
    let _again = TcpListener::bind(address).await.expect("the port again");
    bench.until(Health::Healthy).await;
}

#[tokio::test]
async fn a_restart_knows_what_the_run_before_knew() {
    let mut bench = Bench::start(directory(), vec![shell("exit 0")]);
    bench.until(Health::Healthy).await;
    let directory = bench.stop().await;
    // The first result of this run is a long way off.
    let bench = Bench::start(directory, vec![shell("exit 0"), shell("sleep 1000")]);
    assert_eq!(bench.now().0, Health::Healthy);
}

#[tokio::test]
async fn a_check_that_is_taken_away_is_forgotten_and_its_program_killed() {
    let directory = directory();
    let marker = directory.path().join("pid");
    let script = format!("echo $$ > {}; sleep 1000", marker.display());
    let mut bench = Bench::start(
        directory,
        vec![shell(&script), quick(command(&["/bin/false"]))],
    );
    let runs = |pid: &str| std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        tokio::time::sleep(Duration::from_millis(5)).await;
        pid = std::fs::read_to_string(&marker).unwrap_or_default();
    }
    assert!(runs(&pid));
    bench.assigned.send_replace(assignment(vec![]));
    bench.until(Health::Healthy).await;
    let gone = async {
        while runs(&pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(GENEROUS, gone)
        .await
        .expect("the program is killed");
    let page = bench.metrics.render();
    assert!(!page.contains("check_passing{"), "{page}");
}

#[tokio::test]
async fn a_claim_that_is_taken_away_has_no_report() {
    let mut bench = Bench::start(directory(), vec![]);
    bench.until(Health::Healthy).await;
    bench.assigned.send_replace(None);
    let gone = bench.reports.wait_for(|reports| reports.is_empty());
    timeout(GENEROUS, gone)
        .await
        .expect("no report")
        .expect("it goes on");
}
