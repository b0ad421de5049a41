//! Sends what one turn of the holder left to be sent.

use std::collections::BTreeMap;

use hamesh_claims::ids::NodeName;
use hamesh_claims::message::{ToCoordinator, ToPeer};
use hamesh_proto::ids::ClaimId;
use hamesh_proto::leases::Content;

use super::Holder;
use crate::claims::outbox::{MOST_TOGETHER, Word};
use crate::claims::world::World;

impl Holder {
    /// Sends what the duties want sent, and gives what they want said.
    pub fn flush(&mut self, world: &mut impl World) -> Vec<Word> {
        let messages = std::mem::take(&mut self.outbox.coordinators);
        for some in messages.chunks(MOST_TOGETHER) {
            self.tell_coordinators(some.to_vec(), world);
        }
        let mut by_peer: BTreeMap<NodeName, Vec<(ClaimId, ToPeer)>> = BTreeMap::new();
        for (to, claim, message) in self.outbox.peers.drain(..) {
            by_peer.entry(to).or_default().push((claim, message));
        }
        for (to, messages) in by_peer {
            for some in messages.chunks(MOST_TOGETHER) {
                self.tell_peer(&to, some.to_vec(), world);
            }
        }
        std::mem::take(&mut self.outbox.words)
    }

    fn tell_coordinators(
        &mut self,
        messages: Vec<(ClaimId, ToCoordinator)>,
        world: &mut impl World,
    ) {
        let content = Content::ToCoordinator(messages).encode();
        let (brief, metrics) = (&self.brief, &self.metrics);
        self.channels
            .seal_for_coordinators(&content, |node, datagram| {
                if let Some(to) = brief.coordinators.get(node) {
                    world.send(*to, datagram);
                    metrics.sent.inc();
                }
            });
    }

    fn tell_peer(
        &mut self,
        to: &NodeName,
        messages: Vec<(ClaimId, ToPeer)>,
        world: &mut impl World,
    ) {
        let content = Content::ToPeer(messages).encode();
        let sealed = self.channels.seal_for_peer(to.as_ref(), &content);
        if let Some((node, datagram)) = sealed
            && let Some(to) = self.brief.members.get(&node)
        {
            world.send(*to, &datagram);
            self.metrics.sent.inc();
        }
    }
}
