//! What tests of several modules share.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use zbus::Connection;

/// A message bus of a test's own.
pub(crate) struct Bus {
    daemon: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Bus {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listen = format!("unix:path={}/bus", directory.path().display());
        let mut daemon = Command::new("dbus-daemon")
            .args([
                "--session",
                "--nofork",
                "--print-address",
                "--address",
                &listen,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon (Debian's package dbus-daemon) is installed");
        let mut address = String::new();
        let output = daemon.stdout.take().expect("piped");
        BufReader::new(output)
            .read_line(&mut address)
            .expect("an address");
        Self {
            daemon,
            address: address.trim().to_owned(),
            _directory: directory,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn connect(&self) -> Connection {
        let builder = zbus::connection::Builder::address(self.address.as_str());
        builder.build().await.expect("connected")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
