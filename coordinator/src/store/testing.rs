//! A real etcd on 127.0.0.1 under mutual TLS, for tests: as the package runs it, but in a
//! directory of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use super::{EtcdStore, Store, StoreFiles};
use crate::init::store_tls;

/// Debian's etcd; killed by its own process id when dropped.
pub(crate) struct RealEtcd {
    directory: tempfile::TempDir,
    client: u16,
    peer: u16,
    child: Child,
}

impl RealEtcd {
    /// Starts an empty one and waits until it answers.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tls = directory.path().join("store-tls");
        std::fs::create_dir(&tls).expect("a directory");
        let site = "test".parse().expect("a site name");
        let ca = hamesh_proto::ca::CertificateAuthority::create(&site, "store", SystemTime::now());
        let files = store_tls::Files::under(&tls);
        store_tls::issue(&files, &ca, &[], SystemTime::now()).expect("the store's certificates");
        let (client, peer) = (free_port(), free_port());
        let child = spawn(directory.path(), client, peer);
        let etcd = Self {
            directory,
            client,
            peer,
            child,
        };
        etcd.answers().await;
        etcd
    }

    /// A driver for it.
    pub(crate) fn store(&self) -> EtcdStore {
        let tls = store_tls::Files::under(&self.directory.path().join("store-tls"));
        let url = format!("https://127.0.0.1:{}", self.client);
        EtcdStore::open(StoreFiles {
            url,
            ca: tls.ca,
            identity: tls.client,
        })
        .expect("opens")
    }

    /// SIGKILL, and the same data under a new process.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        self.child = spawn(self.directory.path(), self.client, self.peer);
        self.answers().await;
    }

    fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    async fn answers(&self) {
        let store = self.store();
        let mut last = None;
        for _ in 0..12 {
            match store.health().await {
                Ok(_) => return,
                Err(error) => last = Some(error),
            }
        }
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("etcd did not answer within a minute: {last:?}\n{log}");
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn spawn(directory: &Path, client: u16, peer: u16) -> Child {
    let environment = store_tls::environment(&store_tls::Settings {
        member: "test".to_owned(),
        data: directory.join("store"),
        tls: store_tls::Files::under(&directory.join("store-tls")),
        cluster: "test".to_owned(),
        client: (Ipv4Addr::LOCALHOST, client).into(),
        peer: (Ipv4Addr::LOCALHOST, peer).into(),
        joins: None,
    });
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("a log file");
    Command::new("/usr/bin/etcd")
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("/usr/bin/etcd (package etcd-server) is installed")
}
