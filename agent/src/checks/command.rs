//! Whether a program exits with 0.
//!
//! Guarantees: when the probe is over, by its end, its timeout or because nobody wants it any
//! more, the program and all processes of its group are killed; at most [`MOST_OUTPUT`] bytes of
//! what it prints are read, and its last line is told.
//!
//! Absent: a shell, the agent's environment, and hunting for a process that left the group
//! (setsid): systemd ends that one with the agent's own service.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hamesh_roles::checks::CommandLine;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::Outcome;
use super::exit::ProcessEnd;

/// What a check may print, in bytes. One that floods would cost a core.
pub const MOST_OUTPUT: usize = 1 << 20;
/// How much of the last line is told, in bytes.
const LONGEST_LINE: usize = 160;
/// How long a killed program may take to be gone. What hangs in the kernel is left to it.
const LAST_BREATH: Duration = Duration::from_secs(1);
/// Where programs that the command starts by name are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs it once, for at most `timeout`.
pub async fn probe(line: &CommandLine, timeout: Duration) -> Outcome {
    let mut run = Run::start(line).map_err(|error| format!("cannot be started: {error}"))?;
    let ended = tokio::time::timeout(timeout, run.until_it_ends()).await;
    let killed = match ended {
        Ok(Ok(End::Exited)) => None,
        Ok(Ok(End::Flooded)) => Some(format!("printed more than {MOST_OUTPUT} bytes, was killed")),
        Ok(Err(error)) => Some(format!("could not be watched, was killed: {error}")),
        Err(_) => Some(format!("still ran after {timeout:?}, was killed")),
    };
    let status = run.finish().await;
    let why = match (killed, status) {
        (None, Ok(status)) if status.success() => return Ok(()),
        (None, Ok(status)) => status.to_string(),
        (None, Err(error)) => format!("its end is not known: {error}"),
        (Some(killed), _) => killed,
    };
    match run.said.last() {
        line if line.is_empty() => Err(why),
        line => Err(format!("{why}: {line}")),
    }
}

/// A program that runs.
struct Run {
    child: Child,
    group: Group,
    process: ProcessEnd,
    output: Receiver,
    said: LastLine,
}

enum End {
    Exited,
    Flooded,
}

impl Run {
    fn start(line: &CommandLine) -> io::Result<Self> {
        let (output, input) = io::pipe()?;
        let output = Receiver::from_owned_fd(OwnedFd::from(output))?;
        // Dropped at the end of this statement, so that only the program holds the pipe's end.
        let child = Command::new(line.program())
            .args(line.arguments())
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id();
        let group = Group(pid);
        // Not reaped yet: the number is its own.
        let process = ProcessEnd::watch(pid.unwrap_or_default()).map_err(io::Error::other)?;
        Ok(Self {
            child,
            group,
            process,
            output,
            said: LastLine::default(),
        })
    }

    /// Reads what it prints until it exits. It stays a zombie, so that its number is its own.
    async fn until_it_ends(&mut self) -> io::Result<End> {
        let mut buffer = [0; 4096];
        let (mut total, mut open) = (0, true);
        loop {
            tokio::select! {
                biased;
                read = self.output.read(&mut buffer), if open => match read? {
                    0 => open = false,
                    n => {
                        total += n;
                        self.said.push(&buffer[..n]);
                        if total > MOST_OUTPUT {
                            return Ok(End::Flooded);
                        }
                    }
                },
                exited = self.process.wait() => return exited.map(|()| End::Exited),
            }
        }
    }

    /// Kills what is left of it, and takes its status.
    async fn finish(&mut self) -> io::Result<ExitStatus> {
        self.group.kill();
        let status = tokio::time::timeout(LAST_BREATH, self.child.wait()).await;
        status.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The processes of one run; killed when dropped.
struct Group(Option<u32>);

impl Group {
    /// Only while the first of them is not reaped: else the number could be another's.
    fn kill(&mut self) {
        let number = self.0.take().and_then(|pid| i32::try_from(pid).ok());
        if let Some(number) = number {
            // Gone already is what is wanted.
            let _ = killpg(Pid::from_raw(number), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last line that is not blank, cut to [`LONGEST_LINE`].
#[derive(Default)]
struct LastLine {
    line: Vec<u8>,
    before: Vec<u8>,
}

impl LastLine {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.line.trim_ascii().is_empty() => self.line.clear(),
                b'\n' => self.before = std::mem::take(&mut self.line),
                _ if self.line.len() < LONGEST_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn last(&self) -> String {
        let line = match self.line.trim_ascii() {
            [] => self.before.trim_ascii(),
            line => line,
        };
        let text = String::from_utf8_lossy(line);
        text.chars().filter(|c| !c.is_control()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(printed: &[&str]) -> String {
        let mut said = LastLine::default();
        for piece in printed {
            said.push(piece.as_bytes());
        }
        said.last()
    }

    #[test]
    fn the_last_line_that_says_something_is_told() {
        assert_eq!(last(&[]), "");
        assert_eq!(last(&["a\n", "b\n\n  \n"]), "b");
        assert_eq!(last(&["a\nb", "c"]), "bc");
        assert_eq!(last(&["\u{1b}[31mred\u{7}\n"]), "[31mred");
        assert_eq!(last(&[&"x".repeat(100_000)]).len(), LONGEST_LINE);
        assert_eq!(last(&["\n\n\n"]), "");
    }
}
