//! Commands for what no other kind of resource can say, run while their guard fails.

use std::io;
use std::path::Path;
use std::time::Duration;

use hamesh_roles::engine::{Command, Seen, State};

use crate::apply::program;
use crate::apply::trouble::Trouble;

/// How long a guard may take: it only looks.
const LOOKED: Duration = Duration::from_secs(60);
/// How long a command may take: one of them may make a whole control plane.
const RAN: Duration = Duration::from_secs(15 * 60);

/// Whether its guard says that it need not run.
pub async fn look(command: &Command) -> Seen {
    let satisfied = match program::run(&command.unless, Some(LOOKED)).await {
        Ok(ran) => ran.status.success(),
        // What brings the program may be still to come.
        Err(_) if missing(command.unless.first()) => false,
        Err(trouble) => return Seen::Unknown(trouble.problem),
    };
    Seen::Present(State::Command { satisfied })
}

fn missing(program: Option<&String>) -> bool {
    let Some(program) = program else {
        return false;
    };
    let absent = |path: &Path| {
        let looked = std::fs::metadata(path);
        looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    if program.contains('/') {
        return absent(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).all(|folder| absent(&folder.join(program)))
}

/// Runs it, and asks its guard again.
///
/// # Errors
/// [`Trouble`].
pub async fn make(command: &Command) -> Result<(), Trouble> {
    let name = &command.name;
    let ran = program::run(&command.argv, Some(RAN)).await?.well(name)?;
    match look(command).await {
        Seen::Present(State::Command { satisfied: true }) => Ok(()),
        _ => {
            let problem = format!("{name} ended well, but what it was to do is not done");
            Err(Trouble::with(problem, ran.lines()))
        }
    }
}

/// Undoes it, where it says how.
///
/// # Errors
/// [`Trouble`].
pub async fn remove(command: &Command) -> Result<(), Trouble> {
    if command.undo.is_empty() {
        return Ok(());
    }
    let ran = program::run(&command.undo, Some(RAN)).await?;
    ran.well(&format!("undoing {}", command.name)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &str, unless: &[&str], undo: &str) -> Command {
        let shell = |text: &str| ["sh", "-c", text].map(str::to_owned).to_vec();
        Command {
            name: "index".to_owned(),
            argv: shell(argv),
            unless: unless.iter().map(|word| (*word).to_owned()).collect(),
            undo: shell(undo),
        }
    }

    #[tokio::test]
    async fn it_runs_while_its_guard_fails_and_is_undone() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("made").display().to_string();
        let guard = ["test", "-e", &file];
        let command = command(&format!("touch {file}"), &guard, &format!("rm {file}"));
        let is = |satisfied| Seen::Present(State::Command { satisfied });
        assert_eq!(look(&command).await, is(false));
        make(&command).await.expect("it runs");
        assert_eq!(look(&command).await, is(true));
        remove(&command).await.expect("undone");
        assert_eq!(look(&command).await, is(false));
    }

    #[tokio::test]
    async fn a_guard_that_still_fails_is_a_failure_of_the_command() {
        let command = command("echo done", &["false"], "true");
        let trouble = make(&command).await.expect_err("nothing was done");
        assert!(trouble.problem.contains("is not done"), "{trouble}");
        assert_eq!(trouble.said, ["done"]);
    }

    #[tokio::test]
    async fn a_guard_that_is_still_to_come_is_not_satisfied() {
        let command = command("true", &["no-such-program-anywhere"], "true");
        let is = Seen::Present(State::Command { satisfied: false });
        assert_eq!(look(&command).await, is);
    }
}
