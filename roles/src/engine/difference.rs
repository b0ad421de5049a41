//! In what a resource differs from what was seen of it.

use std::collections::BTreeSet;

use similar::{ChangeTag, TextDiff};

use super::digest::Digest;
use super::observed::{Seen, State};
use super::plan::Reason;
use super::resource::{Certificate, File, Mount, Package, Resource, Table, User};

/// Lines of a file's change that are shown.
const MOST_LINES: usize = 400;
/// Unchanged lines around each change.
const AROUND: usize = 1;

/// Why it has to be made; `None`: it is as desired.
pub(super) fn difference(resource: &Resource, seen: &Seen) -> Option<Reason> {
    let state = match seen {
        Seen::Present(state) => state,
        Seen::Absent => return Some(Reason::Missing),
        Seen::Unknown(_) => return None,
    };
    let part = match (resource, state) {
        (Resource::Package(wanted), State::Package { version, held }) => {
            package(wanted, version, *held)
        }
        (Resource::Module { .. }, State::Module) => None,
        (
            Resource::Sysctl { value, .. },
            State::Sysctl {
                value: now,
                at_boot,
            },
        ) => match value == now {
            false => Some("value"),
            true => (at_boot.as_ref() != Some(value)).then_some("value at boot"),
        },
        (
            Resource::Mount(wanted),
            State::Mount {
                source,
                fstype,
                options,
            },
        ) => mount(wanted, (source, fstype), options.as_ref()),
        (Resource::User(wanted), State::User { home, groups }) => user(wanted, home, groups),
        (Resource::Directory(wanted), State::Directory { owner, group, mode }) => rights(
            (&wanted.owner, &wanted.group, wanted.mode),
            (owner, group, *mode),
        ),
        (
            Resource::File(wanted),
            State::File {
                digest,
                owner,
                group,
                mode,
                ..
            },
        ) => file(wanted, digest, (owner, group, *mode)),
        (Resource::Certificate(wanted), State::Certificate { profile, due, .. }) => {
            return certificate(wanted, profile, *due);
        }
        (Resource::Table(wanted), State::Table { rules, at_boot }) => {
            table(wanted, rules.as_ref(), at_boot.as_ref())
        }
        (Resource::Command(_), State::Command { satisfied: true }) => None,
        (Resource::Command(_), State::Command { satisfied: false }) => {
            return Some(Reason::Unsatisfied);
        }
        // Something else is in its place: making it says so.
        (
            Resource::Package(_)
            | Resource::Module { .. }
            | Resource::Sysctl { .. }
            | Resource::Mount(_)
            | Resource::User(_)
            | Resource::Directory(_)
            | Resource::File(_)
            | Resource::Certificate(_)
            | Resource::Table(_)
            | Resource::Command(_)
            | Resource::Unit(_),
            _,
        ) => Some("kind"),
    };
    part.map(Reason::Differs)
}

fn package(wanted: &Package, version: &str, held: bool) -> Option<&'static str> {
    let exact = wanted.version.as_ref()?;
    if exact != version {
        return Some("version");
    }
    (!held).then_some("not held at its version")
}

fn mount(wanted: &Mount, is: (&String, &String), options: Option<&String>) -> Option<&'static str> {
    if (&wanted.source, &wanted.fstype) != is {
        return Some("what is mounted");
    }
    (options != Some(&wanted.options)).then_some("options")
}

fn user(wanted: &User, home: &str, groups: &BTreeSet<String>) -> Option<&'static str> {
    if wanted.home != home {
        return Some("home");
    }
    (!wanted.groups.is_subset(groups)).then_some("groups")
}

fn file(wanted: &File, digest: &Digest, is: (&String, &String, u32)) -> Option<&'static str> {
    if wanted.content.digest() != *digest {
        return Some("content");
    }
    rights((&wanted.owner, &wanted.group, wanted.mode), is)
}

fn rights(wanted: (&String, &String, u32), is: (&String, &String, u32)) -> Option<&'static str> {
    if wanted.2 != is.2 {
        return Some("mode");
    }
    ((wanted.0, wanted.1) != (is.0, is.1)).then_some("owner")
}

fn certificate(wanted: &Certificate, profile: &Digest, due: bool) -> Option<Reason> {
    if wanted.profile() != *profile {
        return Some(Reason::Differs("what it certifies"));
    }
    due.then_some(Reason::Due)
}

fn table(wanted: &Table, rules: Option<&Digest>, at_boot: Option<&Digest>) -> Option<&'static str> {
    let digest = Digest::of(&wanted.rules);
    if rules != Some(&digest) {
        return Some("rules");
    }
    (at_boot != Some(&digest)).then_some("rules at boot")
}

/// The change of what people can read.
pub(super) fn change(resource: &Resource, seen: &Seen) -> Vec<String> {
    let (old, new) = match (resource, seen) {
        (Resource::File(wanted), _) if wanted.content.secret => return Vec::new(),
        (Resource::File(wanted), Seen::Absent) => ("", &wanted.content.text),
        (
            Resource::File(wanted),
            Seen::Present(State::File {
                text: Some(old), ..
            }),
        ) => (old.as_str(), &wanted.content.text),
        (Resource::Table(wanted), Seen::Absent) => ("", &wanted.rules),
        _ => return Vec::new(),
    };
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(AROUND) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    let left = lines.len().saturating_sub(MOST_LINES);
    if left > 0 {
        lines.truncate(MOST_LINES);
        lines.push(format!("  ({left} more lines)"));
    }
    lines
}
