//! What an agent is told of its node's role.

use std::collections::BTreeMap;
use std::sync::Arc;

use hamesh_proto::orders::{Purpose, sign};
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use hamesh_proto::{parts, v1};
use tonic::Status;

use super::super::ROLES_PROTOCOL;
use super::Serving;
use crate::roles::Released;
use crate::roles::questions::Asked;
use crate::roles::rollout::same;

impl Serving {
    /// Sends the role's order that the node may have, and the question that stands for it, both
    /// signed: what carries them out believes no agent.
    pub(super) async fn push_role(
        &mut self,
        released: &Released,
        asked: &Asked,
    ) -> Result<(), Status> {
        if self.protocol < ROLES_PROTOCOL {
            return Ok(());
        }
        let node = &self.admitted.node;
        if let Some(order) = released.get(node)
            && !self
                .told
                .role
                .as_ref()
                .is_some_and(|told| same(told, order))
        {
            let signed = sign(&self.core.live.current(), Purpose::Order, node, order);
            for part in parts::cut_role(&signed) {
                self.send(ToAgent::RolePart(part)).await?;
            }
            self.told.role = Some(Arc::clone(order));
        }
        let none = BTreeMap::new();
        let asked = asked.get(&self.admitted.node).unwrap_or(&none);
        for (name, question) in asked {
            if !self.told.asked.contains(name) {
                let live = self.core.live.current();
                let node = &self.admitted.node;
                let question = v1::RolePlanRequest {
                    id: name.clone(),
                    asked: Some(sign(&live, Purpose::Question, node, &question.order)),
                    outside: question.outside.clone(),
                };
                self.send(ToAgent::PlanRole(question)).await?;
            }
        }
        self.told.asked = asked.keys().cloned().collect();
        Ok(())
    }
}
