//! Changes one value in the document's own text, so that its comments and its order stay.
//!
//! The result is read again before it is given back: it says exactly what the old document said,
//! but for the one value, or it is refused.

use hamesh_proto::ids::NodeId;

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::names::VipName;
use crate::role::Role;
use crate::site::{HeldBy, Mode, Node, Site};
use crate::yaml::{self, Key, Kind, Value};

/// Why a value could not be changed in a text. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The document itself has faults.
    #[error("the document cannot be read ({} faults)", .0.len())]
    Document(Vec<Diagnostic>),
    /// The site has no such node.
    #[error(
        "the site has no node `{node}`{}",
        .hint.as_ref().map(|h| format!("; {h}")).unwrap_or_default()
    )]
    UnknownNode {
        /// The name that was asked for.
        node: NodeId,
        /// The nearest name.
        hint: Option<String>,
    },
    /// The text is written in a way that this module cannot change faithfully.
    #[error(
        "the {key} of `{name}` is written in a way that cannot be changed in place: \
         change it in the file and apply that"
    )]
    Unfaithful {
        /// Which value.
        key: &'static str,
        /// Whose.
        name: String,
    },
}

/// The document with the role of one node changed.
///
/// # Errors
/// See [`EditError`].
pub fn with_role(yaml: &str, node: &NodeId, role: Option<Role>) -> Result<String, EditError> {
    let name = role.map_or("none", Role::name);
    of_node(yaml, node, ("role", name), |it| it.role = role)
}

/// The document with the mode of one node changed.
///
/// # Errors
/// See [`EditError`].
pub fn with_mode(yaml: &str, node: &NodeId, mode: Mode) -> Result<String, EditError> {
    of_node(yaml, node, ("mode", mode.name()), |it| it.mode = mode)
}

/// The document with another holder of one virtual address of the site.
///
/// # Errors
/// See [`EditError`].
pub fn with_holder(yaml: &str, vip: &VipName, held_by: &HeldBy) -> Result<String, EditError> {
    let before = Site::parse(yaml).map_err(EditError::Document)?;
    let mut wanted = before.clone();
    if let Some(entry) = wanted.vips.get_mut(vip) {
        entry.held_by = held_by.clone();
    }
    let place = ("vips", vip.as_ref(), "held_by");
    changed(yaml, (&before, &wanted), place, &held_by.to_string())
}

fn of_node(
    yaml: &str,
    node: &NodeId,
    (key, value): (&'static str, &str),
    set: impl Fn(&mut Node),
) -> Result<String, EditError> {
    let before = Site::parse(yaml).map_err(EditError::Document)?;
    let mut wanted = before.clone();
    let Some(entry) = wanted.nodes.get_mut(node) else {
        let hint = did_you_mean(node.as_ref(), before.nodes.keys().map(AsRef::as_ref));
        return Err(EditError::UnknownNode {
            node: node.clone(),
            hint,
        });
    };
    set(entry);
    let place = ("nodes", node.as_ref(), key);
    changed(yaml, (&before, &wanted), place, value)
}

fn changed(
    yaml: &str,
    (before, wanted): (&Site, &Site),
    (section, name, key): (&str, &str, &'static str),
    value: &str,
) -> Result<String, EditError> {
    if before == wanted {
        return Ok(yaml.to_owned());
    }
    let edited = replaced(yaml, (section, name, key), value);
    let edited = edited.filter(|edited| Site::parse(edited).as_ref() == Ok(wanted));
    edited.ok_or_else(|| EditError::Unfaithful {
        key,
        name: name.to_owned(),
    })
}

fn replaced(yaml: &str, (section, name, key): (&str, &str, &str), text: &str) -> Option<String> {
    let root = yaml::load(yaml).ok()??;
    let (_, entries) = entry(&root, section)?;
    let (_, value) = entry(entries, name)?;
    if let Some((key, old)) = entry(value, key) {
        let (start, end) = (byte(yaml, old.span.0), byte(yaml, old.span.1));
        if start < end {
            return Some(format!("{}{text}{}", &yaml[..start], &yaml[end..]));
        }
        // No value at all: it belongs behind the key's colon.
        let key_end = byte(yaml, key.span.1);
        let colon = key_end + yaml[key_end..].find(':')? + 1;
        return Some(format!("{} {text}{}", &yaml[..colon], &yaml[colon..]));
    }
    let Kind::Map(entries) = &value.kind else {
        return None;
    };
    let (first, _) = entries.first()?;
    let at = byte(yaml, first.span.0);
    let separator = if yaml[byte(yaml, value.span.0)..].starts_with('{') {
        ", ".to_owned()
    } else {
        format!("\n{}", " ".repeat(first.at.column - 1))
    };
    Some(format!(
        "{}{key}: {text}{separator}{}",
        &yaml[..at],
        &yaml[at..]
    ))
}

fn entry<'v>(value: &'v Value, name: &str) -> Option<&'v (Key, Value)> {
    match &value.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == name),
        Kind::Text { .. } | Kind::List(_) => None,
    }
}

/// The byte offset of a character.
fn byte(text: &str, character: usize) -> usize {
    text.char_indices()
        .nth(character)
        .map_or(text.len(), |(byte, _)| byte)
}
