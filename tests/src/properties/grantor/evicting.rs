//! What happens to a worker's claim: asks for consent, and consents that come, late or twice.

use anyhow::Result;
use hamesh_claims::grantor::Event;
use hamesh_claims::ids::NodeName;
use hamesh_claims::message::{Consent, ToCoordinator};

use super::super::{at, bound};
use super::inputs::Input;
use super::{NODES, Run};

impl Run {
    pub(super) fn evicting(&mut self, input: &Input) -> Result<()> {
        match input {
            Input::Evict(wanted) => {
                let mut out = Vec::new();
                self.grantor.evict(*wanted, at(self.now), &mut out);
                self.carry_out(None, out)
            }
            Input::Consent { peer, back } => {
                let place = self.consent_asks.len().checked_sub(back + 1);
                let Some((ask, _)) = place.map(|place| &self.consent_asks[place]) else {
                    return Ok(());
                };
                let consent = Consent {
                    from: NodeName::new(NODES[*peer]),
                    epoch: ask.epoch,
                    number: ask.number,
                    ruling: Ok(ask.ttl),
                };
                let until = bound(at(self.now), ask.ttl);
                self.bound_peers.insert(*peer, until);
                self.consents.push(consent.clone());
                self.handle(Event::FromMember(ToCoordinator::Consent(consent)))
            }
            Input::ConsentAgain(back) => {
                let place = self.consents.len().checked_sub(back + 1);
                match place.map(|place| self.consents[place].clone()) {
                    Some(consent) => {
                        self.handle(Event::FromMember(ToCoordinator::Consent(consent)))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
