//! A client that writes rows without a pause, and what became of each of them.
//!
//! It is a program of its own (`pace.py` and `writer.py`, on PostgreSQL's own library), so that it
//! runs where a client of the lab does; its times are of the machine's monotonic clock, as
//! everyone's here.

use std::collections::BTreeSet;
use std::fmt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hamesh_agent::claims::machine::monotonic;

/// The program.
pub const WRITER: &str = concat!(include_str!("pace.py"), include_str!("writer.py"));
/// Connections that write at the same time.
pub const CONNECTIONS: &str = "8";
/// Between two rows of one connection, in milliseconds.
pub const EVERY_MS: &str = "10";

/// Since the machine started.
pub fn now() -> Duration {
    Duration::from_nanos(monotonic().nanos())
}

/// The client, while it writes.
pub struct Writer(Child);

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub number: u64,
    /// When it was sent.
    pub sent: Duration,
    /// When it was acknowledged; `None`: nothing is known of it.
    pub acknowledged: Option<Duration>,
}

/// What became of all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// In the order in which they were acknowledged; the others first.
    pub rows: Vec<Row>,
    /// What the client complained of.
    pub complaints: String,
}

impl Writer {
    /// Begins; `command` is what runs `python3 -` with the words behind it where the client is,
    /// with libpq's variables.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(mut command: Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Ok(Self(child.context("cannot run the client that writes")?))
    }

    /// Ends it; what became of its rows.
    ///
    /// # Errors
    /// It failed as a whole.
    pub fn end(mut self) -> Result<Written> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().context("losing the client")?;
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "the client that writes ended with {}: {complaints}",
            output.status
        );
        Written::read(&String::from_utf8_lossy(&output.stdout), complaints)
    }
}

impl Written {
    fn read(text: &str, complaints: String) -> Result<Self> {
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let mut word = || {
                words
                    .next()
                    .with_context(|| format!("a short line: {line}"))
            };
            let (number, sent, acknowledged) = (word()?, word()?, word()?);
            let acknowledged = Some(acknowledged).filter(|word| *word != "-");
            anyhow::Ok(Row {
                number: number.parse()?,
                sent: Duration::from_nanos(sent.parse()?),
                acknowledged: acknowledged
                    .map(|word| word.parse().map(Duration::from_nanos))
                    .transpose()?,
            })
        };
        let mut rows = text.lines().map(row).collect::<Result<Vec<_>>>()?;
        rows.sort_by_key(|row| row.acknowledged);
        ensure!(!rows.is_empty(), "the client wrote nothing: {complaints}");
        Ok(Self { rows, complaints })
    }

    /// The times of acknowledgement, in their order.
    pub fn acknowledged(&self) -> impl Iterator<Item = Duration> {
        self.rows.iter().filter_map(|row| row.acknowledged)
    }

    /// Rows of which nothing is known.
    pub fn failed(&self) -> usize {
        self.rows.len() - self.acknowledged().count()
    }

    /// The longest time without an acknowledgement that ended after `since`.
    pub fn longest_silence(&self, since: Duration) -> Duration {
        self.silence_within(since, Duration::MAX)
    }

    /// The longest time without an acknowledgement that ended after `from` and began before
    /// `until`.
    pub fn silence_within(&self, from: Duration, until: Duration) -> Duration {
        let times: Vec<_> = self.acknowledged().collect();
        let pairs = times.windows(2);
        let within = pairs.filter(|pair| pair[1] >= from && pair[0] <= until);
        let silences = within.map(|pair| pair[1] - pair[0]);
        silences.max().unwrap_or_default()
    }

    /// The rows that were acknowledged and are not among those that are there, one a line.
    pub fn lost(&self, there: &str) -> Vec<u64> {
        let there: BTreeSet<&str> = there.lines().map(str::trim).collect();
        let acknowledged = self.rows.iter().filter(|row| row.acknowledged.is_some());
        let numbers = acknowledged.map(|row| row.number);
        numbers
            .filter(|number| !there.contains(number.to_string().as_str()))
            .collect()
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.longest_silence(Duration::ZERO);
        write!(
            f,
            "{} rows acknowledged, {} not, none for {longest:.2?} at the longest",
            self.acknowledged().count(),
            self.failed()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "1 2000000000 2100000000\n0 1000000000 1100000000\n2 3000000000 -\n\
                        3 4000000000 5100000000\n";

    fn written() -> Written {
        Written::read(TOLD, String::new()).expect("rows")
    }

    #[test]
    fn silence_is_between_acknowledgements() {
        let written = written();
        assert_eq!(
            written.longest_silence(Duration::ZERO),
            Duration::from_secs(3)
        );
        assert_eq!(
            written.longest_silence(Duration::from_secs(6)),
            Duration::ZERO
        );
        assert_eq!(
            written.to_string(),
            "3 rows acknowledged, 1 not, none for 3.00s at the longest"
        );
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        assert_eq!(written().lost("0\n3\n"), [1]);
        assert_eq!(written().lost("0\n1\n2\n3\n"), [0; 0]);
    }

    #[test]
    fn a_client_that_wrote_nothing_is_an_error() {
        assert!(Written::read("", String::new()).is_err());
        assert!(Written::read("1 2\n", String::new()).is_err());
    }
}
