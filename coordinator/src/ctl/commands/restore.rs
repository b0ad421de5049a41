//! `restore`: from a backup and a blank machine with the packages to a coordinator that answers.
//!
//! Interrupted at any point, the same command goes on, like `init`.

use std::time::SystemTime;

use hamesh_proto::unix_time::unix_ms;

use super::{Session, backup, init, prompt};
use crate::backup::rebirth::incarnation;
use crate::config::Dirs;
use crate::ctl::cli::Restore;
use crate::ctl::failure::{Failure, chain};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{BackupView, StatusView};
use crate::init::{InitRequest, Owner, Restored, Word};

/// `restore`
pub async fn run(session: &Session, options: Restore) -> Result<(), Failure> {
    let owner = Owner::service().map_err(|error| Failure::failed(chain(&error), init::INSTALL))?;
    let (view, snapshot) = backup::opened(&options.file, &options.passphrase)?;
    let now = SystemTime::now();
    let told = screens::backup(&view, Moment(unix_ms(now)), session.output.look());
    session.output.tell(told.trim_end())?;
    if !options.yes {
        prompt::confirmed(QUESTION)?;
    }
    let file = options.file.display().to_string();
    let contents = snapshot.contents().map_err(|error| {
        let message = format!("{file} is of no use: {}", chain(&error));
        Failure::failed(message, "take another backup")
    })?;
    let record = contents.desired.record;
    let request = InitRequest {
        yaml: record.yaml,
        node: options.node,
        operator: options.operator.unwrap_or_else(init::caller),
        dirs: Dirs::default(),
        owner,
        now,
        restored: Some(Restored {
            incarnation: incarnation(record.incarnation.max(options.above), unix_ms(now)),
            snapshot,
            word: Word::Backup,
        }),
    };
    let document = format!("the site document in {file}");
    match init::set_up(session, &request, &document, init::answer).await? {
        Some(status) => session.output.show(&status, |_| welcome(&status, &view)),
        None => Ok(()),
    }
}

const QUESTION: &str = "While another coordinator of this site runs, two nodes could be granted \
                        one address. Is every other one off?";

fn welcome(status: &StatusView, backup: &BackupView) -> String {
    let id = status.desired;
    let (incarnation, generation) = id.map_or((0, 0), |id| (id.incarnation, id.generation));
    let made = backup.made.map_or("unknown".to_owned(), Moment::rfc3339);
    format!(
        "Site {} is back: {} coordinates it, incarnation {incarnation}, generation \
         {generation}.\n\
         What was changed after {made} is lost: site documents applied since, nodes and \
         operators admitted or removed since (those removed since are back: remove them \
         again). All enrolment tokens are revoked. The nodes come back by themselves; one that \
         enrolled since needs `hamesh-agent enroll --replace`.\n\
         next: `coordctl status`, compare `coordctl site` with your own copy, and take a new \
         backup\n",
        status.site, status.coordinator.node,
    )
}
