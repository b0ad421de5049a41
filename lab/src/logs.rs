//! Shows what a node logged, whether it is on or off.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use hamesh_roles::Engine;

use crate::enter::Entry;
use crate::lab::Lab;
use crate::names;
use crate::topology::Node;

/// Prints a node's journal, or its console.
pub fn show(lab: &Lab, node: &Node, console: bool, arguments: &[String]) -> Result<i32> {
    if console {
        let path = names::console_log(&node.name);
        return run(Command::new("cat").arg(path));
    }
    if lab.is_on(node) {
        let words = ["journalctl".to_owned(), "--no-pager".to_owned()];
        let words: Vec<String> = words.into_iter().chain(arguments.iter().cloned()).collect();
        return Entry::node(lab, node, &words, false)?.run();
    }
    match node.engine {
        Engine::Nspawn => {
            let journal = names::upper_dir(&node.name).join("var/log/journal");
            run(Command::new("journalctl")
                .arg("--no-pager")
                .arg("-D")
                .arg(journal)
                .args(arguments))
        }
        Engine::Uml | Engine::Qemu => bail!(
            "{0} is off and its journal is on its own disk; `hamesh-lab start {0}` first, or \
             `logs --console`",
            node.name
        ),
    }
}

fn run(command: &mut Command) -> Result<i32> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("starting {shown}"))?;
    Ok(status.code().unwrap_or(1))
}
