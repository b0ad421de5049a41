//! A coordinator that does not lead: every call is answered with where the leader is.
//!
//! Guarantees: the ports are open all the while, and metrics are served; nothing of the site is
//! told here but who leads. Where the leader is, is no secret: strangers that may enrol hear it
//! too.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::tls::{grpc_server, stranger_server};
use hamesh_proto::v1::agents_server::AgentsServer;
use hamesh_proto::v1::claims_server::ClaimsServer;
use hamesh_proto::v1::coordinators_server::CoordinatorsServer;
use hamesh_proto::v1::databases_server::DatabasesServer;
use hamesh_proto::v1::enrolment_server::EnrolmentServer;
use hamesh_proto::v1::operators_server::OperatorsServer;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::instead::{Answer, Instead};
use super::listeners::{self, ListenError, Listeners};
use crate::agents::AgentsService;
use crate::core::Core;
use crate::enrolment::EnrolmentService;
use crate::leadership::Standing;
use crate::notify::{READY, notify};
use crate::operators::OperatorsService;

/// How long it may take to lead before the ports are served without: a coordinator that is alone,
/// or starts again, leads within a few requests to the store.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Returns when this coordinator leads, with its term; answers who else does meanwhile.
pub(super) async fn until_leading(
    core: &Arc<Core>,
    listeners: &Listeners,
) -> Result<u64, ListenError> {
    let mut standing = core.leadership.standing();
    let clear = |standing: &Standing| match standing {
        Standing::Leads { .. } | Standing::Follows(Some(_)) => true,
        Standing::Looking | Standing::Follows(None) | Standing::Deposed | Standing::Resigned => {
            false
        }
    };
    // Whatever came of it, the ports are served now.
    let _ = tokio::time::timeout(AT_ONCE, standing.wait_for(clear)).await;
    if let Some(term) = standing.borrow().term() {
        return Ok(term);
    }
    let _serving = serve(core, listeners)?;
    notify(READY);
    loop {
        let now = standing.borrow_and_update().clone();
        if let Some(term) = now.term() {
            return Ok(term);
        }
        if let Standing::Follows(Some(leader)) = &now {
            tracing::info!(%leader, "this coordinator stands by: {leader} leads");
            notify(&format!("STATUS=standing by, {leader} leads"));
        }
        if standing.changed().await.is_err() {
            // The election ends with the process only.
            std::future::pending::<()>().await;
        }
    }
}

/// Serves until what it gives is dropped.
fn serve(core: &Arc<Core>, listeners: &Listeners) -> Result<Serving, ListenError> {
    let twins = listeners.twins()?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let (api, accepted) = listeners::open_api(&core.live, twins.api)?;
    let leader = Arc::clone(core);
    let answer: Answer = Arc::new(move || leader.elsewhere().status(&leader.node));
    let answer = || Arc::clone(&answer);
    let router = grpc_server()
        .add_service(Instead::<AgentsServer<AgentsService>>::new(answer()))
        .add_service(Instead::<ClaimsServer<OperatorsService>>::new(answer()))
        .add_service(Instead::<CoordinatorsServer<OperatorsService>>::new(
            answer(),
        ))
        .add_service(Instead::<DatabasesServer<OperatorsService>>::new(answer()))
        .add_service(Instead::<OperatorsServer<OperatorsService>>::new(answer()));
    let end = ended(stopped.clone());
    tasks.spawn(async move {
        // Dropped connections are all that can come of it.
        let _ = router.serve_with_incoming_shutdown(accepted, end).await;
    });
    let (enrolment, accepted) = listeners::open_enrolment(&core.live, twins.enrolment)?;
    let router =
        stranger_server().add_service(Instead::<EnrolmentServer<EnrolmentService>>::new(answer()));
    let end = ended(stopped);
    tasks.spawn(async move {
        let _ = router.serve_with_incoming_shutdown(accepted, end).await;
    });
    listeners::serve_metrics(core, twins.metrics, &[&api, &enrolment], &mut tasks)?;
    Ok(Serving {
        _stop: stop,
        _tasks: tasks,
    })
}

struct Serving {
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// Resolves when the sender is gone.
async fn ended(mut stopped: watch::Receiver<bool>) {
    while stopped.changed().await.is_ok() {}
}
