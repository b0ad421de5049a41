//! The executor's side of the socket: takes orders and questions, tells reports and plans.
//!
//! Guarantees: whoever connects is told the present report at once and each change after it; a
//! question is answered from a look of its own, which changes nothing, also while steps are being
//! taken. The socket is in a directory that only root may enter, and whoever connects is believed
//! nothing but what a coordinator signed ([`super::intake`]).

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hamesh_proto::v1;
use hamesh_proto::v1::{apply_answer, apply_request};
use hamesh_roles::adoption::{Traces, lost};
use hamesh_roles::engine::plan;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::decide::Order;
use super::intake::Intake;
use super::machine::Machine;
use super::report::answer;
use super::store::{RUNTIME, SOCKET, Store};
use super::wire;

/// How many may be connected: the agent, the one that takes its place, and someone who looks.
const CONNECTIONS: usize = 4;
/// Answers that wait for the other end to read.
const ANSWERS: usize = 4;

/// Where the executor of this machine listens.
pub fn usual() -> PathBuf {
    Path::new(RUNTIME).join(SOCKET)
}

/// What answers.
#[derive(Clone, Debug)]
pub struct Server {
    /// Takes orders and questions.
    pub intake: Intake,
    /// What is told.
    pub report: watch::Receiver<v1::RoleReport>,
    /// What plans start from.
    pub machine: Machine,
    /// What hamesh owns.
    pub store: Store,
}

impl Server {
    /// Answers for ever.
    pub async fn run(self, listener: UnixListener) -> io::Error {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return error,
            };
            let server = self.clone();
            tokio::spawn(async move {
                if let Err(error) = server.serve(stream).await {
                    tracing::debug!(%error, "a connection broke: {error}");
                }
                drop(place);
            });
        }
    }

    async fn serve(self, stream: UnixStream) -> io::Result<()> {
        let (mut reads, mut writes) = stream.into_split();
        let (answers, mut waiting) = mpsc::channel(ANSWERS);
        let told = (self.report.clone(), self.intake.refused());
        tokio::select! {
            ended = self.listen(&mut reads, &answers) => ended,
            ended = tell(&mut writes, told, &mut waiting) => ended,
        }
    }

    async fn listen(
        &self,
        reads: &mut OwnedReadHalf,
        answers: &mpsc::Sender<v1::RolePlan>,
    ) -> io::Result<()> {
        while let Some(request) = wire::read::<v1::ApplyRequest>(reads).await? {
            match request.kind {
                Some(apply_request::Kind::Order(order)) => {
                    self.intake.order(&order);
                }
                Some(apply_request::Kind::Plan(asked)) => {
                    let answer = self.plan(asked).await;
                    if answers.send(answer).await.is_err() {
                        return Ok(());
                    }
                }
                // Of a later version.
                None => {}
            }
        }
        Ok(())
    }

    /// What would be done to have this.
    async fn plan(&self, asked: v1::RolePlanRequest) -> v1::RolePlan {
        let id = asked.id;
        let problem = |problem: String| v1::RolePlan {
            id: id.clone(),
            problem,
            ..v1::RolePlan::default()
        };
        let outside = asked.outside.iter().filter_map(|ip| ip.parse().ok());
        let outside: Vec<IpAddr> = outside.collect();
        let order = match self.intake.question(&asked.asked.unwrap_or_default()) {
            Ok(order) => order,
            Err(why) => return problem(why.to_string()),
        };
        let looked = async {
            let owned = self.store.owned()?;
            let observed = self.machine.observe(&order.desired, &owned).await?;
            let plan = plan(&order.desired, &observed, &owned);
            let answer = v1::RolePlan {
                lost: lost(&order.desired, &observed),
                ..answer(id.clone(), &plan, &order.desired)
            };
            Ok(self.with_traces(answer, &order, &outside).await)
        };
        match looked.await {
            Ok(answer) => answer,
            Err::<_, crate::state::StateError>(error) => problem(crate::held::describe(&error)),
        }
    }

    /// Adds what stands in the way of the role, if something else holds its addresses.
    async fn with_traces(
        &self,
        mut answer: v1::RolePlan,
        order: &Order,
        outside: &[IpAddr],
    ) -> v1::RolePlan {
        let traces = order.desired.role.and_then(Traces::of);
        let Some(traces) = traces.filter(|_| !outside.is_empty()) else {
            return answer;
        };
        let found = self.machine.traces(traces, &order.desired, outside).await;
        answer.lost.extend(traces.unheld(&found, outside));
        answer.in_the_way = traces.in_the_way(&found);
        answer
    }
}

async fn tell(
    writes: &mut OwnedWriteHalf,
    (mut report, mut refused): (
        watch::Receiver<v1::RoleReport>,
        watch::Receiver<Option<v1::RoleRefusal>>,
    ),
    waiting: &mut mpsc::Receiver<v1::RolePlan>,
) -> io::Result<()> {
    report.mark_changed();
    loop {
        let kind = tokio::select! {
            changed = report.changed() => match changed {
                Ok(()) => apply_answer::Kind::Report(whole(&mut report, &mut refused)),
                Err(_) => return Ok(()),
            },
            changed = refused.changed() => match changed {
                Ok(()) => apply_answer::Kind::Report(whole(&mut report, &mut refused)),
                Err(_) => return Ok(()),
            },
            plan = waiting.recv() => match plan {
                Some(plan) => apply_answer::Kind::Plan(plan),
                None => return Ok(()),
            },
        };
        let kind = Some(kind);
        wire::write(writes, &v1::ApplyAnswer { kind }).await?;
    }
}

fn whole(
    report: &mut watch::Receiver<v1::RoleReport>,
    refused: &mut watch::Receiver<Option<v1::RoleRefusal>>,
) -> v1::RoleReport {
    v1::RoleReport {
        refused: refused.borrow_and_update().clone(),
        ..report.borrow_and_update().clone()
    }
}
