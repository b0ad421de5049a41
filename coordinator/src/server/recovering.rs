//! A coordinator that recovers its site: hears agents, tells operators, until it is finished.
//!
//! Guarantees: it begins with an empty store only, and returns when `restore.json` is on disk, from
//! which the store is filled as after any restore.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::seal::SealKey;
use hamesh_proto::tls::{grpc_server, stranger_server};
use hamesh_proto::v1::agents_server::AgentsServer;
use hamesh_proto::v1::claims_server::ClaimsServer;
use hamesh_proto::v1::coordinators_server::CoordinatorsServer;
use hamesh_proto::v1::databases_server::DatabasesServer;
use hamesh_proto::v1::enrolment_server::EnrolmentServer;
use hamesh_proto::v1::operators_server::OperatorsServer;
use hamesh_proto::v1::recovery_server::RecoveryServer;
use tokio::task::JoinSet;

use super::Parts;
use super::instead::{Answer, Instead};
use super::listeners::{self, MAX_MESSAGE_BYTES};
use super::start::{StartError, authority, identity};
use crate::config::{ConfigError, read};
use crate::enrolment::EnrolmentService;
use crate::notify::{READY, notify};
use crate::operators::OperatorsService;
use crate::recovery::desk::Tools;
use crate::recovery::service::{RecoveryService, not_now};
use crate::recovery::session::AgentsDesk;
use crate::recovery::{Begun, Desk};

/// How long calls in progress may take when it is finished: among them the one that finished it.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Serves until an admin finishes it.
pub(super) async fn until_finished(parts: &Parts, seal: &SealKey) -> Result<(), StartError> {
    let desk = Arc::new(desk(parts, seal)?);
    let identity = identity(parts, &authority(&parts.dirs)?, &desk.base.desired.site)?;
    let live = LiveCredentials::new(identity);
    let mut servers = serve(parts, &desk, &live)?;
    notify(READY);
    notify("STATUS=recovering the site: coordctl recover status");
    tracing::warn!(
        "this coordinator recovers its site from what the nodes hold; `coordctl recover status` \
         shows how it stands"
    );
    desk.is_finished().await;
    let over = async { while servers.join_next().await.is_some() {} };
    // What is cut off finds the same coordinator, recovered.
    let _ = tokio::time::timeout(LAST_ANSWERS, over).await;
    notify("STATUS=");
    Ok(())
}

fn desk(parts: &Parts, seal: &SealKey) -> Result<Desk, StartError> {
    let path = parts.dirs.recover();
    let damaged = |problem: String| ConfigError::Damaged {
        path: path.clone(),
        problem,
    };
    let begun: Begun =
        serde_json::from_slice(&read(&path)?).map_err(|error| damaged(error.to_string()))?;
    let tools = Tools {
        authority: authority(&parts.dirs)?,
        seal: seal.clone(),
        clock: parts.clock.clone(),
        dirs: parts.dirs.clone(),
        agents_valid: parts.agents_valid,
    };
    let who = (&parts.config.site, &parts.config.node);
    Ok(Desk::new(begun, who, tools).map_err(|error| damaged(error.to_string()))?)
}

/// Serves until it is finished, or what this gives is dropped.
fn serve(
    parts: &Parts,
    desk: &Arc<Desk>,
    live: &LiveCredentials,
) -> Result<JoinSet<()>, StartError> {
    let twins = parts.listeners.twins()?;
    let answer: Answer = Arc::new(not_now);
    let answer = || Arc::clone(&answer);
    let service = Arc::new(RecoveryService(Arc::clone(desk)));
    let agents = AgentsServer::new(AgentsDesk(Arc::clone(desk)));
    let router = grpc_server()
        .add_service(agents.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(RecoveryServer::from_arc(Arc::clone(&service)))
        .add_service(CoordinatorsServer::from_arc(service))
        .add_service(Instead::<ClaimsServer<OperatorsService>>::new(answer()))
        .add_service(Instead::<DatabasesServer<OperatorsService>>::new(answer()))
        .add_service(Instead::<OperatorsServer<OperatorsService>>::new(answer()));
    let mut servers = JoinSet::new();
    let (_, accepted) = listeners::open_api(live, twins.api)?;
    let (api, enrolment) = (Arc::clone(desk), Arc::clone(desk));
    servers.spawn(async move {
        let finished = async move { api.is_finished().await };
        // Dropped connections are all that can come of it.
        let _ = router
            .serve_with_incoming_shutdown(accepted, finished)
            .await;
    });
    let (_, accepted) = listeners::open_enrolment(live, twins.enrolment)?;
    let router =
        stranger_server().add_service(Instead::<EnrolmentServer<EnrolmentService>>::new(answer()));
    servers.spawn(async move {
        let finished = async move { enrolment.is_finished().await };
        let _ = router
            .serve_with_incoming_shutdown(accepted, finished)
            .await;
    });
    Ok(servers)
}
