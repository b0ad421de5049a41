//! `coordinator ...`.

use std::time::Duration;

use hamesh_proto::v1;
use tokio::time::{Instant, sleep};

use super::{Session, nodes, prompt, refused, status};
use crate::ctl::cli::CoordinatorCommand;
use crate::ctl::failure::Failure;
use crate::ctl::link::{Link, request};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{PartView, RemovedView};

/// How long a new coordinator may take to be one: its store starts and reads everything.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// `coordinator ...`
pub async fn run(session: &Session, command: CoordinatorCommand) -> Result<(), Failure> {
    match command {
        CoordinatorCommand::List => list(session).await,
        CoordinatorCommand::Add { node } => add(session, &node).await,
        CoordinatorCommand::Remove { node, yes } => remove(session, &node, yes).await,
    }
}

async fn fetch(link: &mut Link) -> Result<Vec<PartView>, Failure> {
    let asked = v1::ListCoordinatorsRequest {};
    let answer = link.coordinators.list(request(asked)).await;
    let listed = answer.map_err(refused)?.into_inner().coordinators;
    Ok(listed.into_iter().map(PartView::from).collect())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let listed = fetch(&mut session.link().await?).await?;
    session.output.show(&listed, |look| {
        screens::coordinators(&listed, Moment::now(), look)
    })
}

async fn add(session: &Session, name: &str) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let node = nodes::known(name, &status::fetch(&mut link.client).await?)?;
    let asked = v1::AddCoordinatorRequest {
        node: node.to_string(),
    };
    link.coordinators
        .add(request(asked))
        .await
        .map_err(refused)?;
    let begun = Instant::now();
    loop {
        let listed = fetch(&mut link).await?;
        let view = listed.into_iter().find(|it| it.node == node.as_str());
        match view {
            Some(view) if view.part == "member" => {
                return session.output.show(&view, |_| {
                    format!("{node} is a coordinator: its store has a vote, and it may lead.\n")
                });
            }
            Some(view) if begun.elapsed() > PATIENCE => {
                let waited = PATIENCE.as_secs();
                return Err(Failure::failed(
                    format!("{node} is still {:?} after {waited} s", view.part),
                    format!(
                        "it goes on by itself; on {node}, see that the package hamesh-coordinator \
                         is installed, and `journalctl -u hamesh-coordinate -u hamesh-store`"
                    ),
                ));
            }
            Some(_) => sleep(LOOK).await,
            None => {
                return Err(Failure::Failed {
                    message: format!("{node} was removed again meanwhile"),
                    next: None,
                });
            }
        }
    }
}

async fn remove(session: &Session, name: &str, yes: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    if !yes {
        prompt::confirmed(&format!(
            "{name} will be no coordinator any more, and forget all that made it one. Remove it?"
        ))?;
    }
    let asked = v1::RemoveCoordinatorRequest {
        node: name.to_owned(),
    };
    let answer = link.coordinators.remove(request(asked)).await;
    let removed = answer.map_err(refused)?.into_inner();
    if !removed.changed {
        return Err(Failure::invalid(
            format!("{name} is no coordinator"),
            "`coordctl coordinator list` shows which there are",
        ));
    }
    let view = RemovedView {
        kind: "coordinator",
        name: name.to_owned(),
        desired: None,
    };
    session.output.show(&view, |_| {
        format!("{name} is no coordinator any more; its machine forgets the rest by itself.\n")
    })
}
