//! Rules that hold for every file of the tree.
//!
//! Each rule is a pure function from texts to [`Finding`]s, so that it can be tried on bad input;
//! `tests/tidy.rs` applies them to the tree itself. What rustfmt and clippy already hold (layout,
//! the length of functions, `unwrap`) is not repeated here.

pub mod crates;
pub mod docs;
pub mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One breach of a rule, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path within the tree.
    pub path: String,
    /// Line, counted from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// One text file of the tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path within the tree.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl Source {
    /// A breach in this file.
    pub fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }

    /// Whether the file's name ends with `.extension`.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|e| e == extension)
    }
}

/// The root of the tree these tests were built from.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .map_or_else(|| tests.to_path_buf(), Path::to_path_buf)
}

/// Every text file that git tracks or would track, in order of path.
///
/// # Errors
/// When git cannot list the tree or a listed file cannot be read.
pub fn sources(root: &Path) -> Result<Vec<Source>> {
    let listing = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("cannot run git ls-files")?;
    ensure!(
        listing.status.success(),
        "git ls-files failed: {:?}",
        listing
    );
    let names = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
    let mut sources = Vec::new();
    for path in names.split_terminator('\0') {
        let full = root.join(path);
        if full.is_symlink() || !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources.dedup_by(|a, b| a.path == b.path);
    Ok(sources)
}

/// All findings as one text, a line each.
pub fn report(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("  {f}\n")).collect()
}
