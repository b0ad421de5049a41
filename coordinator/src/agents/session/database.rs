//! What an agent is asked of its node's databases.

use std::collections::BTreeMap;

use hamesh_proto::v1;
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use tonic::Status;

use super::super::DATABASES_PROTOCOL;
use super::Serving;
use crate::databases::Ask;
use crate::questions::Asked;

impl Serving {
    /// Sends the questions that stand for this node, each once. In the place of an agent that does
    /// not know such questions they are answered here.
    pub(super) async fn push_database(&mut self, asked: &Asked<Ask>) -> Result<(), Status> {
        let none = BTreeMap::new();
        let node = &self.admitted.node;
        let asked = asked.get(node).unwrap_or(&none);
        let told = |name: &String| self.told.asked_of_databases.contains(name);
        for (name, question) in asked.iter().filter(|(name, _)| !told(name)) {
            if self.protocol < DATABASES_PROTOCOL {
                let questions = &self.core.databases.questions;
                questions.answered(node, name, question.too_old());
            } else if let Some(kind) = question.take() {
                let question = v1::DatabaseQuestion {
                    id: name.clone(),
                    kind: Some(kind),
                };
                self.send(ToAgent::Database(question)).await?;
            }
        }
        self.told.asked_of_databases = asked.keys().cloned().collect();
        Ok(())
    }
}
