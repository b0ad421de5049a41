//! Changes a role in the document's own text, so that its comments and its order stay.
//!
//! The result is read again before it is given back: it says exactly what the old document said,
//! but for the one role, or it is refused.

use hamesh_proto::ids::NodeId;

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::role::Role;
use crate::site::Site;
use crate::yaml::{self, Key, Kind, Value};

/// Why a role could not be changed in a text. Nothing was changed.
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
        "the role of `{0}` is written in a way that cannot be changed in place: \
         change it in the file and apply that"
    )]
    Unfaithful(NodeId),
}

/// The document with the role of one node changed.
///
/// # Errors
/// See [`EditError`].
pub fn with_role(yaml: &str, node: &NodeId, role: Option<Role>) -> Result<String, EditError> {
    let mut wanted = Site::parse(yaml).map_err(EditError::Document)?;
    let Some(entry) = wanted.nodes.get_mut(node) else {
        let hint = did_you_mean(node.as_ref(), wanted.nodes.keys().map(AsRef::as_ref));
        return Err(EditError::UnknownNode {
            node: node.clone(),
            hint,
        });
    };
    if entry.role == role {
        return Ok(yaml.to_owned());
    }
    entry.role = role;
    let edited = replaced(yaml, node, role);
    match edited {
        Some(edited) if Site::parse(&edited).as_ref() == Ok(&wanted) => Ok(edited),
        Some(_) | None => Err(EditError::Unfaithful(node.clone())),
    }
}

fn replaced(yaml: &str, node: &NodeId, role: Option<Role>) -> Option<String> {
    let root = yaml::load(yaml).ok()??;
    let (_, nodes) = entry(&root, "nodes")?;
    let (_, value) = entry(nodes, node.as_ref())?;
    let name = role.map_or("none", Role::name);
    if let Some((key, old)) = entry(value, "role") {
        let (start, end) = (byte(yaml, old.span.0), byte(yaml, old.span.1));
        if start < end {
            return Some(format!("{}{name}{}", &yaml[..start], &yaml[end..]));
        }
        // No value at all: it belongs behind the key's colon.
        let key_end = byte(yaml, key.span.1);
        let colon = key_end + yaml[key_end..].find(':')? + 1;
        return Some(format!("{} {name}{}", &yaml[..colon], &yaml[colon..]));
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
        "{}role: {name}{separator}{}",
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
