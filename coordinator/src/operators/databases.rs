//! The operators' service for databases: how the cluster is, and what is planned with it.
//!
//! Guarantees: a change is judged by what the nodes say at that moment, not by what its operator
//! was shown; one at a time; it goes on, and is told of as an event, when its operator hangs up.

use std::sync::Arc;
use std::time::Instant;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::Role;
use tonic::{Request, Status};

use super::nodes::node_of;
use super::{Answer, OperatorsService};
use crate::clock::milliseconds;
use crate::core::Core;
use crate::databases::act::{self, ActError};
use crate::databases::plan::{self, Refusal};
use crate::databases::status;
use crate::ledger::EventKind;
use crate::records::OperatorAccess;

impl OperatorsService {
    async fn database_status(
        &self,
        request: Request<v1::DatabaseStatusRequest>,
    ) -> Result<v1::DatabaseStatus, Status> {
        // What is asked is the nodes: a silent store hides nothing of them.
        let _ = self.onlooker(&request).await?;
        self.has_databases()?;
        Ok(status(&self.core).await)
    }

    async fn switch_over(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Result<v1::SwitchedOver, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        self.has_databases()?;
        let asked = request.into_inner();
        self.to_the_end(caller.path(), |core, by| async move {
            let now = status(&core).await;
            let plan = plan::switchover_from(&now, &asked.from, &asked.to).map_err(refusal)?;
            tracing::info!(
                from = plan.from,
                to = plan.to,
                by,
                "the database is to hand over"
            );
            let done = act::switchover(&core.databases, &plan).await;
            let done = done.map_err(failure)?;
            let took_ms = milliseconds(done.took);
            let (from, leader) = (&plan.from, done.leader);
            let text = format!("{from} handed over to {leader} within {took_ms} ms");
            let kind = EventKind::DatabaseSwitchedOver;
            told(&core, &by, (kind, &leader, text)).await?;
            Ok(v1::SwitchedOver { leader, took_ms })
        })
        .await
    }

    async fn restart_database(
        &self,
        request: Request<v1::RestartDatabaseRequest>,
    ) -> Result<v1::RestartedDatabase, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        self.has_databases()?;
        let node = node_of(&request.get_ref().node)?;
        self.to_the_end(caller.path(), |core, by| async move {
            plan::restart(&status(&core).await, node.as_str()).map_err(refusal)?;
            let begun = Instant::now();
            let text = act::restart(&core.databases, &node)
                .await
                .map_err(failure)?;
            let took_ms = milliseconds(begun.elapsed());
            let what = format!("PostgreSQL on {node} was restarted within {took_ms} ms");
            let kind = EventKind::DatabaseRestarted;
            told(&core, &by, (kind, node.as_str(), what)).await?;
            Ok(v1::RestartedDatabase { took_ms, text })
        })
        .await
    }

    async fn reinit_database(
        &self,
        request: Request<v1::ReinitDatabaseRequest>,
    ) -> Result<v1::ReinitDatabaseBegun, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        self.has_databases()?;
        let node = node_of(&request.get_ref().node)?;
        self.to_the_end(caller.path(), |core, by| async move {
            plan::reinit(&status(&core).await, node.as_str()).map_err(refusal)?;
            let text = act::reinit(&core.databases, &node).await.map_err(failure)?;
            let what = format!("{node} throws its copy of the databases away and makes another");
            let kind = EventKind::DatabaseReinitialised;
            told(&core, &by, (kind, node.as_str(), what)).await?;
            Ok(v1::ReinitDatabaseBegun { text })
        })
        .await
    }

    fn has_databases(&self) -> Result<(), Status> {
        let world = self.core.world();
        match world.desired.site.with_role(Role::Database).next() {
            Some(_) => Ok(()),
            None => Err(Status::failed_precondition(
                "no node of the site has the role database; nothing was changed; `coordctl assign \
                 NODE database` gives it to one",
            )),
        }
    }

    /// Does one thing at a time, to its end, whether or not its operator waits for it.
    async fn to_the_end<T, F>(
        &self,
        by: String,
        change: impl FnOnce(Arc<Core>, String) -> F + Send + 'static,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        let done = tokio::spawn(async move {
            let Ok(_acting) = core.databases.acting.try_lock() else {
                return Err(Status::aborted(
                    "another change of the databases is under way; nothing was changed; \
                     `coordctl db status` shows how they are",
                ));
            };
            change(Arc::clone(&core), by).await
        });
        done.await
            .unwrap_or_else(|error| Err(Status::internal(error.to_string())))
    }
}

/// Writes down what was done. It is done, whatever becomes of that.
async fn told(
    core: &Core,
    by: &str,
    (kind, node, text): (EventKind, &str, String),
) -> Result<(), Status> {
    let node = node.parse::<NodeId>().ok();
    let change = core.change(by).event(kind, node.as_ref(), text.clone());
    core.ledger.commit(change).await.map_err(|error| {
        Status::unknown(format!(
            "{text}, but that could not be written down: {error}"
        ))
    })
}

fn refusal(refusal: Refusal) -> Status {
    let text = format!("{refusal}; nothing was changed; {}", refusal.next());
    match refusal {
        Refusal::NoMember(..) => Status::not_found(text),
        Refusal::Unseen
        | Refusal::Leaderless
        | Refusal::Leads(_)
        | Refusal::OnlyCopy(_)
        | Refusal::Moved { .. }
        | Refusal::NotSynchronous { .. }
        | Refusal::Unwell { .. }
        | Refusal::Nobody(_) => Status::failed_precondition(text),
    }
}

fn failure(error: ActError) -> Status {
    let text = error.to_string();
    match error {
        ActError::Refused { .. } => Status::failed_precondition(text),
        ActError::Unknown { .. } => Status::unknown(text),
    }
}

#[tonic::async_trait]
impl v1::databases_server::Databases for OperatorsService {
    async fn status(
        &self,
        request: Request<v1::DatabaseStatusRequest>,
    ) -> Answer<v1::DatabaseStatus> {
        self.serve("Databases/Status", request, |it| self.database_status(it))
            .await
    }

    async fn switchover(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Answer<v1::SwitchedOver> {
        self.serve("Databases/Switchover", request, |it| self.switch_over(it))
            .await
    }

    async fn restart(
        &self,
        request: Request<v1::RestartDatabaseRequest>,
    ) -> Answer<v1::RestartedDatabase> {
        self.serve("Databases/Restart", request, |it| self.restart_database(it))
            .await
    }

    async fn reinit(
        &self,
        request: Request<v1::ReinitDatabaseRequest>,
    ) -> Answer<v1::ReinitDatabaseBegun> {
        self.serve("Databases/Reinit", request, |it| self.reinit_database(it))
            .await
    }
}
