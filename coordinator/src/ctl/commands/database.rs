//! `db ...`: the databases.

use std::time::Duration;

use hamesh_proto::v1;
use tokio::time::sleep;

use super::following::{End, Lost, whoever_leads};
use super::{Session, prompt, refused};
use crate::ctl::cli::{Consent, DatabaseCommand};
use crate::ctl::failure::Failure;
use crate::ctl::link::{Link, request, request_within};
use crate::ctl::screens;
use crate::ctl::views::{DatabaseView, ReinitView, RestartedView, SwitchoverView};
use crate::databases::plan::{self, Refusal, is_up};

/// How long a change may take: a little longer than the coordinator waits for it.
const CHANGE: Duration = Duration::from_secs(170);
/// Between two looks at a copy that is being made.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// `db ...`
pub async fn run(session: &Session, command: DatabaseCommand) -> Result<(), Failure> {
    match command {
        DatabaseCommand::Status => status(session).await,
        DatabaseCommand::Switchover { to, consent } => {
            switchover(session, to.as_deref(), consent).await
        }
        DatabaseCommand::Restart { node, yes } => restart(session, node, yes).await,
        DatabaseCommand::Reinit { node, no_wait, yes } => reinit(session, node, no_wait, yes).await,
    }
}

async fn status(session: &Session) -> Result<(), Failure> {
    let view = DatabaseView::from(fetch(&mut session.link().await?).await.map_err(refused)?);
    let output = session.output;
    output.show(&view, |look| screens::databases(&view, output.wide(), look))
}

async fn switchover(session: &Session, to: Option<&str>, consent: Consent) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let now = fetch(&mut link).await.map_err(refused)?;
    let planned = plan::switchover(&now, to).map_err(failure)?;
    let mut view = SwitchoverView::from(planned);
    let shown = screens::switchover_plan(&view);
    session.output.tell(shown.trim_end())?;
    if consent.dry_run {
        return match session.for_programs() {
            true => session.output.show(&view, |_| String::new()),
            false => session
                .output
                .tell("This was a dry run: nothing was changed."),
        };
    }
    if !consent.yes {
        prompt::confirmed(
            "Hand over? Writes wait for a few seconds, and connections to the \
                           leader end.",
        )?;
    }
    session.output.tell("It hands over ...")?;
    let asked = v1::SwitchoverRequest {
        from: view.from.clone(),
        to: view.to.clone(),
    };
    let done = link.databases.switchover(request_within(asked, CHANGE));
    let done = done.await.map_err(refused)?.into_inner();
    view.leader = Some(done.leader);
    view.took_ms = Some(done.took_ms);
    session
        .output
        .show(&view, |_| screens::switched_over(&view))
}

async fn restart(session: &Session, node: String, yes: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let now = fetch(&mut link).await.map_err(refused)?;
    let leads = plan::restart(&now, &node).map_err(failure)?;
    let warning = match leads {
        true => {
            " It leads: nothing is read or written until it runs again; `coordctl db \
                 switchover` first costs less."
        }
        false => "",
    };
    if !yes {
        prompt::confirmed(&format!("Restart PostgreSQL on {node}?{warning}"))?;
    } else if leads {
        eprintln!("warning: {node} leads: nothing is read or written until it runs again");
    }
    session.output.tell(format!("{node} restarts ..."))?;
    let asked = v1::RestartDatabaseRequest { node: node.clone() };
    let done = link.databases.restart(request_within(asked, CHANGE)).await;
    let took_ms = done.map_err(refused)?.into_inner().took_ms;
    let view = RestartedView { node, took_ms };
    session
        .output
        .show(&view, |_| screens::database_restarted(&view))
}

async fn reinit(session: &Session, node: String, no_wait: bool, yes: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let now = fetch(&mut link).await.map_err(refused)?;
    plan::reinit(&now, &node).map_err(failure)?;
    if !yes {
        prompt::confirmed(&format!(
            "Throw the data on {node} away, and copy all of it anew from the leader?"
        ))?;
    }
    let before = member(&now, &node).map(|it| it.started.clone());
    let asked = v1::ReinitDatabaseRequest { node: node.clone() };
    let begun = link.databases.reinit(request_within(asked, CHANGE)).await;
    begun.map_err(refused)?;
    session
        .output
        .tell(format!("{node} copies the data of the leader ..."))?;
    let mut view = ReinitView {
        node,
        state: None,
        done: false,
    };
    if no_wait {
        return match session.for_programs() {
            true => session.output.show(&view, |_| String::new()),
            false => session
                .output
                .tell("It goes on; `coordctl db status` shows how it is."),
        };
    }
    let before = before.unwrap_or_default();
    let listen = async |link: &mut Link| copied(session, link, &mut view, &before).await;
    let lost = |lost: &str| {
        Failure::failed(
            format!("the copy was not followed to its end: {lost}"),
            "it goes on without a listener; `coordctl db status` shows how it is",
        )
    };
    whoever_leads(session, link, listen, lost).await?;
    session.output.show(&view, |_| screens::reinit(&view))
}

/// Looks until PostgreSQL there was started again, and follows.
async fn copied(
    session: &Session,
    link: &mut Link,
    view: &mut ReinitView,
    before: &str,
) -> Result<End, Failure> {
    let mut heard = false;
    loop {
        let now = match fetch(link).await {
            Ok(now) => now,
            Err(status) if Link::lost(&status) => {
                let text = status.message().to_owned();
                return Ok(End::Lost(Lost { text, heard }));
            }
            Err(status) => return Err(refused(status)),
        };
        heard = true;
        let seen = member(&now, &view.node);
        let state = seen.map(|it| it.state.clone()).filter(|it| !it.is_empty());
        let anew = seen.filter(|it| !it.started.is_empty() && it.started != before);
        view.done = anew.is_some_and(|it| is_up(&it.state) && it.lag_bytes.is_some());
        if state != view.state {
            view.state = state;
            if !view.done {
                session.output.tell(screens::reinit(view).trim_end())?;
            }
        }
        if view.done {
            return Ok(End::Finished);
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn fetch(link: &mut Link) -> Result<v1::DatabaseStatus, tonic::Status> {
    let asked = request(v1::DatabaseStatusRequest {});
    let status = link.databases.status(asked).await?;
    Ok(status.into_inner())
}

fn member<'a>(status: &'a v1::DatabaseStatus, node: &str) -> Option<&'a v1::DatabaseMember> {
    status.members.iter().find(|it| it.node == node)
}

fn failure(refusal: Refusal) -> Failure {
    let (message, next) = (refusal.to_string(), refusal.next());
    match refusal {
        Refusal::NoMember(..) => Failure::invalid(message, next),
        Refusal::Unseen
        | Refusal::Leaderless
        | Refusal::Leads(_)
        | Refusal::OnlyCopy(_)
        | Refusal::Moved { .. }
        | Refusal::NotSynchronous { .. }
        | Refusal::Unwell { .. }
        | Refusal::Nobody(_) => Failure::failed(format!("{message}; nothing was changed"), next),
    }
}
