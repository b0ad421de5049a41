//! `role`, `secret` and `certificate`: what nodes have on them, and what that needs.

use std::collections::BTreeMap;

use hamesh_proto::v1;
use zeroize::Zeroizing;

use super::following::{End, Lost, whoever_leads};
use super::{Session, nodes, refused, status};
use crate::ctl::cli::{CertificateCommand, RoleCommand, SecretCommand};
use crate::ctl::failure::{Failure, plural};
use crate::ctl::link::{Link, request};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{RolePlace, RoleStateView, SecretView};

/// The largest file with a certificate that is read.
const LARGEST_PEM: u64 = 64 * 1024;
/// The certificate that operators give, as the coordinator knows it.
const EDGE_CERTIFICATE: &str = hamesh_roles::render::NeededSecret::EDGE_CERTIFICATE;

/// `role ...`
pub async fn role(session: &Session, command: &RoleCommand) -> Result<(), Failure> {
    match command {
        RoleCommand::Status => show(session).await,
        RoleCommand::Follow => follow(session, session.link().await?, None, true).await,
        RoleCommand::Retry { nodes } => retry(session, nodes).await,
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let site = status::fetch(&mut session.link().await?.client).await?;
    let states = site.nodes.into_iter().filter_map(|node| node.role_state);
    let states: Vec<RoleStateView> = states.collect();
    session
        .output
        .show(&states, |look| screens::roles(&states, look))
}

async fn retry(session: &Session, names: &[String]) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let site = status::fetch(&mut link.client).await?;
    for name in names {
        nodes::known(name, &site)?;
    }
    let asked = v1::RetryRoleRequest {
        nodes: names.to_vec(),
    };
    let retried = link.client.retry_role(request(asked)).await;
    let nodes = retried.map_err(refused)?.into_inner().nodes;
    if nodes.is_empty() {
        return session
            .output
            .tell("Nothing failed anywhere: nothing was changed.");
    }
    session
        .output
        .tell(format!("{} tries again.", nodes.join(", ")))?;
    follow(session, link, None, !session.for_programs()).await
}

/// Follows the nodes until nothing is left to do, whoever leads; fails if something failed.
pub async fn follow(
    session: &Session,
    first: Link,
    id: Option<v1::AssignmentId>,
    tell: bool,
) -> Result<(), Failure> {
    let listen = async |link: &mut Link| listen(session, link, id, tell).await;
    whoever_leads(session, first, listen, |lost| {
        Failure::failed(
            format!("the nodes were not followed to the end: {lost}"),
            "they go on without a listener; `coordctl role follow` shows how",
        )
    })
    .await
}

async fn listen(
    session: &Session,
    link: &mut Link,
    id: Option<v1::AssignmentId>,
    tell: bool,
) -> Result<End, Failure> {
    let ended = |status: &tonic::Status, heard: bool| match Link::lost(status) {
        true => Ok(End::Lost(Lost {
            text: status.message().to_owned(),
            heard,
        })),
        false => Err(refused(status.clone())),
    };
    let stream = link
        .client
        .follow_roles(v1::FollowRolesRequest { id })
        .await;
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return ended(&status, false),
    };
    let (mut heard, mut states) = (false, BTreeMap::new());
    loop {
        let progress = match stream.message().await {
            Ok(Some(progress)) => progress,
            Ok(None) => {
                let text = "the coordinator stopped telling".to_owned();
                return Ok(End::Lost(Lost { text, heard }));
            }
            Err(status) => return ended(&status, heard),
        };
        heard = true;
        for node in progress.nodes {
            let view = RoleStateView::from(node);
            if tell {
                let line = |look| screens::role_progress(&view, look);
                session.output.show_one(&view, line)?;
            }
            states.insert(view.node.clone(), view);
        }
        if progress.done {
            return verdict(states.values()).map(|()| End::Finished);
        }
    }
}

fn verdict<'a>(states: impl Iterator<Item = &'a RoleStateView>) -> Result<(), Failure> {
    let states: Vec<&RoleStateView> = states.collect();
    let at = |place: RolePlace| states.iter().copied().filter(move |it| it.place == place);
    let failed: Vec<&RoleStateView> = at(RolePlace::Failed).collect();
    let waits = at(RolePlace::Waits).next();
    let why = |state: &RoleStateView| {
        let reason = state.reason.as_deref();
        reason.unwrap_or("it does not say why").to_owned()
    };
    let Some(first) = failed.first() else {
        return match waits {
            Some(waits) => Err(Failure::failed(
                format!("the role of {} waits: {}", waits.node, why(waits)),
                "`coordctl role status` shows all that wait; what was applied stays so, and they \
                 take it up when they can",
            )),
            None => Ok(()),
        };
    };
    let (count, node) = (failed.len(), &first.node);
    let why = why(first);
    Err(Failure::failed(
        format!(
            "the role failed on {count} node{}: {node}: {why}",
            plural(count)
        ),
        format!(
            "mend that and apply again, or `coordctl role retry {node}`; what worked before is \
             back there, and the other nodes of the role were not touched"
        ),
    ))
}

/// `secret ...`
pub async fn secret(session: &Session, command: &SecretCommand) -> Result<(), Failure> {
    let mut link = session.link().await?;
    match command {
        SecretCommand::List => {
            let listed = link
                .client
                .list_secrets(request(v1::ListSecretsRequest {}))
                .await;
            let listed = listed.map_err(refused)?.into_inner().secrets;
            let secrets: Vec<SecretView> = listed.into_iter().map(SecretView::from).collect();
            session.output.show(&secrets, |look| {
                screens::secrets(&secrets, Moment::now(), look)
            })
        }
        SecretCommand::Rotate { name } => {
            let asked = v1::RotateSecretRequest { name: name.clone() };
            let set = link.client.rotate_secret(request(asked)).await;
            let version = set.map_err(refused)?.into_inner().version;
            session.output.tell(format!(
                "{name} is at version {version}; the nodes take it up."
            ))?;
            follow(session, link, None, !session.for_programs()).await
        }
    }
}

/// `certificate ...`
pub async fn certificate(session: &Session, command: &CertificateCommand) -> Result<(), Failure> {
    let CertificateCommand::Set { name: _, file } = command;
    let unreadable = |error: &std::io::Error| Failure::file("read", file, error);
    let length = std::fs::metadata(file)
        .map_err(|error| unreadable(&error))?
        .len();
    if length > LARGEST_PEM {
        return Err(Failure::invalid(
            format!("{} has more than {LARGEST_PEM} bytes", file.display()),
            "name a PEM file with a certificate, its chain and its private key",
        ));
    }
    let value = std::fs::read(file).map_err(|error| unreadable(&error))?;
    let mut value = Zeroizing::new(value);
    let mut link = session.link().await?;
    let asked = v1::SetSecretRequest {
        name: EDGE_CERTIFICATE.to_owned(),
        value: std::mem::take(&mut *value),
    };
    let set = link.client.set_secret(request(asked)).await;
    let version = set.map_err(refused)?.into_inner().version;
    session.output.tell(format!(
        "{EDGE_CERTIFICATE} is at version {version}; the nodes take it up."
    ))?;
    follow(session, link, None, !session.for_programs()).await
}
