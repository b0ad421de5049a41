//! A passphrase, from a file or from the terminal, where it is not shown.

use std::io::{self, BufRead, IsTerminal, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::ctl::cli::PassphraseSource;
use crate::ctl::failure::Failure;

/// The longest passphrase: a line of any key file.
const LONGEST: u64 = 4096;
const AGAIN: &str = "name a file with --passphrase-file, or run this on a terminal";

/// One that exists.
pub fn known(source: &PassphraseSource, of: &str) -> Result<Zeroizing<String>, Failure> {
    match &source.passphrase_file {
        Some(path) => from_file(path),
        None => asked(&format!("Passphrase of {of}: ")),
    }
}

/// A new one: on a terminal it is typed twice.
pub fn fresh(source: &PassphraseSource, of: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &source.passphrase_file {
        return from_file(path);
    }
    let first = asked(&format!("New passphrase of {of}: "))?;
    let second = asked("The same again: ")?;
    if *first != *second {
        let message = "the two passphrases differ; nothing was changed";
        return Err(Failure::invalid(message, "run the command again"));
    }
    Ok(first)
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file("read", path, &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut line = Zeroizing::new(String::new());
    let mut reader = io::BufReader::new(file.take(LONGEST));
    reader.read_line(&mut line).map_err(failed)?;
    Ok(trimmed(&line))
}

fn asked(question: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let message = "nobody can be asked for the passphrase: standard input is not a terminal";
        return Err(Failure::invalid(message, AGAIN));
    }
    let failed = |error: io::Error| Failure::failed(format!("cannot ask: {error}"), AGAIN);
    let silence = Silence::begin().map_err(|error| failed(error.into()))?;
    eprint!("{question}");
    let mut line = Zeroizing::new(String::new());
    let read = io::stderr()
        .flush()
        .and_then(|()| stdin.lock().read_line(&mut line));
    drop(silence);
    eprintln!();
    read.map_err(failed)?;
    Ok(trimmed(&line))
}

fn trimmed(line: &str) -> Zeroizing<String> {
    Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed, for as long as this lives.
struct Silence(Termios);

impl Silence {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone: then nobody sees anything anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
