//! Claims that a human opened on this node: break glass.
//!
//! What is opened by hand has no member: it answers to nobody, promises nothing, and stays open
//! until a human closes it or the machine reboots.

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_claims::message::Health;
use hamesh_kernel::fence::Written;
use hamesh_proto::ids::ClaimId;

use super::{Holder, LEAVING};
use crate::claims::brief::Spec;
use crate::claims::outbox::Said;
use crate::claims::report::{ClaimView, Part};
use crate::claims::world::World;

/// How long an address that was opened by hand stays open without the agent.
pub const BREAK_GLASS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Holder {
    /// Opens and closes what a human wants open.
    pub(super) fn by_hand(&mut self, wanted: &BTreeSet<ClaimId>, world: &mut impl World) {
        let closed: Vec<ClaimId> = self.by_hand.difference(wanted).cloned().collect();
        for id in closed {
            self.by_hand.remove(&id);
            self.metrics.of(&id).break_glass(false);
            if let Some(spec) = self.brief.claims.get(&id) {
                // What stays open is closed by the next reconciliation.
                drop(world.give_back(spec.subject()));
            }
            self.outbox.say(&id, Said::BreakGlass(false));
        }
        for id in wanted {
            let Some(spec) = self.brief.claims.get(id).cloned() else {
                continue;
            };
            if let Some(mut duty) = self.duties.remove(id) {
                duty.leave(LEAVING, world, &mut self.outbox);
            }
            if self.by_hand.insert(id.clone()) {
                self.metrics.of(id).break_glass(true);
                self.outbox.say(id, Said::BreakGlass(true));
            }
            let until = world.now().plus(BREAK_GLASS_FOR);
            let renewed = world.renew(spec.subject(), until);
            if !matches!(renewed, Ok(Written::Live)) {
                let taken = world.take(spec.subject(), until);
                if let Err(trouble) = taken {
                    self.outbox.say(id, Said::Unable(trouble));
                }
            }
        }
    }
}

/// How it stands, for people and for the site.
pub(super) fn view(spec: &Spec) -> ClaimView {
    ClaimView {
        part: Part::BreakGlass,
        addresses: spec.addresses.clone(),
        grant: None,
        promised_to: None,
        health: Health::Failed.to_string(),
        health_reason: "opened by hand on this node, answering to nobody".to_owned(),
        duplicate_macs: Vec::new(),
    }
}
