//! YAML text to a tree that knows where everything stood.
//!
//! Reads the part of YAML that a site document needs: one document of mappings, lists and plain or
//! quoted text. Anchors, aliases, tags and names that are not text are refused, each where it
//! stands, so that no document means more than what a reader sees, and none can blow up in memory:
//! the text is bounded, the depth is bounded, and nothing is ever copied by an alias.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::diagnostic::{Diagnostic, Position};

/// The longest document read. A site of 200 nodes needs about 30 KiB.
pub(crate) const LONGEST_DOCUMENT: usize = 1 << 20;
/// The deepest nesting read. A site document needs five levels.
const DEEPEST: usize = 16;
/// How many refused parts of one document are told.
const MOST_FAULTS: usize = 20;

/// A value and where it starts.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) at: Position,
    /// First character, and the one after the last, counted in characters from the start.
    pub(crate) span: (usize, usize),
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Text { text: String, quoted: bool },
    Map(Vec<(Key, Value)>),
    List(Vec<Value>),
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) at: Position,
    /// First character, and the one after the last, counted in characters from the start.
    pub(crate) span: (usize, usize),
    pub(crate) text: String,
}

impl Kind {
    /// For messages: "is a list, and must be text".
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Kind::Text {
                text,
                quoted: false,
            } if text.is_empty() => "empty",
            Kind::Text { .. } => "text",
            Kind::Map(_) => "a mapping",
            Kind::List(_) => "a list",
        }
    }
}

/// Reads the one document in `text`; `None` if there is none.
pub(crate) fn load(text: &str) -> Result<Option<Value>, Vec<Diagnostic>> {
    if text.len() > LONGEST_DOCUMENT {
        let message = format!("the document has more than {LONGEST_DOCUMENT} bytes");
        return Err(vec![fault(Position { line: 1, column: 1 }, message, None)]);
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        if builder.faults.len() >= MOST_FAULTS {
            break;
        }
        let outcome = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let at = position(error.marker());
                Err(fault(
                    at,
                    format!("not YAML: {}", error.info()),
                    tab_hint(text, at),
                ))
            }
        };
        if let Err(fatal) = outcome {
            builder.faults.push(fatal);
            break;
        }
    }
    if builder.faults.is_empty() {
        Ok(builder.root)
    } else {
        Err(builder.faults)
    }
}

/// A collection whose end has not been read.
enum Open {
    Map {
        at: Position,
        start: usize,
        entries: Vec<(Key, Value)>,
        key: Option<Key>,
    },
    List {
        at: Position,
        start: usize,
        items: Vec<Value>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Value>,
    faults: Vec<Diagnostic>,
}

impl Builder {
    /// Adds one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let (at, start) = (position(&span.start), span.start.index());
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(fault(
                at,
                "a second document".into(),
                Some("write one per file".into()),
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => {
                self.refuse(at, "an alias (`*name`)");
                self.add(text_value(at, span, String::new(), true))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                let quoted = style != ScalarStyle::Plain;
                self.add(text_value(at, span, text.into_owned(), quoted))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                self.descend(
                    Open::Map {
                        at,
                        start,
                        entries: Vec::new(),
                        key: None,
                    },
                    at,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                self.descend(
                    Open::List {
                        at,
                        start,
                        items: Vec::new(),
                    },
                    at,
                )
            }
            Event::MappingEnd | Event::SequenceEnd => self.ascend(span.end.index()),
        }
    }

    fn refuse_marks(&mut self, at: Position, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(at, "an anchor (`&name`)");
        }
        if tagged {
            self.refuse(at, "a tag (`!name`)");
        }
    }

    fn refuse(&mut self, at: Position, what: &str) {
        let hint = Some("write the value itself".into());
        self.faults
            .push(fault(at, format!("{what} is not read here"), hint));
    }

    fn descend(&mut self, collection: Open, at: Position) -> Result<(), Diagnostic> {
        if self.open.len() >= DEEPEST {
            return Err(fault(
                at,
                format!("nested more than {DEEPEST} levels deep"),
                None,
            ));
        }
        self.open.push(collection);
        Ok(())
    }

    fn ascend(&mut self, end: usize) -> Result<(), Diagnostic> {
        let value = match self.open.pop() {
            Some(Open::Map {
                at,
                start,
                entries,
                key: _,
            }) => Value {
                at,
                span: (start, end),
                kind: Kind::Map(entries),
            },
            Some(Open::List { at, start, items }) => Value {
                at,
                span: (start, end),
                kind: Kind::List(items),
            },
            None => return Ok(()),
        };
        self.add(value)
    }

    /// Puts a finished value where it belongs: a key, an entry, an item or the root.
    fn add(&mut self, value: Value) -> Result<(), Diagnostic> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push((key, value)),
                None => match value.kind {
                    Kind::Text { text, .. } => {
                        *key = Some(Key {
                            at: value.at,
                            span: value.span,
                            text,
                        });
                    }
                    Kind::Map(_) | Kind::List(_) => {
                        let message = format!("{} as a key", value.kind.noun());
                        let hint = Some("write a name, a colon and the value".into());
                        return Err(fault(value.at, message, hint));
                    }
                },
            },
        }
        Ok(())
    }
}

fn text_value(at: Position, span: Span, text: String, quoted: bool) -> Value {
    let span = (span.start.index(), span.end.index());
    Value {
        at,
        span,
        kind: Kind::Text { text, quoted },
    }
}

fn fault(at: Position, message: String, hint: Option<String>) -> Diagnostic {
    Diagnostic {
        at,
        path: String::new(),
        message,
        hint,
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// A tab in the indentation of the line is the usual reason and hard to see.
fn tab_hint(text: &str, at: Position) -> Option<String> {
    let line = text.lines().nth(at.line.saturating_sub(1))?;
    let indentation = &line[..line.len() - line.trim_start().len()];
    indentation
        .contains('\t')
        .then(|| "the line is indented with a tab: use spaces".into())
}
