//! Units of systemd: they run, start at boot, and what they have loaded is known.
//!
//! What a unit has loaded is believed only while systemd's name of its start is the same. A reload
//! keeps that name; a restart by hand changes it, and then nobody knows what it read.

use hamesh_roles::engine::{Contents, ResourceId, Seen, State, Unit};

use super::super::store::{Loaded, Store};
use super::super::systemd::{Job, Systemd, journal};
use crate::apply::trouble::Trouble;

/// How it is now.
pub async fn look(unit: &Unit, systemd: &Systemd, store: &Store) -> Seen {
    let now = match systemd.look(&unit.name).await {
        Ok(now) => now,
        Err(trouble) => return Seen::Unknown(trouble.problem),
    };
    let notes = match store.loaded() {
        Ok(notes) => notes,
        Err(error) => return Seen::Unknown(crate::held::describe(&error)),
    };
    let (active, enabled) = (now.runs(), now.enabled && now.load != "not-found");
    if !active && !enabled {
        return Seen::Absent;
    }
    let known = notes.get(&unit.name);
    let known = known.filter(|it| active && it.invocation == now.invocation);
    Seen::Present(State::Unit {
        active,
        enabled,
        loaded: known.map(|it| it.contents.clone()).unwrap_or_default(),
    })
}

/// Starts, reloads or restarts it. `contents` is what it is to read, as it was just before.
///
/// # Errors
/// [`Trouble`].
pub async fn act(
    job: Job,
    unit: &Unit,
    contents: Contents,
    (systemd, store): (&Systemd, &Store),
) -> Result<(), Trouble> {
    let note = |note| {
        let noted = store.note_loaded(&unit.name, note);
        noted.map_err(|error| Trouble::of(&unit.name, &error))
    };
    // If this ends halfway, nobody knows what it has loaded.
    note(None)?;
    // Of a unit's first addition systemd does not see by itself that there is something new.
    if unit.reads.iter().any(is_of_systemd) {
        systemd.reload().await?;
    }
    // What was started meanwhile, by its package or by a hand, has read what was there then.
    let runs = systemd.look(&unit.name).await?.runs();
    let job = match (job, runs, unit.reloads) {
        (Job::Start, true, true) => Job::Reload,
        (Job::Start, true, false) => Job::Restart,
        (job, _, _) => job,
    };
    systemd.job(job, &unit.name).await?;
    let now = systemd.look(&unit.name).await?;
    if !now.runs() {
        let problem = format!("{} is {} after its start", unit.name, now.active);
        return Err(Trouble::with(problem, journal(&[&unit.name]).await));
    }
    let invocation = now.invocation;
    note(Some(Loaded {
        invocation,
        contents,
    }))
}

fn is_of_systemd(id: &ResourceId) -> bool {
    id.as_str().starts_with("file /etc/systemd/")
}

/// Stops it, and has it start at boot no more. One that is not there any more has stopped.
///
/// # Errors
/// [`Trouble`].
pub async fn remove(unit: &Unit, systemd: &Systemd, store: &Store) -> Result<(), Trouble> {
    let now = systemd.look(&unit.name).await?;
    if now.runs() || now.load != "not-found" {
        systemd.job(Job::Stop, &unit.name).await?;
        systemd.enable(&unit.name, false).await?;
    }
    let forgotten = store.note_loaded(&unit.name, None);
    forgotten.map_err(|error| Trouble::of(&unit.name, &error))
}
