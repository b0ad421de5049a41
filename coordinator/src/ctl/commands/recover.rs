//! `recover`: from the CA of a backup and what the nodes hold to a site that goes on.
//!
//! Interrupted at any point, the same command goes on, like `init`; once the coordinator hears the
//! nodes, `recover status` and `recover finish` are all that is left to do.

use std::path::PathBuf;
use std::time::SystemTime;

use hamesh_proto::ids::NodeId;
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;

use super::{Session, backup, init, prompt, refused, site};
use crate::backup::Snapshot;
use crate::backup::rebirth::incarnation;
use crate::config::Dirs;
use crate::ctl::cli::{Consent, Recover, RecoverCommand};
use crate::ctl::failure::{Failure, chain};
use crate::ctl::link::{Link, request};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{RecoveredView, RecoveryView};
use crate::init::{InitRequest, Owner, Restored, Word};

/// `recover ...`
pub async fn run(session: &Session, options: Recover) -> Result<(), Failure> {
    match options.command {
        Some(RecoverCommand::Status { without }) => status(session, &without).await,
        Some(RecoverCommand::Finish { without, consent }) => {
            finish(session, &without, &consent).await
        }
        None => begin(session, options).await,
    }
}

async fn begin(session: &Session, options: Recover) -> Result<(), Failure> {
    let (Some(file), Some(node)) = (&options.file, options.node.clone()) else {
        let how = "coordctl recover FILE --node NODE";
        return Err(Failure::invalid("a file and a node must be named", how));
    };
    let owner = Owner::service().map_err(|error| Failure::failed(chain(&error), init::INSTALL))?;
    let (view, snapshot) = backup::opened(file, &options.passphrase)?;
    let now = SystemTime::now();
    let told = screens::backup(&view, Moment(unix_ms(now)), session.output.look());
    session.output.tell(told.trim_end())?;
    let given = options.site_file.as_ref();
    let given = given.map(|path| Ok::<_, Failure>((site::read_document(path)?, path.display())));
    let (yaml, document) = match given.transpose()? {
        Some((yaml, path)) => (yaml, path.to_string()),
        None => (
            view_of(&snapshot, &view.file)?,
            format!("the site document in {}", view.file),
        ),
    };
    if !options.yes {
        prompt::confirmed(QUESTION)?;
    }
    let request = InitRequest {
        yaml,
        node,
        operator: options.operator.unwrap_or_else(init::caller),
        dirs: Dirs::default(),
        owner,
        now,
        restored: Some(Restored {
            incarnation: incarnation(view.desired.incarnation, unix_ms(now)),
            snapshot,
            word: Word::Agents {
                document_given: options.site_file.is_some(),
            },
        }),
    };
    match init::set_up(session, &request, &document, first_look).await? {
        Some(view) => session.output.show(&view, |look| {
            format!("{}\n{NEXT}", screens::recovery(&view, look))
        }),
        None => Ok(()),
    }
}

const QUESTION: &str = "While another coordinator of this site runs, two nodes could be granted \
                        one address. Is every other one off, for good?";
const NEXT: &str = "The nodes come by themselves within seconds.\n\
                    next: `coordctl recover status`, until all that live are heard; then \
                    `coordctl recover finish`\n";

fn view_of(snapshot: &Snapshot, file: &str) -> Result<String, Failure> {
    let contents = snapshot.contents().map_err(|error| {
        let message = format!("{file} is of no use: {}", chain(&error));
        Failure::failed(message, "name another backup")
    })?;
    Ok(contents.desired.record.yaml)
}

async fn first_look(context: PathBuf) -> Result<RecoveryView, Failure> {
    look(&mut Link::open(context, SystemTime::now()).await?, &[]).await
}

async fn look(link: &mut Link, without: &[NodeId]) -> Result<RecoveryView, Failure> {
    let asked = v1::LookRequest {
        without: without.iter().map(ToString::to_string).collect(),
    };
    let answer = link.recovery.look(request(asked)).await;
    let state = answer.map_err(not_recovering)?.into_inner();
    Ok(RecoveryView::from(state))
}

/// A coordinator that does not recover its site does not know these calls.
fn not_recovering(status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::Unimplemented => Failure::failed(
            "no recovery is under way: this site has a coordinator that serves",
            "`coordctl status` shows the site",
        ),
        _ => refused(status),
    }
}

async fn status(session: &Session, without: &[NodeId]) -> Result<(), Failure> {
    let view = look(&mut session.link().await?, without).await?;
    session
        .output
        .show(&view, |look| screens::recovery(&view, look))
}

async fn finish(session: &Session, without: &[NodeId], consent: &Consent) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let view = look(&mut link, without).await?;
    if consent.dry_run {
        return session
            .output
            .show(&view, |look| screens::recovery(&view, look));
    }
    let told = screens::recovery(&view, session.output.look());
    session.output.tell(told.trim_end())?;
    let Some(plan) = view.plan else {
        return Err(Failure::failed(
            format!("{}; nothing was changed", view.obstacles.join("; ")),
            "`coordctl recover status` shows who was heard",
        ));
    };
    if !consent.yes {
        prompt::confirmed("Make this the site?")?;
    }
    let asked = v1::FinishRequest {
        without: without.iter().map(ToString::to_string).collect(),
        digest: plan.digest,
    };
    let answer = link.recovery.finish(request(asked)).await;
    let finished = answer.map_err(not_recovering)?.into_inner();
    drop(link);
    init::first_answer(&session.context_path()?, init::answer).await?;
    let done = RecoveredView {
        site: view.site,
        desired: finished.id.map(Into::into),
        nodes: plan.nodes,
    };
    session.output.show(&done, |_| welcome(&done))
}

fn welcome(done: &RecoveredView) -> String {
    let id = done.desired;
    let (incarnation, generation) = id.map_or((0, 0), |id| (id.incarnation, id.generation));
    format!(
        "Site {} is back: incarnation {incarnation}, generation {generation}, {} nodes. What they \
         hold stays where it is. The gossip key is changed, and all enrolment tokens are revoked.\n\
         next: `coordctl status`; compare `coordctl site` with your own copy; enrol this machine \
         and those that were lost with `coordctl token create NODE`; add coordinators; take a new \
         backup\n",
        done.site,
        done.nodes.len(),
    )
}
