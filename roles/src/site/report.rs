//! The faults of one document, found while its values are read to their types.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use crate::diagnostic::{Diagnostic, Position, did_you_mean};
use crate::role::Role;
use crate::yaml::{Key, Kind, Value};

/// How many faults of one document are told: enough to mend it by, and a bound for a document
/// that is wrong everywhere.
const MOST_FAULTS: usize = 100;
/// How many known names a message lists when none is near.
const MOST_NAMED: usize = 8;

/// The faults found so far, and where each part of the document stands.
#[derive(Default)]
pub(super) struct Report {
    positions: BTreeMap<String, Position>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    untold: usize,
}

/// The values of a mapping whose keys are known.
pub(super) type Fields<'v> = BTreeMap<&'v str, &'v Value>;

impl Report {
    pub(super) fn error(&mut self, path: &str, message: String, hint: Option<String>) {
        self.push(self.diagnostic(path, message, hint));
    }

    pub(super) fn warn(&mut self, path: &str, message: String, hint: Option<String>) {
        if self.warnings.len() < MOST_FAULTS {
            self.warnings.push(self.diagnostic(path, message, hint));
        }
    }

    /// "unknown node `nod-2`; did you mean `node-2`?"
    pub(super) fn unknown<'a>(
        &mut self,
        path: &str,
        what: &str,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        if self.errors.len() >= MOST_FAULTS {
            self.untold += 1;
            return;
        }
        let mut known = known.into_iter().collect::<Vec<_>>();
        let hint = did_you_mean(wrong, known.iter().copied()).or_else(|| {
            known.truncate(MOST_NAMED);
            (!known.is_empty()).then(|| format!("known: {}", known.join(", ")))
        });
        self.error(path, format!("unknown {what} `{wrong}`"), hint);
    }

    /// Whether the document says anything at `path`, be it wrong.
    pub(super) fn says(&self, path: &str) -> bool {
        self.positions.contains_key(path)
    }

    /// Whether an error was told at `path` or below it.
    pub(super) fn faulty(&self, path: &str) -> bool {
        self.errors.iter().any(|fault| {
            let below = fault.path.strip_prefix(path);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Where `path`, or the nearest part above it, stands.
    pub(super) fn position(&self, mut path: &str) -> Position {
        loop {
            if let Some(at) = self.positions.get(path) {
                return *at;
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return Position { line: 1, column: 1 },
            }
        }
    }

    /// The errors, in the order of the text, and the warnings likewise.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        self.errors.sort_by_key(|fault| fault.at);
        self.warnings.sort_by_key(|fault| fault.at);
        if self.untold > 0 {
            let at = self
                .errors
                .last()
                .map_or(Position { line: 1, column: 1 }, |last| last.at);
            let message = format!("{} more faults are not listed", self.untold);
            let hint = Some("mend these first".into());
            self.errors.push(Diagnostic {
                at,
                path: String::new(),
                message,
                hint,
            });
        }
        (self.errors, self.warnings)
    }

    fn push(&mut self, fault: Diagnostic) {
        if self.errors.len() < MOST_FAULTS {
            self.errors.push(fault);
        } else {
            self.untold += 1;
        }
    }

    fn diagnostic(&self, path: &str, message: String, hint: Option<String>) -> Diagnostic {
        Diagnostic {
            at: self.position(path),
            path: path.to_owned(),
            message,
            hint,
        }
    }
}

/// Reading of values. Each tells what is wrong and gives what could be read.
impl Report {
    /// A mapping whose keys are all among `known`.
    pub(super) fn fields<'v>(
        &mut self,
        path: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Option<Fields<'v>> {
        let mut fields = Fields::new();
        for (key, value) in self.mapping(path, value)? {
            let path = child(path, &key.text);
            if known.contains(&key.text.as_str()) {
                fields.insert(&key.text, value);
            } else {
                self.positions.insert(path.clone(), key.at);
                self.unknown(&path, "key", &key.text, known.iter().copied());
            }
        }
        Some(fields)
    }

    /// The entries of a mapping whose keys are names, with the path of each.
    pub(super) fn entries<'v, N>(
        &mut self,
        path: &str,
        value: &'v Value,
    ) -> Vec<(N, String, &'v Value)>
    where
        N: FromStr<Err: Display>,
    {
        let mut entries = Vec::new();
        for (key, value) in self.mapping(path, value).unwrap_or_default() {
            let path = child(path, &key.text);
            match key.text.parse::<N>() {
                Ok(name) => entries.push((name, path, value)),
                Err(error) => {
                    self.positions.insert(path.clone(), key.at);
                    self.error(&path, error.to_string(), None);
                }
            }
        }
        entries
    }

    /// Tells which of the `required` keys `fields` lacks.
    pub(super) fn require(&mut self, path: &str, fields: &Fields<'_>, required: &[&str]) {
        for key in required.iter().filter(|key| !fields.contains_key(*key)) {
            self.error(path, format!("`{key}` is missing"), None);
        }
    }

    /// A list, each item read by `item`.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        value: &Value,
        item: fn(&mut Report, &str, &Value) -> Option<T>,
    ) -> Vec<T> {
        self.positions.insert(path.to_owned(), value.at);
        let Kind::List(items) = &value.kind else {
            let message = format!("is {}, and must be a list", value.kind.noun());
            self.error(path, message, Some("write it in brackets: [a, b]".into()));
            return Vec::new();
        };
        let numbered = items.iter().enumerate();
        numbered
            .filter_map(|(i, value)| item(self, &format!("{path}[{i}]"), value))
            .collect()
    }

    /// A text.
    pub(super) fn text<'v>(&mut self, path: &str, value: &'v Value) -> Option<&'v str> {
        self.positions.insert(path.to_owned(), value.at);
        match &value.kind {
            Kind::Text { text, quoted } if !quoted && is_null(text) => {
                self.error(path, "has no value".into(), None);
                None
            }
            Kind::Text { text, quoted: _ } => Some(text),
            Kind::Map(_) | Kind::List(_) => {
                self.error(
                    path,
                    format!("is {}, and must be text", value.kind.noun()),
                    None,
                );
                None
            }
        }
    }

    /// A name of any kind.
    pub(super) fn name<N: FromStr<Err: Display>>(
        &mut self,
        path: &str,
        value: &Value,
    ) -> Option<N> {
        match self.text(path, value)?.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.error(path, error.to_string(), None);
                None
            }
        }
    }

    /// An IP address of either family.
    pub(super) fn address(&mut self, path: &str, value: &Value) -> Option<IpAddr> {
        let text = self.text(path, value)?;
        let address = text.parse().ok();
        if address.is_none() {
            let hint = text
                .contains('/')
                .then(|| "write it without the length".into());
            self.error(path, format!("`{text}` is not an IP address"), hint);
        }
        address
    }

    /// One of the roles.
    pub(super) fn role(&mut self, path: &str, value: &Value) -> Option<Role> {
        let text = self.text(path, value)?;
        let role = text.parse().ok();
        if role.is_none() {
            self.unknown(path, "role", text, Role::ALL.map(Role::name));
        }
        role
    }

    /// One of the roles, or none: "none", or nothing at all.
    pub(super) fn role_or_none(&mut self, path: &str, value: &Value) -> Option<Role> {
        match &value.kind {
            Kind::Text { text, quoted } if text == "none" || (!quoted && is_null(text)) => {
                self.positions.insert(path.to_owned(), value.at);
                None
            }
            Kind::Text { .. } | Kind::Map(_) | Kind::List(_) => self.role(path, value),
        }
    }

    /// The entries of a mapping, each key once.
    fn mapping<'v>(&mut self, path: &str, value: &'v Value) -> Option<Vec<&'v (Key, Value)>> {
        self.positions.insert(path.to_owned(), value.at);
        let Kind::Map(entries) = &value.kind else {
            let message = format!("is {}, and must be a mapping", value.kind.noun());
            self.error(path, message, Some("write `key: value` pairs".into()));
            return None;
        };
        let mut seen = BTreeMap::new();
        let mut once = Vec::new();
        for entry in entries {
            match seen.entry(entry.0.text.as_str()) {
                Entry::Vacant(free) => {
                    free.insert(entry.0.at);
                    self.positions
                        .insert(child(path, &entry.0.text), entry.0.at);
                    once.push(entry);
                }
                Entry::Occupied(first) => {
                    let message =
                        format!("`{}` was given already at {}", entry.0.text, first.get());
                    let path = child(path, &entry.0.text);
                    self.push(Diagnostic {
                        at: entry.0.at,
                        path,
                        message,
                        hint: None,
                    });
                }
            }
        }
        Some(once)
    }
}

/// The path of a part of `path`.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// What YAML reads as no value, when it is not quoted.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
