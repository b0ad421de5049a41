//! What an internal proxy is told of drained nodes.

use hamesh_proto::v1;
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use hamesh_roles::Role;
use tonic::Status;

use super::Serving;
use crate::world::World;

impl Serving {
    /// Sends all of them at the beginning of a session, and whenever they change.
    pub(super) async fn push_drained(&mut self, world: &World) -> Result<(), Status> {
        let own = world.desired.site.nodes.get(&self.admitted.node);
        if own.and_then(|node| node.role) != Some(Role::InternalProxy) {
            return Ok(());
        }
        let nodes = world.claim_wishes.drained.keys();
        let drained = v1::Drained {
            nodes: nodes.map(ToString::to_string).collect(),
        };
        if self.told.drained.as_ref() != Some(&drained) {
            self.send(ToAgent::Drained(drained.clone())).await?;
            self.told.drained = Some(drained);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestAgent, TestSite};

    async fn drained(session: &mut TestAgent) -> Vec<String> {
        loop {
            if let ToAgent::Drained(told) = session.next().await.expect("the session goes on") {
                return told.nodes;
            }
        }
    }

    #[tokio::test]
    async fn an_internal_proxy_is_told_of_drained_nodes_as_they_change_and_at_each_beginning() {
        let site = TestSite::start().await;
        let proxy = site.enrol("node-2").await;
        let mut admin = site.admin();
        let assigned = admin.assign(v1::AssignRequest {
            node: "node-2".to_owned(),
            role: "internal-proxy".to_owned(),
            base: site.session(&proxy).await.assignment().await.id,
            purge_data: false,
        });
        assigned.await.expect("assigned");
        let mut session = site.session(&proxy).await;
        assert_eq!(drained(&mut session).await, [""; 0]);
        let node = || "node-1".to_owned();
        let drain = v1::DrainNodeRequest { node: node() };
        let mut claims = site.claims(&site.admin);
        claims.drain(drain).await.expect("drained");
        assert_eq!(drained(&mut session).await, ["node-1"]);
        let mut session = site.session(&proxy).await;
        assert_eq!(drained(&mut session).await, ["node-1"]);
        let undrain = v1::UndrainNodeRequest { node: node() };
        claims.undrain(undrain).await.expect("undrained");
        assert_eq!(drained(&mut session).await, [""; 0]);
    }
}
