//! What a coordinator says, passed to whom it is for.

use hamesh_proto::parts::Assembly;
use hamesh_proto::v1::agent_message::Kind;
use hamesh_proto::v1::{self, coordinator_message};
use tokio::sync::mpsc;

use super::{End, Session, send};

/// What comes in parts, as far as it came on this stream.
#[derive(Debug, Default)]
pub(super) struct Assemblies {
    assignment: Assembly<v1::Assignment>,
    order: Assembly<v1::SignedRole>,
}

impl Session {
    /// Takes one message, and answers it where it is answered at once.
    pub(super) async fn take(
        &self,
        outbox: &mpsc::Sender<v1::AgentMessage>,
        parts: &mut Assemblies,
        message: v1::CoordinatorMessage,
    ) -> Result<(), End> {
        let answer = match message.kind {
            Some(coordinator_message::Kind::AssignmentPart(part)) => {
                let whole = parts.assignment.take(&part.content, part.last);
                match whole.map_err(|why| End::Broken(why.to_string()))? {
                    Some(assignment) => Some(self.assigned(assignment).await),
                    None => None,
                }
            }
            Some(coordinator_message::Kind::Assignment(assignment)) => {
                Some(self.assigned(assignment).await)
            }
            Some(coordinator_message::Kind::KeyRing(ring)) => {
                self.held.take_ring(ring).await.map(Kind::KeyRingAck)
            }
            Some(coordinator_message::Kind::LeaseKeys(keys)) => {
                self.lease_keys.send_replace(Some(keys));
                None
            }
            Some(coordinator_message::Kind::Coordinate(told)) => {
                self.held.coordinate(told.wanted).await;
                None
            }
            Some(coordinator_message::Kind::Drained(drained)) => {
                self.held.drain(drained).await;
                None
            }
            Some(coordinator_message::Kind::Upgrade(order)) => {
                self.upgrades.take(order).await.map(Kind::Upgrade)
            }
            Some(coordinator_message::Kind::RolePart(part)) => {
                let whole = parts.order.take(&part.content, part.last);
                if let Some(order) = whole.map_err(|why| End::Broken(why.to_string()))? {
                    self.roles.order(order);
                }
                None
            }
            Some(coordinator_message::Kind::PlanRole(question)) => {
                self.roles.ask(question).map(Kind::RolePlan)
            }
            Some(coordinator_message::Kind::Database(question)) => {
                self.databases.ask(question).map(Kind::Database)
            }
            Some(coordinator_message::Kind::Recover(asked)) => {
                let told = self.held.tell(&asked).await;
                let told = told.inspect_err(|why| {
                    tracing::warn!(%why, "a coordinator is told nothing: {why}");
                });
                told.ok().map(Kind::Holdings)
            }
            // A second welcome says nothing new; an unknown arm is of a later version.
            Some(coordinator_message::Kind::Welcome(_)) | None => None,
        };
        match answer {
            Some(answer) => send(outbox, answer).await,
            None => Ok(()),
        }
    }

    async fn assigned(&self, assignment: v1::Assignment) -> Kind {
        Kind::AssignmentAck(self.held.take_assignment(assignment).await)
    }
}
