//! Certificates that a program takes up while it runs.
//!
//! What a unit has loaded is noted file by file: the one that is handed over is forgotten before,
//! and noted once the program was seen to have it, if it is still the same start of the unit.

use std::fs;
use std::path::Path;

use hamesh_roles::engine::{Contents, Live, Resource, Unit};
use zeroize::Zeroizing;

use crate::apply::store::{Loaded, Store};
use crate::apply::systemd::Systemd;
use crate::apply::trouble::Trouble;
use crate::haproxy::certificates::hand as hand_over;

/// Hands `resource` to the program that runs as `unit`. `contents` are what its file holds.
///
/// # Errors
/// [`Trouble`]: it may run with what the file held before, and has not loaded it as far as the
/// notes say. A reload makes up for that.
pub async fn hand(
    (resource, live): (&Resource, &Live),
    unit: &Unit,
    contents: &Contents,
    (systemd, store): (&Systemd, &Store),
) -> Result<(), Trouble> {
    let notes = |error| Trouble::of(&unit.name, &error);
    let known = store.loaded().map_err(notes)?.remove(&unit.name);
    let Some(mut known) = known else {
        let why = format!("what {} has loaded is not known", unit.name);
        return Err(Trouble::plain(why));
    };
    let id = resource.id();
    known.contents.remove(&id);
    let note = |note: &Loaded| store.note_loaded(&unit.name, Some(note.clone()));
    note(&known).map_err(notes)?;
    let (file, pem) = read(resource)?;
    let handed = hand_over(Path::new(&live.socket), &file, &pem, live.trusts).await;
    handed.map_err(|why| Trouble::of(format!("{} does not take {id}", unit.name), &why))?;
    if systemd.look(&unit.name).await?.invocation != known.invocation {
        let why = format!("{} was started anew meanwhile", unit.name);
        return Err(Trouble::plain(why));
    }
    known
        .contents
        .extend(unit.loads(contents).remove_entry(&id));
    note(&known).map_err(notes)
}

/// The file that the program knows it by, and all that is in it and its key's.
fn read(resource: &Resource) -> Result<(String, Zeroizing<String>), Trouble> {
    let text = |path: &String| {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        text.map_err(|error| Trouble::of(path, &error))
    };
    match resource {
        Resource::File(it) => Ok((it.path.clone(), text(&it.path)?)),
        Resource::Certificate(it) => {
            let mut pem = text(&it.certificate)?;
            pem.push_str(&text(&it.key)?);
            Ok((it.certificate.clone(), pem))
        }
        Resource::Package(_)
        | Resource::Module { .. }
        | Resource::Sysctl { .. }
        | Resource::Mount(_)
        | Resource::User(_)
        | Resource::Directory(_)
        | Resource::Table(_)
        | Resource::Command(_)
        | Resource::Unit(_) => Err(Trouble::plain(format!("{} is no file", resource.id()))),
    }
}
