//! A booted site, seen and used as its operators do: through `coordctl` on the coordinator,
//! `hamesh-agent` on each node, and the lab's own commands for what people do to machines.
//!
//! Every look at the site is a fresh one; nothing is kept between looks.

pub mod traces;
pub mod views;
pub mod vip;
pub mod wait;

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lab::Lab;
use views::{AgentStatus, SiteStatus};
use wait::until;

/// The node whose coordinator answers.
pub const COORDINATOR: &str = "control-1";

/// Long enough for anything a site does by itself, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    /// Fails unless the command ended with `code` and every one of `words` is said.
    pub fn expect(&self, code: i32, words: &[&str]) -> Result<()> {
        ensure!(
            self.code == code,
            "exit code {} instead of {code}: {self:?}",
            self.code
        );
        for word in words {
            let said = self.stdout.contains(word) || self.stderr.contains(word);
            ensure!(said, "`{word}` is not said: {self:?}");
        }
        Ok(())
    }

    /// What a script printed, which must have succeeded.
    fn of_script(self, node: &str, script: &str) -> Result<String> {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        if code != 0 {
            bail!("on {node}, `{script}` ended with {code}:\n{stdout}{stderr}");
        }
        Ok(stdout)
    }
}

/// Whether a node's part in a claim is its holder's, by a lease or by the others' promises.
pub fn holds(part: &str) -> bool {
    part == "holding" || part == "holding-alone"
}

/// The site that the lab runs.
#[derive(Debug, Clone)]
pub struct Site {
    /// What people do to its machines.
    pub lab: Lab,
    /// Every node of it.
    pub nodes: Vec<String>,
}

impl Site {
    /// The site that `lab` has brought up.
    pub fn of(lab: Lab) -> Result<Self> {
        let nodes = lab.nodes()?;
        ensure!(
            nodes.iter().any(|n| n == COORDINATOR),
            "no {COORDINATOR} among {nodes:?}"
        );
        Ok(Site { lab, nodes })
    }

    /// Every node but those named.
    pub fn others(&self, than: &[&str]) -> Vec<&str> {
        let nodes = self.nodes.iter().map(String::as_str);
        nodes.filter(|n| !than.contains(n)).collect()
    }

    /// Runs a command on a node, whatever comes of it.
    pub fn on(&self, node: &str, command: &[&str]) -> Result<Answer> {
        let lead = ["exec", node, "--"];
        Ok(self.lab.run(lead.iter().chain(command))?.into())
    }

    /// Runs a script on a node, whatever comes of it.
    pub fn try_sh(&self, node: &str, script: &str) -> Result<Answer> {
        self.on(node, &["bash", "-uc", script])
    }

    /// Runs a script on a node that must succeed.
    pub fn sh(&self, node: &str, script: &str) -> Result<String> {
        let answer = self.on(node, &["bash", "-euo", "pipefail", "-c", script])?;
        answer.of_script(node, script)
    }

    /// Runs a script on a node that reads `input` and must succeed.
    pub fn sh_fed(&self, node: &str, script: &str, input: &str) -> Result<String> {
        let command = ["exec", node, "--", "bash", "-euo", "pipefail", "-c", script];
        let answer = Answer::from(self.lab.run_fed(input, &command)?);
        answer.of_script(node, script)
    }

    /// Runs coordctl as the site's first operator, whatever comes of it.
    pub fn try_coordctl(&self, arguments: &[&str]) -> Result<Answer> {
        let command: Vec<&str> = ["coordctl"].iter().chain(arguments).copied().collect();
        self.on(COORDINATOR, &command)
    }

    /// Runs coordctl as the site's first operator; it must succeed.
    pub fn coordctl(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.try_coordctl(arguments)?;
        ensure!(answer.code == 0, "coordctl {arguments:?}: {answer:?}");
        Ok(answer.stdout)
    }

    /// Runs coordctl and reads the JSON it prints.
    pub fn query<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let command: Vec<&str> = arguments
            .iter()
            .copied()
            .chain(["--output", "json"])
            .collect();
        let text = self.coordctl(&command)?;
        serde_json::from_str(&text).with_context(|| {
            format!("coordctl {arguments:?} printed what was not expected: {text}")
        })
    }

    /// What the coordinator says of the site.
    pub fn status(&self) -> Result<SiteStatus> {
        self.query(&["status"])
    }

    /// What the agent of a node says.
    pub fn agent(&self, node: &str) -> Result<AgentStatus> {
        let answer = self.on(node, &["hamesh-agent", "status", "--output", "json"])?;
        ensure!(
            answer.code == 0,
            "hamesh-agent status on {node}: {answer:?}"
        );
        serde_json::from_str(&answer.stdout).with_context(|| format!("{node}: {}", answer.stdout))
    }

    /// A node's part in a claim, by its own word; `gone` when its agent does not answer.
    pub fn part(&self, node: &str, claim: &str) -> Result<String> {
        let answer = self.on(node, &["hamesh-agent", "status", "--output", "json"])?;
        if answer.code != 0 {
            return Ok("gone".to_owned());
        }
        let status: Value = serde_json::from_str(&answer.stdout).context("no JSON")?;
        let part = &status["claims"]["claims"][claim]["part"];
        Ok(part.as_str().unwrap_or("none").to_owned())
    }

    /// Waits until a node's part in a claim is this, by its own word.
    pub fn until_part(&self, node: &str, claim: &str, wanted: &str) -> Result<()> {
        until(&format!("{node} is {wanted}"), PATIENCE, || {
            let part = self.part(node, claim)?;
            ensure!(part == wanted, "{node} is {part}");
            Ok(())
        })
    }

    /// Waits until the agents of all of `watchers` see exactly `alive` of the other members alive.
    pub fn until_seen(&self, watchers: &[&str], alive: &[&str]) -> Result<()> {
        let want: BTreeSet<&str> = alive.iter().copied().collect();
        for watcher in watchers {
            until(
                &format!("{watcher} hears exactly {want:?} and itself"),
                PATIENCE,
                || {
                    let status = self.agent(watcher)?;
                    let mut heard = status.hears();
                    heard.insert(watcher);
                    let missing: Vec<_> = want.difference(&heard).collect();
                    let extra: Vec<_> = heard
                        .difference(&want)
                        .filter(|extra| *extra != watcher)
                        .collect();
                    ensure!(
                        missing.is_empty() && extra.is_empty(),
                        "not heard: {missing:?}, heard all the same: {extra:?}"
                    );
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    /// Waits until the coordinator says that a node is in `state`.
    pub fn until_state(&self, node: &str, state: &str) -> Result<()> {
        until(
            &format!("the coordinator says that {node} is {state}"),
            PATIENCE,
            || {
                let status = self.status()?;
                let seen = status.node(node)?;
                ensure!(seen.state == state, "{} ({})", seen.state, seen.reason);
                Ok(())
            },
        )
    }

    /// Waits until every node is alive to the coordinator, with a session, and to every other.
    pub fn until_whole(&self) -> Result<()> {
        until("the coordinator says that all are alive", PATIENCE, || {
            let status = self.status()?;
            for node in &self.nodes {
                let seen = status.node(node)?;
                let well = seen.state == "alive" && seen.session;
                ensure!(
                    well,
                    "{node} is {} ({}), session {}",
                    seen.state,
                    seen.reason,
                    seen.session
                );
            }
            Ok(())
        })?;
        let all = self.others(&[]);
        self.until_seen(&all, &all)
    }
}
