//! What is wrong with a document: where, what, and what was probably meant.

use std::fmt;

use serde::Serialize;

/// A place in a document, both counted from 1 and the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong, or doubtful, in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Where in the text.
    #[serde(flatten)]
    pub at: Position,
    /// Where in the document: "nodes.node-2.role". Empty: the document itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// The same, with the file's name in front, as compilers print it.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        struct InFile<'a>(&'a Diagnostic, &'a str);
        impl fmt::Display for InFile<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.1, self.0)
            }
        }
        InFile(self, file)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The candidate nearest to `wrong`, if one is near enough to have been meant.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may differ: "nod-2" means "node-2", "web" does not mean "edge".
    let allowed = wrong.chars().count().div_ceil(3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", if some candidate is near enough.
pub fn did_you_mean<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, candidates).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["node-1", "node-2", "control-1"];
        assert_eq!(nearest("nod-2", names), Some("node-2"));
        assert_eq!(nearest("node2", names), Some("node-2"));
        assert_eq!(nearest("contorl-1", names), Some("control-1"));
        assert_eq!(nearest("database-1", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn a_diagnostic_reads_like_a_compilers() {
        let wrong = Diagnostic {
            at: Position {
                line: 12,
                column: 5,
            },
            path: "nodes.node-2.rolle".into(),
            message: "unknown key `rolle`".into(),
            hint: Some("did you mean `role`?".into()),
        };
        assert_eq!(
            wrong.in_file("site.yaml").to_string(),
            "site.yaml:12:5: nodes.node-2.rolle: unknown key `rolle`; did you mean `role`?"
        );
    }
}
