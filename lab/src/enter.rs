//! Runs commands inside nodes and clients, with the caller's own input, output and exit status.
//!
//! The command joins the control groups of where it runs, so it is frozen and killed with the node;
//! the caller stays outside, so it can always be interrupted, and its end ends the command.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use hamesh_roles::Engine;
use nix::sys::signal::{SigSet, Signal};

use crate::engine::console;
use crate::lab::Lab;
use crate::names;
use crate::topology::{Client, Node};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command about to run somewhere in the site.
#[derive(Debug)]
pub struct Entry {
    command: Command,
    place: String,
}

impl Entry {
    /// A command in a node. `terminal`: give it one, if the engine needs to be told.
    ///
    /// # Errors
    /// The node is off, or has no process to enter yet.
    pub fn node(lab: &Lab, node: &Node, words: &[String], terminal: bool) -> Result<Self> {
        let mut entered: Vec<String> = Vec::new();
        let group = match node.engine {
            Engine::Nspawn => {
                let Some(init) = lab.init(node) else {
                    bail!(
                        "{} is off; `hamesh-lab start {}` boots it",
                        node.name,
                        node.name
                    );
                };
                let target = init.to_string();
                entered.extend(
                    [
                        "nsenter", "-t", &target, "-m", "-u", "-i", "-n", "-p", "-C", "-w",
                    ]
                    .map(ToOwned::to_owned),
                );
                entered.push("--".to_owned());
                entered.extend(clean_environment(words));
                names::node_group(&node.name)
            }
            Engine::Uml | Engine::Qemu => {
                entered.extend(console::enter(node, words, terminal));
                // Frozen with the node it would be of no use: it only carries words there.
                names::CLIENT_GROUP.to_owned()
            }
        };
        Self::new(lab, &group, &entered, &node.name)
    }

    /// A command that stands on a network of the site as a client, with the host's files.
    pub fn client(lab: &Lab, client: &Client, words: &[String]) -> Result<Self> {
        let path = names::namespace_path(&client.namespace);
        let mut entered = vec!["nsenter".to_owned(), format!("--net={}", path.display())];
        entered.push("--".to_owned());
        entered.extend(words.iter().cloned());
        Self::new(lab, names::CLIENT_GROUP, &entered, &client.name)
    }

    fn new(lab: &Lab, group: &str, words: &[String], place: &str) -> Result<Self> {
        if group == names::CLIENT_GROUP {
            lab.cgroups.create(group, None)?;
        }
        let script = format!(
            "{} && exec setpriv --pdeathsig KILL -- \"$@\"",
            lab.cgroups.join(group)
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).args(words);
        Ok(Self {
            command,
            place: place.to_owned(),
        })
    }

    /// Runs it on the caller's terminal or pipes, and returns the exit status a shell would show.
    pub fn run(mut self) -> Result<i32> {
        let child = self.spawn()?;
        // From here on an interrupt is the command's to handle.
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGQUIT);
        signals
            .thread_block()
            .context("leaving interrupts to the command")?;
        self.finish(child)
    }

    /// Runs it with this as its input.
    pub fn run_with_input(mut self, input: Stdio) -> Result<i32> {
        self.command.stdin(input);
        let child = self.spawn()?;
        self.finish(child)
    }

    /// Runs it with nothing to read, and returns what it said.
    pub fn output(mut self) -> Result<Output> {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.spawn()?;
        child
            .wait_with_output()
            .with_context(|| format!("losing {}", self.place))
    }

    fn spawn(&mut self) -> Result<Child> {
        self.command
            .spawn()
            .with_context(|| format!("entering {}", self.place))
    }

    fn finish(&self, mut child: Child) -> Result<i32> {
        let status = child
            .wait()
            .with_context(|| format!("losing {}", self.place))?;
        Ok(shell_status(status))
    }
}

/// Starts from an environment of a login, not from the caller's.
fn clean_environment(words: &[String]) -> Vec<String> {
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "env",
        "-i",
        "-C",
        "/root",
        PATH,
        "HOME=/root",
        "LANG=C.UTF-8",
    ]
    .map(ToOwned::to_owned)
    .into_iter()
    .chain([format!("TERM={terminal}")])
    .chain(words.iter().cloned())
    .collect()
}

fn shell_status(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ended_by_a_signal_shows_the_status_of_a_shell() {
        assert_eq!(shell_status(ExitStatus::from_raw(9)), 137);
        assert_eq!(shell_status(ExitStatus::from_raw(3 << 8)), 3);
    }
}
