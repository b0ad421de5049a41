//! The command line of `hamesh-coordinator`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::Dirs;
use crate::ctl::time::parse_span;

/// The coordinator of a hamesh site.
///
/// Keeps the site's desired state and identities, tells each agent its part, and answers coordctl.
/// `coordctl init` sets it up and starts it.
#[derive(Debug, Parser)]
#[command(name = "hamesh-coordinator", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until told to stop (what hamesh-coordinator.service does)
    Run {
        /// Where the coordinator's files are
        #[arg(long, value_name = "DIR", default_value_os_t = Dirs::default().state().to_owned())]
        state_dir: PathBuf,
        /// How long the certificates live that agents are given, such as 12h or 7d
        #[arg(
            long,
            value_name = "SPAN",
            env = "HAMESH_CERTIFICATE_LIFETIME",
            default_value = "7d",
            value_parser = lifetime
        )]
        certificate_lifetime: Duration,
    },
    /// Make this machine what its agent was told: a coordinator, or none any more (what
    /// hamesh-coordinate.service does, as root)
    Coordinate {
        /// Where the agent keeps its state
        #[arg(long, value_name = "DIR", default_value = "/var/lib/hamesh-agent")]
        agent_dir: PathBuf,
        /// Where the coordinator's files are
        #[arg(long, value_name = "DIR", default_value_os_t = Dirs::default().state().to_owned())]
        state_dir: PathBuf,
    },
    /// Write man pages or shell completions
    #[command(hide = true)]
    Generate {
        /// What to write
        what: Generated,
        /// The directory to write to
        directory: PathBuf,
    },
}

/// The shortest lifetime. Certificates are dated back, and renewed at two thirds from there: one
/// with less would be due for renewal as soon as it is issued.
const SHORTEST_LIFE: Duration = Duration::from_secs(180);

fn lifetime(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if span < SHORTEST_LIFE {
        return Err("a certificate lives 3m at least".to_owned());
    }
    Ok(span)
}

/// What can be made from the command line's own description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Generated {
    /// Manual pages
    Man,
    /// For bash, zsh and fish
    Completions,
}

/// Writes man pages or completions into a directory, which is made if need be.
pub fn generate(what: Generated, directory: &std::path::Path) -> std::io::Result<()> {
    use clap::CommandFactory as _;
    std::fs::create_dir_all(directory)?;
    let mut command = Cli::command();
    match what {
        Generated::Man => clap_mangen::generate_to(command, directory),
        Generated::Completions => {
            let name = command.get_name().to_owned();
            for shell in [
                clap_complete::Shell::Bash,
                clap_complete::Shell::Zsh,
                clap_complete::Shell::Fish,
            ] {
                clap_complete::generate_to(shell, &mut command, &name, directory)?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn man_pages_and_completions_are_written() {
        let directory = tempfile::tempdir().expect("a directory");
        generate(Generated::Man, directory.path()).expect("man pages");
        generate(Generated::Completions, directory.path()).expect("completions");
        for file in [
            "hamesh-coordinator.1",
            "_hamesh-coordinator",
            "hamesh-coordinator.bash",
        ] {
            assert!(directory.path().join(file).exists(), "{file} is missing");
        }
    }
}
