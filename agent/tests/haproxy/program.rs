//! An HAProxy in a folder of its own, and certificates for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hamesh_agent::haproxy::runtime::ask;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ended, and its folder removed, when it is dropped.
pub struct Haproxy {
    folder: TempDir,
    child: Child,
}

impl Haproxy {
    /// Runs with these files, and with this configuration after its global part; `FOLDER` in it is
    /// where the files are.
    pub async fn start(files: &[(&str, &str)], config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let global = format!("global\n    stats socket {path}/admin.sock mode 600 level admin\n");
        let text = global + &config.replace("FOLDER", &path);
        for (name, text) in [files, &[("haproxy.cfg", text.as_str())]].concat() {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", &format!("{path}/haproxy.cfg")]);
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.expect("haproxy is installed");
        let haproxy = Self { folder, child };
        haproxy.until("show info", "Uptime_sec").await;
        haproxy
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The whole path of one of its files.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Has it do something that it says nothing of.
    pub async fn tell(&self, command: &str) {
        let answer = ask(&self.socket(), command).await;
        assert_eq!(answer.expect("an answer"), "", "{command}");
    }

    /// Waits until it answers with this part.
    pub async fn until(&self, command: &str, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = ask(&self.socket(), command).await;
            match answer {
                Ok(answer) if answer.contains(part) => return answer,
                last => assert!(Instant::now() < end, "no `{part}`, last seen: {last:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Accepts connections, and says nothing.
pub async fn accepting() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let at = listener.local_addr().expect("an address");
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    at
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

/// A port that nobody listens on.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}
