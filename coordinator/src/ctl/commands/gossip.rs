//! `gossip ...`.

use hamesh_proto::v1;

use super::{Session, refused};
use crate::ctl::cli::GossipCommand;
use crate::ctl::failure::Failure;
use crate::ctl::screens;
use crate::ctl::views::RotationView;

/// `gossip ...`
pub async fn run(session: &Session, command: &GossipCommand) -> Result<(), Failure> {
    match command {
        GossipCommand::RotateKey => rotate_key(session).await,
    }
}

async fn rotate_key(session: &Session) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let asked = v1::RotateGossipKeyRequest {};
    let mut stream = link
        .client
        .rotate_gossip_key(asked)
        .await
        .map_err(refused)?
        .into_inner();
    let mut done = false;
    while let Some(progress) = stream.message().await.map_err(refused)? {
        let view = RotationView::from(progress);
        session
            .output
            .show_one(&view, |_| screens::rotation(&view))?;
        done = view.done;
    }
    if done {
        return Ok(());
    }
    Err(Failure::failed(
        "the coordinator stopped telling before the rotation was done",
        "it goes on with it; run the command again to watch, or see `coordctl events`",
    ))
}
