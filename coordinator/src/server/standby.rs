//! A coordinator that does not lead: every call is answered with where the leader is.
//!
//! Guarantees: the ports are open all the while, and metrics are served; nothing of the site is
//! told here but who leads. Where the leader is, is no secret: strangers that may enrol hear it
//! too.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hamesh_proto::tls::{grpc_server, stranger_server};
use hamesh_proto::v1::agents_server::AgentsServer;
use hamesh_proto::v1::claims_server::ClaimsServer;
use hamesh_proto::v1::coordinators_server::CoordinatorsServer;
use hamesh_proto::v1::enrolment_server::EnrolmentServer;
use hamesh_proto::v1::operators_server::OperatorsServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

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
    let (api, accepted) = listeners::open_api(core, twins.api)?;
    let router = grpc_server()
        .add_service(Redirect::<AgentsServer<AgentsService>>::new(core))
        .add_service(Redirect::<ClaimsServer<OperatorsService>>::new(core))
        .add_service(Redirect::<CoordinatorsServer<OperatorsService>>::new(core))
        .add_service(Redirect::<OperatorsServer<OperatorsService>>::new(core));
    let end = ended(stopped.clone());
    tasks.spawn(async move {
        // Dropped connections are all that can come of it.
        let _ = router.serve_with_incoming_shutdown(accepted, end).await;
    });
    let (enrolment, accepted) = listeners::open_enrolment(core, twins.enrolment)?;
    let router =
        stranger_server().add_service(Redirect::<EnrolmentServer<EnrolmentService>>::new(core));
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

/// In the place of the service `S`.
struct Redirect<S> {
    core: Arc<Core>,
    _of: PhantomData<fn() -> S>,
}

impl<S> Redirect<S> {
    fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            _of: PhantomData,
        }
    }
}

impl<S> Clone for Redirect<S> {
    fn clone(&self) -> Self {
        Self::new(&self.core)
    }
}

impl<S: NamedService> NamedService for Redirect<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Redirect<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let status = self.core.elsewhere().status(&self.core.node);
        ready(Ok(status.into_http()))
    }
}
