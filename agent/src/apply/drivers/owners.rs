//! Users and groups by name and number.

use std::os::unix::fs::MetadataExt as _;

use hamesh_roles::engine::{Seen, State};
use nix::unistd::{Gid, Group, Uid, User};

use crate::apply::trouble::Trouble;

/// The numbers of a user and a group.
///
/// # Errors
/// [`Trouble`] when there is none of that name.
pub fn numbers(owner: &str, group: &str) -> Result<(Uid, Gid), Trouble> {
    let unknown = |what: &str, name: &str| Trouble::plain(format!("there is no {what} {name}"));
    let user = User::from_name(owner).map_err(|error| Trouble::of(owner, &error))?;
    let user = user.ok_or_else(|| unknown("user", owner))?;
    let found = Group::from_name(group).map_err(|error| Trouble::of(group, &error))?;
    let found = found.ok_or_else(|| unknown("group", group))?;
    Ok((user.uid, found.gid))
}

/// Who owns what was looked at, and whose group it is of; a number where there is no name.
pub fn names(metadata: &std::fs::Metadata) -> (String, String) {
    let user = User::from_uid(Uid::from_raw(metadata.uid())).unwrap_or_default();
    let group = Group::from_gid(Gid::from_raw(metadata.gid())).unwrap_or_default();
    (
        user.map_or_else(|| metadata.uid().to_string(), |user| user.name),
        group.map_or_else(|| metadata.gid().to_string(), |group| group.name),
    )
}

/// Permission bits.
pub fn mode(metadata: &std::fs::Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// What is there if it is a directory.
pub fn directory(metadata: &std::fs::Metadata) -> Seen {
    let (owner, group) = names(metadata);
    Seen::Present(State::Directory {
        owner,
        group,
        mode: mode(metadata),
    })
}
