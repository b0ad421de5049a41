//! `backup ...`: write one, check one, set the passphrase of those made by the clock.

use std::path::Path;

use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::v1;

use super::{Session, passphrase, refused};
use crate::backup::key::KeyError;
use crate::backup::{BackupKey, Container, Contents, Snapshot};
use crate::ctl::cli::{Backup, BackupCommand, PassphraseSource};
use crate::ctl::failure::{Failure, chain};
use crate::ctl::link::request;
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::BackupView;

/// The largest backup that is read or taken: many times that of the largest site.
const LARGEST: u64 = 256 << 20;

/// `backup ...`
pub async fn run(session: &Session, options: Backup) -> Result<(), Failure> {
    match (options.command, options.file) {
        (Some(BackupCommand::Verify { file, passphrase }), _) => {
            let (view, _) = opened(&file, &passphrase)?;
            show(session, &view)
        }
        (Some(BackupCommand::Passphrase { passphrase }), _) => set(session, &passphrase).await,
        (None, Some(file)) => take(session, &file, &options.passphrase).await,
        (None, None) => Err(Failure::invalid("no file is named", "coordctl backup FILE")),
    }
}

async fn take(session: &Session, file: &Path, source: &PassphraseSource) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let key = fresh_key(source, "the backup")?;
    let message = v1::BackupRequest {
        key: Some((&key).into()),
    };
    let answer = link.client.backup(request(message)).await;
    let mut pieces = answer.map_err(refused)?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(refused)? {
        bytes.extend(piece.data);
        if bytes.len() as u64 > LARGEST {
            let message = "the backup is larger than any site's; nothing was written";
            return Err(Failure::failed(
                message,
                "look at the store's size: coordctl status",
            ));
        }
    }
    // What was not checked is no backup.
    let container = Container::parse(&bytes).map_err(|error| unusable("the answer", &error))?;
    let content = container.open_with(&key);
    let content = content.map_err(|error| unusable("the answer", &error))?;
    let (view, _) = sound("the answer", file, bytes.len() as u64, &content)?;
    write_atomic(file, &bytes, SECRET).map_err(|error| Failure::file("write", file, &error))?;
    show(session, &view)?;
    session
        .output
        .tell("next: bring it to a place that this site's end does not touch")
}

/// A backup that was read and found sound.
pub fn opened(file: &Path, source: &PassphraseSource) -> Result<(BackupView, Snapshot), Failure> {
    let name = file.display().to_string();
    let failed = |error: std::io::Error| Failure::file("read", file, &error);
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > LARGEST {
        let message = format!("{name} is larger than any backup");
        return Err(Failure::invalid(
            message,
            "name a file that `coordctl backup` wrote",
        ));
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    let container = Container::parse(&bytes).map_err(|error| unusable(&name, &error))?;
    let passphrase = passphrase::known(source, &name)?;
    let content = container.open(&passphrase);
    let content = content.map_err(|error| unusable(&name, &error))?;
    sound(&name, file, length, &content)
}

fn sound(
    name: &str,
    file: &Path,
    length: u64,
    content: &[u8],
) -> Result<(BackupView, Snapshot), Failure> {
    let snapshot = Snapshot::parse(content).map_err(|error| unusable(name, &error))?;
    let contents: Contents = snapshot
        .contents()
        .map_err(|error| unusable(name, &error))?;
    Ok((
        BackupView::new(file, length, &snapshot, &contents),
        snapshot,
    ))
}

fn show(session: &Session, view: &BackupView) -> Result<(), Failure> {
    session
        .output
        .show(view, |look| screens::backup(view, Moment::now(), look))
}

async fn set(session: &Session, source: &PassphraseSource) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let key = fresh_key(source, "the scheduled backups")?;
    let message = v1::SetBackupKeyRequest {
        key: Some((&key).into()),
    };
    let answer = link.client.set_backup_key(request(message)).await;
    answer.map_err(refused)?;
    session.output.tell(
        "The scheduled backups are sealed under this passphrase from now on; older ones keep \
         theirs.\nnext: keep it where the site's end does not touch it",
    )
}

fn fresh_key(source: &PassphraseSource, of: &str) -> Result<BackupKey, Failure> {
    let passphrase = passphrase::fresh(source, of)?;
    BackupKey::fresh(&passphrase).map_err(|error| match error {
        KeyError::Short => Failure::invalid(
            format!("{error}; nothing was changed"),
            "take four words or more that have nothing to do with each other",
        ),
        KeyError::Iterations(_) | KeyError::Length => Failure::Failed {
            message: error.to_string(),
            next: None,
        },
    })
}

fn unusable(name: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::Failed {
        message: format!("{name} is of no use: {}", chain(error)),
        next: None,
    }
}
