//! The lab, driven by its own command as a person would.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::tidy;

/// The `hamesh-lab` program of this build.
#[derive(Debug, Clone)]
pub struct Lab {
    program: PathBuf,
}

impl Lab {
    /// The program beside the one that runs now, or in the workspace's target folder.
    pub fn of_this_build() -> Result<Self> {
        let here = std::env::current_exe().context("cannot tell which program this is")?;
        let program = here
            .ancestors()
            .skip(1)
            .map(|folder| folder.join("hamesh-lab"))
            .find(|program| program.is_file())
            .context("hamesh-lab is not built: cargo build --release --workspace")?;
        Ok(Self { program })
    }

    /// Runs one command of the lab and gives what it printed, whatever its exit code.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let ran = self.command(arguments).stdin(Stdio::null()).output();
        ran.with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// The same for a command that reads `input`, of which arguments hold only so much.
    pub fn run_fed(&self, input: &str, arguments: &[&str]) -> Result<Output> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        // One that ends without reading to the end says why itself.
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes()).ok();
        }
        child.wait_with_output().context("losing the lab's command")
    }

    /// Runs one command of the lab that must succeed, and gives its standard output.
    pub fn must<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|a| a.as_ref().to_owned())
            .collect();
        let output = self.run(&arguments)?;
        ensure!(
            output.status.success(),
            "hamesh-lab {arguments:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a shell script on a node; it must succeed. Gives its standard output.
    pub fn sh(&self, node: &str, script: &str) -> Result<String> {
        self.must(["exec", node, "--", "sh", "-euc", script])
    }

    /// What runs a command from outside, on a network.
    pub fn client_command(&self, network: &str, words: &[&str]) -> Command {
        let lead = ["client", "--network", network, "--"];
        self.command(lead.iter().chain(words))
    }

    /// Runs a command from outside that must succeed. Gives its standard output.
    pub fn client(&self, network: &str, words: &[&str]) -> Result<String> {
        let lead = ["client", "--network", network, "--"];
        self.must(lead.iter().chain(words))
    }

    /// Runs one command of the lab and kills it with SIGKILL after `seconds`, if it still runs.
    pub fn killed_after(&self, seconds: &str, arguments: &[&str]) -> Result<ExitStatus> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let seconds: u64 = seconds.parse().context("seconds")?;
        std::thread::sleep(Duration::from_secs(seconds));
        child.kill().context("cannot kill the lab")?;
        Ok(child.wait()?)
    }

    /// Runs one command of the lab on a terminal of its own, and types into it once the screen
    /// shows the cue. Gives how it ended and all that the screen showed.
    pub fn on_terminal(
        &self,
        arguments: &[&str],
        cue: &str,
        typed: &str,
    ) -> Result<(ExitStatus, String)> {
        let program = self.program.display().to_string();
        let words: Vec<String> = std::iter::once(program.as_str())
            .chain(arguments.iter().copied())
            .map(|word| format!("'{word}'"))
            .collect();
        let mut child = Command::new("script")
            .args(["-qefc", &words.join(" "), "/dev/null"])
            .current_dir(tidy::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("script (package bsdutils)")?;
        let mut keys = child.stdin.take();
        let mut output = child.stdout.take().context("a pipe")?;
        let (mut screen, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let shown = String::from_utf8_lossy(&screen).contains(cue);
            if let Some(mut keys) = keys.take_if(|_| shown) {
                keys.write_all(typed.as_bytes()).context("typing")?;
            }
            match output.read(&mut part).context("the screen")? {
                0 => break,
                length => screen.extend_from_slice(&part[..length]),
            }
        }
        let screen = String::from_utf8_lossy(&screen).into_owned();
        Ok((child.wait()?, screen))
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        // The lab finds the site document and the packages from the top of the tree.
        command.args(arguments).current_dir(tidy::root());
        command
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let list = self.list()?;
        let names = list
            .iter()
            .map(|row| Some(row.get("node")?.as_str()?.to_owned()));
        names
            .collect::<Option<_>>()
            .context("a node without a name in `hamesh-lab list`")
    }

    /// A node's address on the management network.
    pub fn address(&self, node: &str) -> Result<String> {
        let list = self.list()?;
        let row = list
            .iter()
            .find(|row| row.get("node").is_some_and(|name| name == node));
        let address = row.and_then(|row| row.get("addresses")?.get(0)?.as_str());
        let address = address.with_context(|| format!("`hamesh-lab list` has no {node}"))?;
        Ok(address.split('/').next().unwrap_or_default().to_owned())
    }

    fn list(&self) -> Result<Vec<Value>> {
        serde_json::from_str(&self.must(["list", "--output", "json"])?)
            .context("`hamesh-lab list --output json` is not a list in JSON")
    }
}
