//! A client outside, an edge, an inner proxy and servers, each in a network namespace of its own:
//! `outer -- edge -- inner -- servers`. Nothing of it is left when it is dropped.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hamesh_roles::engine::{Desired, Resource};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

static NETWORKS: AtomicU32 = AtomicU32::new(0);

pub struct Network {
    pub outer: Namespace,
    pub edge: Namespace,
    pub inner: Namespace,
    pub servers: Namespace,
}

/// A network namespace with a name.
pub struct Namespace {
    name: String,
}

/// A program that runs until it is dropped.
pub struct Daemon(Child);

/// Runs a program to its end, which must be a good one; gives all that it said.
pub fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("`{program}` cannot be run: is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}\n{said}",
        words.join(" "),
        output.status
    );
    Ok(said.into_owned())
}

/// Waits until a thing is so, and fails with what was last seen.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate is pure, but what real programs do takes time"
)]
pub fn eventually(what: &str, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(last) if start.elapsed() > PATIENCE => return Err(last.context(what.to_owned())),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Network {
    /// Namespaces and the lines between them, without an address.
    pub fn new() -> Result<Self> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let namespace = |name: &str| Namespace::new(format!("hamesh-roles-{name}-{id}"));
        let network = Self {
            outer: namespace("outer")?,
            edge: namespace("edge")?,
            inner: namespace("inner")?,
            servers: namespace("servers")?,
        };
        for (left, at_left, at_right, right) in [
            (&network.outer, "edge", "untrust", &network.edge),
            (&network.edge, "trust", "trust", &network.inner),
            (&network.inner, "servers", "trust", &network.servers),
        ] {
            let command = format!(
                "link add {at_left} netns {} type veth peer name {at_right} netns {}",
                left.name, right.name
            );
            run("ip", &command.split(' ').collect::<Vec<_>>())?;
            left.ip(&format!("link set {at_left} up"))?;
            right.ip(&format!("link set {at_right} up"))?;
        }
        Ok(network)
    }
}

impl Namespace {
    pub fn new(name: String) -> Result<Self> {
        run("ip", &["netns", "add", &name]).context("these tests need root")?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs a command inside.
    pub fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let inside = ["netns", "exec", &self.name, program];
        run("ip", &[&inside, words].concat())
    }

    /// Leads a line from a bridge of this name here to an interface of the same name there.
    pub fn plug(&self, other: &Namespace, bridge: &str, port: &str) -> Result<()> {
        let there = &other.name;
        self.ip(&format!(
            "link add {port} type veth peer name {bridge} netns {there}"
        ))?;
        self.ip(&format!("link set {port} up master {bridge}"))?;
        other.ip(&format!("link set {bridge} up"))
    }

    /// Starts a program inside that runs until it is dropped.
    pub fn spawn(
        &self,
        program: &str,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Daemon> {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .args(words);
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Daemon(child.with_context(|| format!("start {program}"))?))
    }

    /// Runs `ip` inside.
    pub fn ip(&self, command: &str) -> Result<()> {
        let words: Vec<&str> = command.split(' ').collect();
        self.run("ip", &words).map(drop)
    }

    /// Gives addresses, by interface; those of IPv6 at once.
    pub fn addresses(&self, addresses: &[(&str, &str)]) -> Result<()> {
        for (device, address) in addresses {
            let at_once = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("address add {address} dev {device}{at_once}"))?;
        }
        Ok(())
    }

    /// Loads the firewall of a node.
    pub fn load(&self, desired: &Desired, folder: &Path) -> Result<()> {
        for resource in &desired.resources {
            if let Resource::Table(table) = resource {
                let path = folder.join("loaded.nft");
                fs::write(&path, &table.rules)?;
                self.run("nft", &["--file", &path.display().to_string()])?;
            }
        }
        Ok(())
    }

    /// How many packets the firewall's rule with this comment has counted.
    pub fn counted(&self, comment: &str) -> Result<u64> {
        let table = self.run("nft", &["list", "table", "inet", "hamesh_firewall"])?;
        let line = table.lines().find(|line| line.contains(comment));
        let line = line.with_context(|| format!("no rule `{comment}` in\n{table}"))?;
        let mut words = line.split(' ').skip_while(|word| *word != "packets");
        let count = words.nth(1).context("a number of packets")?;
        Ok(count.parse()?)
    }

    /// Starts HAProxy with a configuration. Whether it serves is to be seen.
    pub fn haproxy(&self, config: &Path) -> Result<Daemon> {
        self.spawn(
            "haproxy",
            &["-db", "-f", &config.display().to_string()],
            &[],
        )
    }

    /// What a client here is answered: headers and body.
    pub fn asks(&self, words: &str) -> Result<String> {
        let mut all = vec!["-q", "-s", "-S", "-i", "-g", "-k", "--noproxy", "*"];
        all.extend(["--connect-timeout", "2", "--max-time", "5"]);
        all.extend(words.split(' '));
        self.run("curl", &all)
    }

    /// Whether a client here gets a connection at all.
    pub fn reaches(&self, url: &str) -> bool {
        self.asks(url).is_ok()
    }

    /// Waits for an answer that has all these parts.
    pub fn is_answered(&self, words: &str, parts: &[&str]) -> Result<String> {
        let mut answer = String::new();
        eventually(words, || {
            answer = self.asks(words)?;
            match parts.iter().find(|part| !answer.contains(**part)) {
                None => Ok(()),
                Some(part) => bail!("no `{part}` in\n{answer}"),
            }
        })?;
        Ok(answer)
    }
}

impl Daemon {
    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test that fails has better words than this one would have.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
