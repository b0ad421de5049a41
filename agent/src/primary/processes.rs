//! Finds PostgreSQL and Patroni among the machine's processes, and sees whether they are there yet.
//!
//! Guarantees that one process is never taken for another with its number: the moment of its start
//! tells them apart. A process that ended and was not reaped yet counts as gone.

use std::fs;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// PostgreSQL's first process. Its children write other words over their command lines.
    PostgreSql,
    /// Patroni's daemon.
    Patroni,
}

impl Program {
    fn is(self, words: &[&[u8]]) -> bool {
        let has = |end: &[u8]| words.iter().any(|word| word.ends_with(end));
        match self {
            Self::PostgreSql => words[0].ends_with(b"/bin/postgres") && has(b"-D"),
            Self::Patroni => has(b"/bin/patroni"),
        }
    }
}

/// Looks for a program again and again, cheaply while it is there.
#[derive(Debug)]
pub struct Watched {
    program: Program,
    known: Option<Process>,
}

impl Watched {
    /// Nothing was seen yet.
    pub const fn new(program: Program) -> Self {
        Self {
            program,
            known: None,
        }
    }

    /// The process now; `None`: there is none.
    pub fn look(&mut self) -> Option<Process> {
        self.known = self.known.filter(|known| alive(known.pid) == Some(*known));
        if self.known.is_none() {
            self.known = find(self.program);
        }
        self.known
    }
}

fn find(program: Program) -> Option<Process> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        program.is(&words)
    };
    pids.filter(is_it).find_map(alive)
}

/// The process with this number, unless it has ended.
fn alive(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    read(pid, &stat)
}

/// Reads proc(5)'s `stat`: what follows the name, which may hold anything, parentheses too.
fn read(pid: u32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let started = fields.nth(18)?.parse().ok()?;
    (!ended).then_some(Process { pid, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) (b) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 \
                        200 18446744073709551615";

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let started = 98765;
        assert_eq!(read(42, STAT), Some(Process { pid: 42, started }));
        assert_eq!(read(42, &STAT.replace(") S", ") Z")), None);
        assert_eq!(read(42, "42 (a"), None);
    }

    #[test]
    fn programs_are_known_by_their_words() {
        let is = |program: Program, line: &[u8]| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            program.is(&words)
        };
        let postgres = b"/usr/lib/postgresql/15/bin/postgres\0-D\0/var/lib/x\0";
        assert!(is(Program::PostgreSql, postgres));
        assert!(!is(Program::PostgreSql, b"postgres: a: walwriter \0"));
        assert!(is(
            Program::Patroni,
            b"/usr/bin/python3\0/usr/bin/patroni\0/etc/x\0"
        ));
        assert!(!is(Program::Patroni, b"") && !is(Program::PostgreSql, b""));
    }

    #[test]
    fn this_process_is_alive_and_one_that_never_was_is_not() {
        let own = std::process::id();
        assert_eq!(alive(own).map(|it| it.pid), Some(own));
        assert_eq!(alive(u32::MAX), None);
    }
}
