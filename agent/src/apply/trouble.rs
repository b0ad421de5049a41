//! What did not work, and what the program at fault had to say about it.

use std::error::Error;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::held::describe;

/// The most lines that are kept of what a program said, and the most characters of each: one
/// message takes them all.
pub const LINES: usize = 20;
const LINE: usize = 400;

/// Why a step was not done. What it had changed by then is observed, like everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{problem}")]
pub struct Trouble {
    /// In one line.
    pub problem: String,
    /// The last lines of the program at fault.
    pub said: Vec<String>,
}

impl Trouble {
    /// No program had anything to say.
    pub fn plain(problem: impl Into<String>) -> Self {
        Self::with(problem, Vec::new())
    }

    /// With what a program said, of which the last lines are kept.
    pub fn with(problem: impl Into<String>, mut said: Vec<String>) -> Self {
        said.drain(..said.len().saturating_sub(LINES));
        let clipped = |line: &str| line.chars().take(LINE).collect();
        Self {
            problem: clipped(&problem.into().replace('\n', " ")),
            said: said.iter().map(|line| clipped(line)).collect(),
        }
    }

    /// What was being done, and the system's reason against it.
    pub fn of(doing: impl Display, error: &(dyn Error + 'static)) -> Self {
        Self::plain(format!("{doing}: {}", describe(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_story_the_end_is_told() {
        let lines = (0..50).map(|n| format!("{n} {}", "x".repeat(1000)));
        let trouble = Trouble::with("it broke\nbadly", lines.collect());
        assert_eq!(trouble.problem, "it broke badly");
        assert_eq!(trouble.said.len(), LINES);
        assert!(trouble.said[0].starts_with("30 ") && trouble.said[0].len() == LINE);
    }
}
