//! Runs a program and keeps what it said.
//!
//! Guarantees: it is asked nothing and speaks English; one that takes longer than it may is killed
//! with all that it started. What it says goes to a file: a program whose executor is restarted
//! goes on to its end, where a pipe would break.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use super::trouble::Trouble;

/// The most that is read of what a program prints: more than any table of nftables.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// What came of a program.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// What it printed, then what it complained about, line by line.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let told = lines.map(str::trim_end).filter(|line| !line.is_empty());
        told.map(str::to_owned).collect()
    }

    /// Nothing, if it ended well; else what it had to say.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn well(self, doing: &str) -> Result<Self, Trouble> {
        if self.status.success() {
            return Ok(self);
        }
        let words = |line: &&str| line.contains(char::is_alphanumeric);
        let told = || self.stderr.lines().map(str::trim).filter(words);
        // Some show the place after the error, and some the error after what led to it.
        let why = told()
            .find(|line| line.contains("rror"))
            .or(told().next_back());
        let why = why.map_or_else(|| self.status.to_string(), str::to_owned);
        Err(Trouble::with(format!("{doing}: {why}"), self.lines()))
    }
}

/// Runs `argv`; `within` `None`: it takes as long as it takes.
///
/// # Errors
/// [`Trouble`] when it cannot be run, or not in time. How it ended is in the answer.
pub async fn run<S: AsRef<OsStr>>(argv: &[S], within: Option<Duration>) -> Result<Ran, Trouble> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Trouble::plain("no program is named"));
    };
    let program = program.as_ref();
    let name = program.to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Trouble::of(&name, &error);
    let (mut stdout, mut stderr) = (
        tempfile::tempfile().map_err(failed)?,
        tempfile::tempfile().map_err(failed)?,
    );
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?)
        .process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let status = match within {
        None => child.wait().await.map_err(failed)?,
        Some(within) => match timeout(within, child.wait()).await {
            Ok(status) => status.map_err(failed)?,
            Err(_) => {
                let group = child.id().and_then(|pid| i32::try_from(pid).ok());
                if let Some(group) = group {
                    killpg(Pid::from_raw(group), Signal::SIGKILL)
                        .unwrap_or_else(|error| tracing::debug!(%error, "it just ended"));
                }
                child.wait().await.map_err(failed)?;
                let problem = format!("{name} did not end within {within:?}");
                let said = read(&mut stderr).map_err(failed)?;
                let said = said.lines().map(str::to_owned).collect();
                return Err(Trouble::with(problem, said));
            }
        },
    };
    Ok(Ran {
        status,
        stdout: read(&mut stdout).map_err(failed)?,
        stderr: read(&mut stderr).map_err(failed)?,
    })
}

fn read(file: &mut File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_says_when_it_fails_is_told() {
        let argv = ["sh", "-c", "echo one; echo 'two is wrong' >&2; exit 3"];
        let ran = run(&argv, None).await.expect("it runs");
        let trouble = ran.well("counting").expect_err("it failed");
        assert_eq!(trouble.problem, "counting: two is wrong");
        assert_eq!(trouble.said, ["one", "two is wrong"]);
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_what_it_started() {
        let argv = ["sh", "-c", "echo waiting >&2; sleep 600 & wait"];
        let within = Some(Duration::from_millis(200));
        let trouble = run(&argv, within).await.expect_err("it hangs");
        assert!(trouble.problem.contains("did not end"), "{trouble}");
        assert_eq!(trouble.said, ["waiting"]);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let trouble = run(&["/nonexistent/program"], None).await;
        let trouble = trouble.expect_err("it is not there");
        assert!(
            trouble.problem.contains("/nonexistent/program"),
            "{trouble}"
        );
    }
}
