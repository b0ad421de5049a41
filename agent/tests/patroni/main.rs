//! What an agent sees of a database: Patroni's own REST API, over TLS as the role sets it up,
//! around a member that exists only here. Needs the package `patroni`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hamesh_agent::observe::database::DatabaseObserver;
use hamesh_proto::ca::{NODE_VALID, Profile, Subject};
use hamesh_proto::credentials::{LiveCredentials, PrivateKey};
use hamesh_proto::pem_text;
use hamesh_proto::v1::DatabaseState;
use support::Site;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A member that is what it is told, a line for each change.
struct Patroni {
    child: Child,
    at: SocketAddr,
    _folder: TempDir,
}

impl Patroni {
    /// Shows a certificate of this site for this address, and wants one of the same site.
    fn start(site: &Site, named: Ipv4Addr) -> Self {
        let key = PrivateKey::generate();
        let profile = Profile {
            subject: Subject::CommonName("postgresql on node-1".to_owned()),
            dns: vec!["node-1".to_owned()],
            ips: vec![named.into()],
            valid: NODE_VALID,
        };
        let issued = site.ca.issue(&key.csr_der(), &profile, SystemTime::now());
        let leaf = pem_text::certificate(&issued.unwrap().der);
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("postgresql.pem");
        let chain = leaf + &pem_text::certificate(site.ca.certificate_der());
        fs::write(&pem, chain).unwrap();
        fs::write(folder.path().join("postgresql.pem.key"), key.to_pem()).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = free.local_addr().unwrap();
        drop(free);
        // Debian's own, which has Patroni's modules.
        let child = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/patroni/api.py"))
            .args([at.to_string(), pem.display().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(at).is_err() {
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _folder = folder;
        Self { child, at, _folder }
    }

    fn is(&mut self, what: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{what}").unwrap();
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An observer on a node of this role that gossips at the address of the member.
fn observed(site: &Site, role: &str, at: SocketAddr) -> watch::Receiver<DatabaseState> {
    let mut assignment = site.assignment("node-1", 1);
    assignment.role = Some(role.to_owned());
    for member in assignment.members.values_mut() {
        member.gossip.set_ip(at.ip());
    }
    let (held, assignment) = watch::channel(Some(Arc::new(assignment)));
    let observer = DatabaseObserver {
        credentials: LiveCredentials::new(site.credentials("agent/node-1")),
        assignment,
        port: at.port(),
    };
    let (told, state) = watch::channel(DatabaseState::Unspecified);
    tokio::spawn(async move {
        observer.run(told).await;
        drop(held);
    });
    state
}

async fn until(state: &mut watch::Receiver<DatabaseState>, wanted: DatabaseState) {
    let seen = timeout(PATIENCE, state.wait_for(|now| *now == wanted)).await;
    seen.unwrap_or_else(|_| panic!("no {wanted:?}")).unwrap();
}

#[tokio::test]
async fn what_patroni_says_of_its_member_is_told_as_it_changes() {
    let site = Site::of(1);
    let mut patroni = Patroni::start(&site, Ipv4Addr::LOCALHOST);
    let mut state = observed(&site, "database", patroni.at);
    for (is, told) in [
        ("replica", DatabaseState::Replica),
        ("leader", DatabaseState::Leader),
        // Without the leader's key, before PostgreSQL is stopped.
        ("demoted", DatabaseState::Other),
        ("stopped", DatabaseState::Other),
        ("leader", DatabaseState::Leader),
    ] {
        patroni.is(is);
        until(&mut state, told).await;
    }
    drop(patroni);
    until(&mut state, DatabaseState::Silent).await;
}

#[tokio::test]
async fn who_shows_no_certificate_of_the_site_for_its_address_is_not_believed() {
    let (site, other) = (Site::of(1), Site::of(1));
    let strangers = [
        Patroni::start(&other, Ipv4Addr::LOCALHOST),
        Patroni::start(&site, Ipv4Addr::new(127, 0, 0, 9)),
    ];
    for mut stranger in strangers {
        stranger.is("leader");
        let mut state = observed(&site, "database", stranger.at);
        until(&mut state, DatabaseState::Silent).await;
    }
}

#[tokio::test]
async fn a_node_of_another_role_is_no_database_whatever_answers_there() {
    let site = Site::of(1);
    let mut patroni = Patroni::start(&site, Ipv4Addr::LOCALHOST);
    patroni.is("leader");
    until(
        &mut observed(&site, "database", patroni.at),
        DatabaseState::Leader,
    )
    .await;
    let mut state = observed(&site, "k8s-worker", patroni.at);
    let told = timeout(Duration::from_secs(2), state.changed()).await;
    assert!(told.is_err(), "{told:?}");
}
