//! Runs the programs the lab is built from; a failure shows the command and what it said.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Most lines of a failed program's words that an error repeats: the last ones say why.
const WORDS: usize = 15;

/// One run of a program.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    stdin: Option<String>,
}

impl Tool {
    /// A program with its arguments.
    pub fn new<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C.UTF-8");
        Self {
            command,
            stdin: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it a text to read.
    pub fn stdin(mut self, text: String) -> Self {
        self.stdin = Some(text);
        self
    }

    /// Runs it to the end.
    ///
    /// # Errors
    /// It could not be started, or failed; with its own words.
    pub fn run(self) -> Result<String> {
        let shown = self.shown();
        let output = self.output()?;
        if !output.status.success() {
            bail!("`{shown}` failed ({}){}", output.status, words(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to the end, whatever its exit status.
    ///
    /// # Errors
    /// It could not be started.
    pub fn output(mut self) -> Result<Output> {
        let shown = self.shown();
        let input = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("`{shown}` could not be started"))?;
        if let (Some(text), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that stops reading says why on its stderr, which matters more.
            let _ = pipe.write_all(text.as_bytes());
        }
        child
            .wait_with_output()
            .with_context(|| format!("`{shown}` was lost"))
    }

    fn shown(&self) -> String {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let arguments = self.command.get_args().map(|a| quote(&a.to_string_lossy()));
        std::iter::once(program)
            .chain(arguments)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn words(output: &Output) -> String {
    let text = [output.stderr.as_slice(), output.stdout.as_slice()]
        .into_iter()
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
        .find(|text| !text.is_empty());
    let Some(text) = text else {
        return " and said nothing".to_owned();
    };
    let lines: Vec<&str> = text.lines().collect();
    format!(
        ":\n  {}",
        lines[lines.len().saturating_sub(WORDS)..].join("\n  ")
    )
}

/// Quotes one word for a POSIX shell, if it needs it.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_words() {
        let error = Tool::new("sh", ["-c", "echo it broke >&2; exit 3"])
            .run()
            .expect_err("fails");
        let text = error.to_string();
        assert!(text.contains("sh -c 'echo it broke >&2; exit 3'"), "{text}");
        assert!(
            text.contains("exit status: 3") && text.contains("it broke"),
            "{text}"
        );
    }

    #[test]
    fn a_quoted_word_reaches_the_shell_unchanged() {
        for word in ["", "plain", "two words", "it's", "$HOME", "a\nb", "*", "\\"] {
            let script = format!("printf %s {}", quote(word));
            let out = Tool::new("sh", ["-c", &script]).run().expect("prints");
            assert_eq!(out, word);
        }
    }

    #[test]
    fn a_program_reads_what_it_is_given() {
        let out = Tool::new("cat", [""; 0])
            .stdin("hello".to_owned())
            .run()
            .expect("cat");
        assert_eq!(out, "hello");
    }
}
