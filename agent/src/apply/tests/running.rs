//! The loop, with real files and commands.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use hamesh_proto::orders::{self, Purpose};
use hamesh_proto::v1;
use hamesh_roles::Role;
use hamesh_roles::engine::{Desired, Directory, Gate, Probe, Resource};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::believing::Site;
use super::{desired, file, order};
use crate::apply::converge::Converge;
use crate::apply::drivers::owners;
use crate::apply::intake::Intake;
use crate::apply::machine::Machine;
use crate::apply::report::unseen;
use crate::apply::socket::Server;
use crate::apply::store::Store;
use crate::apply::wire;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The loop in a folder of its own.
struct Playground {
    root: TempDir,
    store: Store,
    machine: Machine,
    site: Site,
    intake: Intake,
    report: watch::Receiver<v1::RoleReport>,
    running: tokio::task::JoinHandle<()>,
}

impl Playground {
    fn begin() -> Self {
        Self::within(tempfile::tempdir().expect("a folder"), Site::new())
    }

    fn within(root: TempDir, site: Site) -> Self {
        let store = Store::open(&root.path().join("state"), &root.path().join("run"));
        let store = store.expect("folders");
        let machine = Machine::new(store.clone(), root.path().join("identity"));
        if store.anchor().expect("read").is_none() {
            store.save_anchor(&site.anchor()).expect("written");
        }
        let intake = Intake::new(store.clone());
        let (told, report) = watch::channel(unseen(store.good().expect("read").as_ref()));
        let converge = Converge::new(store.clone(), machine.clone(), intake.orders(), told);
        let running = tokio::spawn(async move {
            let ended = converge.run().await;
            panic!("it ended: {ended:?}");
        });
        Self {
            root,
            store,
            machine,
            site,
            intake,
            report,
            running,
        }
    }

    /// As a crash and a new start would.
    fn restart(self) -> Self {
        self.running.abort();
        Self::within(self.root, self.site)
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("web.cfg")
    }

    fn order(&self, order: v1::RoleOrder) {
        self.intake.order(&self.site.sign(Purpose::Order, &order));
    }

    async fn until(&self, phase: v1::RolePhase, order: &v1::RoleOrder) -> v1::RoleReport {
        let at_rest = |it: &v1::RoleReport| {
            let of = (&it.digest, it.attempt) == (&order.digest, order.attempt);
            of && it.phase() == phase && it.of == 0
        };
        let mut listening = self.report.clone();
        let reached = timeout(PATIENCE, listening.wait_for(at_rest)).await;
        let reached = reached.map(|report| report.expect("the loop runs").clone());
        reached.unwrap_or_else(|_| panic!("last seen: {:?}", *self.report.borrow()))
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("read")
    }
}

#[tokio::test]
async fn an_order_is_carried_out_once_and_drift_is_put_right_when_it_is_looked_at() {
    let site = Playground::begin();
    let wanted = order(&desired(vec![file(&site.path(), "good 1\n")]), 7, 0);
    site.order(wanted.clone());
    let report = site.until(v1::RolePhase::Done, &wanted).await;
    assert_eq!(report.corrected, 0);
    assert!(
        site.text()
            .ends_with("from assignment 0.7; changes are put back.\ngood 1\n")
    );

    fs::write(site.path(), "by hand\n").expect("written");
    let later = v1::RoleOrder {
        attempt: 1,
        ..wanted
    };
    site.order(later.clone());
    let report = site.until(v1::RolePhase::Done, &later).await;
    assert_eq!(report.corrected, 1);
    assert!(site.text().ends_with("good 1\n"));
}

#[tokio::test]
async fn an_order_that_its_program_or_a_gate_refuses_fails_and_what_worked_comes_back() {
    let site = Playground::begin();
    let extra = site.root.path().join("extra");
    let first = order(&desired(vec![file(&site.path(), "good 1\n")]), 1, 0);
    site.order(first.clone());
    site.until(v1::RolePhase::Done, &first).await;

    let bad = desired(vec![file(&extra, "good\n"), file(&site.path(), "bad\n")]);
    let bad = order(&bad, 2, 0);
    site.order(bad.clone());
    let report = site.until(v1::RolePhase::Failed, &bad).await;
    assert!(report.problem.contains("does not accept"), "{report:?}");
    assert!(site.text().ends_with("good 1\n") && !extra.exists());

    let shut: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let mut unseen = desired(vec![file(&site.path(), "good 2\n")]);
    unseen.gates.push(Gate {
        name: "the door".to_owned(),
        probe: Probe::Tcp { address: shut },
        within_ms: 300,
    });
    let unseen = order(&unseen, 3, 0);
    site.order(unseen.clone());
    let report = site.until(v1::RolePhase::Failed, &unseen).await;
    assert!(
        report.problem.starts_with("the door was not seen"),
        "{report:?}"
    );
    assert!(site.text().ends_with("good 1\n"), "{}", site.text());

    // It is not tried again by itself, but it is when an operator says so.
    let site = site.restart();
    site.until(v1::RolePhase::Failed, &unseen).await;
    let listener = TcpListener::bind(shut).expect("the port");
    let again = v1::RoleOrder {
        attempt: 1,
        ..unseen
    };
    site.order(again.clone());
    site.until(v1::RolePhase::Done, &again).await;
    assert!(site.text().ends_with("good 2\n"));
    drop(listener);
}

#[tokio::test]
async fn what_it_last_worked_as_is_told_from_the_beginning_on_whatever_fails() {
    let site = Playground::begin();
    let as_database = |text: &str| Desired {
        role: Some(Role::Database),
        ..desired(vec![file(&site.path(), text)])
    };
    let bad = order(&as_database("bad\n"), 1, 0);
    site.order(bad.clone());
    let report = site.until(v1::RolePhase::Failed, &bad).await;
    assert_eq!(report.worked_as, "");
    let good = order(&as_database("good\n"), 2, 0);
    site.order(good.clone());
    let report = site.until(v1::RolePhase::Done, &good).await;
    assert_eq!(report.worked_as, "database");

    let worse = order(&as_database("worse\n"), 3, 0);
    let none = order(&desired(Vec::new()), 4, 0);
    let site = site.restart();
    assert_eq!(site.report.borrow().worked_as, "database");
    site.order(worse.clone());
    let report = site.until(v1::RolePhase::Failed, &worse).await;
    assert_eq!(report.worked_as, "database");
    site.order(none.clone());
    let report = site.until(v1::RolePhase::Done, &none).await;
    assert_eq!(report.worked_as, "");
}

#[tokio::test]
async fn an_order_to_observe_changes_nothing_and_says_what_differs() {
    let site = Playground::begin();
    let mut watched = order(&desired(vec![file(&site.path(), "good\n")]), 1, 0);
    watched.observe = true;
    site.order(watched.clone());
    let report = site.until(v1::RolePhase::Observing, &watched).await;
    let told: Vec<&str> = report.drift.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(
        told,
        [format!("write file {}: missing", site.path().display())]
    );
    assert_eq!(report.drift[0].change, ["+ good"]);
    assert!(!site.path().exists());
}

#[tokio::test]
async fn a_role_that_goes_leaves_what_was_there_before_it() {
    let site = Playground::begin();
    fs::write(site.path(), "mine\n").expect("written");
    let folder = site.root.path().join("folder");
    let (owner, group) = owners::names(&fs::metadata(site.root.path()).expect("a folder"));
    let made = Resource::Directory(Directory {
        path: folder.display().to_string(),
        owner,
        group,
        mode: 0o755,
        data: false,
    });
    let wanted = desired(vec![made, file(&site.path(), "good\n")]);
    let wanted = order(&wanted, 1, 0);
    site.order(wanted.clone());
    site.until(v1::RolePhase::Done, &wanted).await;
    assert!(folder.exists());
    let nothing = order(&Desired::default(), 2, 0);
    site.order(nothing.clone());
    site.until(v1::RolePhase::Done, &nothing).await;
    assert_eq!(site.text(), "mine\n");
    assert!(!folder.exists());
    assert_eq!(site.store.owned().expect("read").resources, []);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_told_of_and_the_one_before_stays() {
    let site = Playground::begin();
    let wanted = order(&desired(vec![file(&site.path(), "good\n")]), 1, 0);
    site.order(wanted.clone());
    site.until(v1::RolePhase::Done, &wanted).await;
    let mut unread = order(&Desired::default(), 2, 0);
    unread.desired = b"{}".to_vec();
    site.order(unread.clone());
    let report = site.until(v1::RolePhase::Failed, &unread).await;
    assert!(
        report.problem.contains("upgrade hamesh-agent"),
        "{report:?}"
    );
    assert!(site.text().ends_with("good\n"));
}

async fn heard(stream: &mut tokio::net::UnixStream) -> v1::apply_answer::Kind {
    let answer = timeout(PATIENCE, wire::read::<v1::ApplyAnswer>(stream)).await;
    let answer = answer.expect("in time").expect("read").expect("an answer");
    answer.kind.expect("a kind")
}

#[tokio::test]
async fn the_socket_tells_the_report_answers_what_would_be_done_and_refuses_what_is_forged() {
    let site = Playground::begin();
    let socket = site.store.socket();
    let listener = crate::http::bind_local(&socket).expect("bound");
    let server = Server {
        intake: site.intake.clone(),
        report: site.report.clone(),
        machine: site.machine.clone(),
        store: site.store.clone(),
    };
    let serving = tokio::spawn(server.run(listener));
    let mut stream = tokio::net::UnixStream::connect(&socket)
        .await
        .expect("open");
    let first = heard(&mut stream).await;
    assert!(matches!(first, v1::apply_answer::Kind::Report(_)));
    let wanted = order(&desired(vec![file(&site.path(), "good\n")]), 1, 0);
    let asked = v1::RolePlanRequest {
        id: "q".to_owned(),
        asked: Some(site.site.sign(Purpose::Question, &wanted)),
        outside: Vec::new(),
    };
    let kind = Some(v1::apply_request::Kind::Plan(asked));
    let request = v1::ApplyRequest { kind };
    wire::write(&mut stream, &request).await.expect("written");
    let v1::apply_answer::Kind::Plan(plan) = heard(&mut stream).await else {
        panic!("no plan");
    };
    let forged = site.site.credentials("agent/edge-1");
    let forged = orders::sign(
        &forged,
        Purpose::Order,
        &"edge-1".parse().expect("a name"),
        &wanted,
    );
    let kind = Some(v1::apply_request::Kind::Order(forged));
    let request = v1::ApplyRequest { kind };
    wire::write(&mut stream, &request).await.expect("written");
    let v1::apply_answer::Kind::Report(report) = heard(&mut stream).await else {
        panic!("no report");
    };
    let refused = report.refused.expect("told");
    assert_eq!((refused.count, refused.digest), (1, wanted.digest));
    assert!(refused.why.contains("no coordinator"), "{}", refused.why);
    let told: Vec<&str> = plan.steps.iter().map(|it| it.text.as_str()).collect();
    let write = format!("write file {}: missing", site.path().display());
    assert_eq!(told, [write.as_str(), "prove: "]);
    assert!(!site.path().exists());
    serving.abort();
}
