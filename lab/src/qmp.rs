//! Stops and resumes a machine that QEMU emulates, over its control socket (QMP).
//!
//! One connection per command: greeting, capabilities, command. Lines that are not answers are
//! events, and are passed over.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// How long the emulator may take over an answer: it may be in the middle of a disk write.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stops the machine and all its clocks.
pub fn stop(socket: &Path) -> Result<()> {
    execute(socket, "stop")
}

/// Lets the machine and its clocks go on.
pub fn resume(socket: &Path) -> Result<()> {
    execute(socket, "cont")
}

fn execute(socket: &Path, command: &str) -> Result<()> {
    let asked = || format!("asking {} to `{command}`", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(asked)?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .with_context(asked)?;
    let mut lines = BufReader::new(stream.try_clone().with_context(asked)?).lines();
    for word in ["qmp_capabilities", command] {
        writeln!(stream, "{}", json!({"execute": word})).with_context(asked)?;
        loop {
            let line = lines.next().context("the machine is off");
            match answer(&line.and_then(|line| Ok(line?)).with_context(asked)?)? {
                Answer::Done => break,
                Answer::Other => {}
                Answer::Refused(why) => bail!("{}: refused: {why}", asked()),
            }
        }
    }
    Ok(())
}

/// What a line of the emulator means to who waits for an answer.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The command was carried out.
    Done,
    /// It was not; why.
    Refused(String),
    /// The greeting or an event.
    Other,
}

fn answer(line: &str) -> Result<Answer> {
    let value: Value =
        serde_json::from_str(line).with_context(|| format!("no answer of QMP: `{line}`"))?;
    if value.get("return").is_some() {
        return Ok(Answer::Done);
    }
    let refused = value.pointer("/error/desc").map(ToString::to_string);
    Ok(refused.map_or(Answer::Other, Answer::Refused))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn events_and_the_greeting_are_no_answers() {
        assert_eq!(answer(r#"{"return": {}}"#).ok(), Some(Answer::Done));
        for line in [r#"{"QMP": {}}"#, r#"{"event": "STOP", "timestamp": {}}"#] {
            assert_eq!(answer(line).ok(), Some(Answer::Other), "{line}");
        }
        let refused = answer(r#"{"error": {"class": "GenericError", "desc": "no"}}"#);
        assert_eq!(refused.ok(), Some(Answer::Refused("\"no\"".to_owned())));
        assert!(answer("garbage").is_err());
    }

    #[test]
    fn a_machine_that_goes_off_in_mid_answer_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let machine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            stream.write_all(b"{\"QMP\": {}}\n").expect("a greeting");
        });
        let error = stop(&path).expect_err("it is off");
        machine.join().expect("the machine's part");
        assert!(format!("{error:#}").contains("stop"), "{error:#}");
    }
}
