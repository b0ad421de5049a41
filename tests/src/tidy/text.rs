//! Rules on the text of files: width, length, words, the opening of a module.

use super::{Finding, Source};

/// Widest line, in characters.
pub const WIDTH: usize = 100;
/// Longest source file, in lines: beyond "about 400" it has two jobs.
pub const LENGTH: usize = 420;

/// A file that may be longer than [`LENGTH`], and why.
#[derive(Clone, Copy, Debug)]
pub struct LongFile {
    /// Path within the tree.
    pub path: &'static str,
    /// Why it is one file all the same.
    pub reason: &'static str,
}

/// Words that must not stand anywhere, each in two halves so that this file holds none of them.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "TO",
        "DO",
        "finish it, or write it down where work is planned",
    ),
    (
        "FIX",
        "ME",
        "finish it, or write it down where work is planned",
    ),
    ("todo", "!(", "unfinished code"),
    ("unimplemented", "!(", "unfinished code"),
    ("dbg", "!(", "left over from debugging"),
    ("#[ign", "ore", "a test that does not run proves nothing"),
    (
        "deb.deb",
        "ian.org",
        "the machine's own apt sources are used",
    ),
    (
        "security.deb",
        "ian.org",
        "the machine's own apt sources are used",
    ),
    ("crates", ".io", "the machine's own cargo settings are used"),
    ("pypi", ".org", "no package registry is named"),
    ("registry.np", "mjs", "no package registry is named"),
    ("proxy.gol", "ang.org", "no package registry is named"),
    ("docker", ".io", "no package registry is named"),
    ("/wo", "rk/", "a path of one machine only"),
    ("DES", "IGN.md", "not a file of this tree"),
    ("STY", "LE.md", "not a file of this tree"),
    ("FAC", "TS.md", "not a file of this tree"),
    ("CONTR", "ACT.md", "not a file of this tree"),
    (
        "closing ",
        "note",
        "a word of the workplace, not of the project",
    ),
    (
        "sub",
        "agent",
        "a word of the workplace, not of the project",
    ),
    ("<<<<", "<<<", "a conflict was left unresolved"),
];

/// Every line that is wider than [`WIDTH`]. Exempt is what cannot be broken: rows of a table,
/// links, lists of a crate's features, what a program printed (golden files).
pub fn width(source: &Source) -> Vec<Finding> {
    if source.path.contains("/golden/") {
        return Vec::new();
    }
    let exempt = |line: &str| match source.path.rsplit('.').next() {
        Some("md") => line.starts_with('|') || line.contains("]("),
        Some("toml") => line.contains("features = ["),
        _ => false,
    };
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| line.chars().count() > WIDTH && !exempt(line))
        .map(|(n, line)| source.finding(n + 1, format!("{} characters wide", line.chars().count())))
        .collect()
}

/// Files with more than [`LENGTH`] lines, and entries of the allow-list that are not needed.
pub fn length(sources: &[Source], allowed: &[LongFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is("rs") || s.is("sh")) {
        let lines = source.text.lines().count();
        let excused = allowed.iter().any(|a| a.path == source.path);
        if lines > LENGTH && !excused {
            findings.push(source.finding(0, format!("{lines} lines: split it by its jobs")));
        }
        if lines <= LENGTH && excused {
            findings.push(source.finding(0, "in the allow-list of long files, but not long"));
        }
    }
    for entry in allowed {
        let (path, line) = (entry.path.to_owned(), 0);
        if entry.reason.len() < 10 {
            let message = "the allow-list gives no reason for this file".to_owned();
            findings.push(Finding {
                path,
                line,
                message,
            });
        } else if !sources.iter().any(|s| s.path == entry.path) {
            let message = "in the allow-list of long files, but not in the tree".to_owned();
            findings.push(Finding {
                path,
                line,
                message,
            });
        }
    }
    findings
}

/// Words that must not stand in the tree.
pub fn words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, line) in source.text.lines().enumerate() {
        for (head, tail, why) in FORBIDDEN {
            let word = format!("{head}{tail}");
            if line.contains(&word) {
                findings.push(source.finding(n + 1, format!("`{word}`: {why}")));
            }
        }
    }
    findings
}

/// Rust files that do not open with what they are for.
pub fn opening(source: &Source) -> Vec<Finding> {
    if !source.is("rs") || source.text.starts_with("//! ") {
        return Vec::new();
    }
    let message = "a module opens with `//!`: what it guarantees, the idea, what is absent";
    vec![source.finding(1, message)]
}

/// Shell scripts that go on after an error.
pub fn strict_shell(source: &Source) -> Vec<Finding> {
    let shebang = source.text.lines().next().unwrap_or_default();
    let strict = match shebang {
        "#!/bin/bash" | "#!/usr/bin/env bash" => "set -euo pipefail",
        "#!/bin/sh" | "#!/bin/sh -e" => "set -e",
        _ => return Vec::new(),
    };
    if source.text.lines().any(|line| line.trim() == strict) {
        return Vec::new();
    }
    vec![source.finding(1, format!("a script starts with `{strict}`"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: impl Into<String>) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_line_of_101_characters_is_found_and_one_of_100_is_not() {
        let wide = source(
            "a.rs",
            format!("{}\n{}\n", "x".repeat(100), "é".repeat(101)),
        );
        assert_eq!(width(&wide), [wide.finding(2, "101 characters wide")]);
        assert!(width(&source("a.md", format!("| {} |", "x".repeat(200)))).is_empty());
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_excused() {
        let long = source("a.rs", "x\n".repeat(LENGTH + 1));
        assert_eq!(length(std::slice::from_ref(&long), &[]).len(), 1);
        let excuse = LongFile {
            path: "a.rs",
            reason: "one table that is read as a whole",
        };
        assert!(length(&[long], &[excuse]).is_empty());
    }

    #[test]
    fn an_excuse_without_need_reason_or_file_is_found() {
        let short = source("a.rs", "x\n");
        let excuse = LongFile {
            path: "a.rs",
            reason: "one table that is read as a whole",
        };
        assert_eq!(length(std::slice::from_ref(&short), &[excuse]).len(), 1);
        assert_eq!(length(&[], &[excuse]).len(), 1);
        let long = source("a.rs", "x\n".repeat(LENGTH + 1));
        assert_eq!(
            length(
                &[long],
                &[LongFile {
                    path: "a.rs",
                    reason: ""
                }]
            )
            .len(),
            1
        );
    }

    #[test]
    fn every_forbidden_word_is_found() {
        for (head, tail, _) in FORBIDDEN {
            let bad = source("a.rs", format!("fine\n  see {head}{tail} here\n"));
            let found = words(&bad);
            assert!(
                !found.is_empty() && found.iter().all(|f| f.line == 2),
                "{head}{tail}"
            );
        }
        assert!(words(&source("a.rs", "nothing to see")).is_empty());
    }

    #[test]
    fn a_module_without_an_opening_is_found() {
        assert_eq!(opening(&source("a.rs", "use std::fmt;\n")).len(), 1);
        assert!(opening(&source("a.rs", "//! Holds a thing.\n")).is_empty());
        assert!(opening(&source("a.md", "# Title\n")).is_empty());
    }

    #[test]
    fn a_script_that_ignores_errors_is_found() {
        assert_eq!(strict_shell(&source("run", "#!/bin/bash\necho\n")).len(), 1);
        assert_eq!(strict_shell(&source("run", "#!/bin/sh\necho\n")).len(), 1);
        assert!(strict_shell(&source("run", "#!/bin/bash\nset -euo pipefail\n")).is_empty());
        assert!(strict_shell(&source("notes", "echo\n")).is_empty());
    }
}
