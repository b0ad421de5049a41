//! `generate ...`: what the packages ship beside the program.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::ctl::cli::{Cli, Generate};
use crate::ctl::failure::Failure;

/// `generate ...`
pub fn run(what: &Generate) -> Result<(), Failure> {
    let (Generate::Man { directory } | Generate::Completions { directory }) = what;
    let written = fs::create_dir_all(directory).and_then(|()| match what {
        Generate::Man { directory } => clap_mangen::generate_to(Cli::command(), directory),
        Generate::Completions { directory } => completions(directory),
    });
    written.map_err(|error| Failure::file("write to", directory, &error))
}

fn completions(directory: &Path) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command(), "coordctl", directory)?;
    }
    Ok(())
}

fn command() -> Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_man_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().to_owned();
        run(&Generate::Man {
            directory: directory.clone(),
        })
        .expect("man pages");
        run(&Generate::Completions {
            directory: directory.clone(),
        })
        .expect("completions");
        for name in [
            "coordctl.1",
            "coordctl-status.1",
            "coordctl-token-create.1",
            "coordctl-gossip-rotate-key.1",
            "coordctl.bash",
            "_coordctl",
            "coordctl.fish",
        ] {
            let text = fs::read_to_string(directory.join(name)).expect(name);
            assert!(text.len() > 100, "{name}");
        }
        assert!(
            !directory.join("coordctl-generate.1").exists(),
            "hidden commands have no page"
        );
    }
}
