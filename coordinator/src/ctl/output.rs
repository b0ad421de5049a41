//! Where output goes and in which form.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use saphyr::{LoadableYamlNode, Yaml, YamlEmitter};
use serde::Serialize;

use super::failure::Failure;
use super::paint::Look;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For people with room: every column, whatever the terminal's width
    Wide,
    /// For programs, with stable names
    Json,
    /// The same as json, in YAML
    Yaml,
}

/// Standard output, in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    form: Form,
    look: Look,
}

impl Output {
    /// For this process's standard output: colours only on a terminal, `NO_COLOR` honoured.
    pub fn stdout(form: Form) -> Output {
        let choice = anstream::AutoStream::choice(&io::stdout());
        let colour = choice != anstream::ColorChoice::Never;
        let width = io::stdout()
            .is_terminal()
            .then(terminal_size::terminal_size)
            .flatten();
        let width = width.map(|(terminal_size::Width(columns), _)| usize::from(columns));
        Output {
            form,
            look: Look { colour, width },
        }
    }

    /// The form.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether every column was asked for.
    pub fn wide(&self) -> bool {
        self.form == Form::Wide
    }

    /// How text looks.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Writes `view` as a document, or what `screen` says for people.
    pub fn show<V: Serialize>(
        &self,
        view: &V,
        screen: impl FnOnce(Look) -> String,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Table | Form::Wide => self.write(&screen(self.look)),
            Form::Json => self.write(&json(view)),
            Form::Yaml => self.write(&yaml(view)),
        }
    }

    /// Writes one of many: a line of JSON, a YAML document, or a line for people.
    pub fn show_one<V: Serialize>(
        &self,
        view: &V,
        line: impl FnOnce(Look) -> String,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Table | Form::Wide => self.write(&line(self.look)),
            Form::Json => self.write(&format!("{}\n", json_line(view))),
            Form::Yaml => self.write(&format!("---\n{}", yaml(view))),
        }
    }

    /// Tells people something; a program that reads documents is told nothing.
    pub fn tell(&self, text: impl fmt::Display) -> Result<(), Failure> {
        match self.form {
            Form::Table | Form::Wide => self.write(&format!("{text}\n")),
            Form::Json | Form::Yaml => Ok(()),
        }
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) => Err(Failure::Failed {
                message: format!("cannot write: {error}"),
                next: None,
            }),
        }
    }
}

/// A document of JSON, indented.
pub fn json<V: Serialize>(view: &V) -> String {
    let mut text = serde_json::to_string_pretty(view).expect("views serialise");
    text.push('\n');
    text
}

fn json_line<V: Serialize>(view: &V) -> String {
    serde_json::to_string(view).expect("views serialise")
}

/// The same in YAML. JSON is YAML, so that reading it keeps names, types and order.
pub fn yaml<V: Serialize>(view: &V) -> String {
    let json = json_line(view);
    let documents = Yaml::load_from_str(&json).expect("JSON is YAML");
    let mut text = String::new();
    let document = documents.first().expect("one document");
    YamlEmitter::new(&mut text)
        .dump(document)
        .expect("a text takes what is written");
    let text = text.strip_prefix("---\n").unwrap_or(&text);
    // Only line ends: other white space at the end is a value's.
    format!("{}\n", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u32>().prop_map(Into::into),
            prop::sample::select(
                &[
                    "null", "~", "yes", "1e3", "0x1", "- a", "a: b", "#", "", " "
                ][..]
            )
            .prop_map(Into::into),
            "\\PC{0,12}".prop_map(Into::into),
            "[a-z\n\t\"' :#-]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-z_]{1,6}", inner, 0..4)
                    .prop_map(|map| { serde_json::Value::Object(map.into_iter().collect()) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_says_what_json_says(value in any_value()) {
            let as_yaml = yaml(&value);
            let from_yaml = Yaml::load_from_str(&as_yaml).expect("YAML");
            let as_json = json(&value);
            let from_json = Yaml::load_from_str(&as_json).expect("YAML");
            prop_assert_eq!(from_yaml, from_json, "{}", as_yaml);
        }
    }
}
