//! Whether what a member does is true to what it was told, and to its own word.

use anyhow::{Result, ensure};
use hamesh_claims::Moment;
use hamesh_claims::ids::NodeName;
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{ToCoordinator, ToPeer, Want};

use super::super::{at, bound};
use super::{NODES, Run, Word};

impl Run {
    pub(super) fn carry_out(&mut self, event: &Event, actions: Vec<Action>) -> Result<()> {
        let closes = |action: &Action| matches!(action, Action::Close(_));
        let before = actions.iter().any(closes).then_some(self.requests.len());
        for action in actions {
            match action {
                Action::Open { until, .. } => {
                    let bound = self.words.iter().any(|word| word.until > at(self.now));
                    ensure!(!bound, "opens against its word");
                    self.arm(until)?;
                }
                Action::Rearm(until) => {
                    ensure!(self.fence.is_some(), "arms what is closed");
                    self.arm(until)?;
                }
                Action::Close(_) => (self.fence, self.left_open) = (None, None),
                Action::Tell(message) => self.told(message)?,
                Action::TellPeer(to, message) => self.told_peer(event, &to, message)?,
                Action::Remember(memory) => self.memory = Some(memory),
                Action::Store(disk) => self.unwritten.push_back(disk),
                Action::Note(_) => {}
            }
        }
        if self.fence.is_none() {
            self.leased = None;
            self.requests_from = before.unwrap_or(self.requests_from);
        }
        Ok(())
    }

    fn arm(&mut self, until: Moment) -> Result<()> {
        let most = self.leased.max(self.promised_by_all());
        ensure!(
            Some(until) <= most,
            "its fence is open for longer than anybody is bound to it"
        );
        self.fence = Some(until);
        Ok(())
    }

    fn told(&mut self, message: ToCoordinator) -> Result<()> {
        let now = self.local();
        match message {
            ToCoordinator::Request(request) => {
                let version = self.disk.group.as_ref().map(|group| group.version);
                ensure!(
                    Some(request.group) <= version,
                    "acknowledges a group that is not on its disk"
                );
                if let Want::GiveBack(_) = request.want {
                    ensure!(self.fence.is_none(), "gives back with its fence open");
                    self.forgot()?;
                    // What is given back is believed no more, whatever is still under way.
                    self.requests_from = self.requests.len();
                }
                self.requests.push((self.runs, request.id, now));
            }
            ToCoordinator::Knows(knows) => {
                ensure!(
                    knows.seen <= self.disk.seen && knows.group == self.disk.group,
                    "says of itself what its disk does not"
                );
                let open = self.fence.max(self.left_open).is_some_and(|it| it > now);
                ensure!(
                    !(knows.closed && open),
                    "says that it is closed, and is not"
                );
            }
            ToCoordinator::Consent(consent) => {
                if let Ok(ttl) = consent.ruling {
                    let bound_by = self.words.iter().any(|word| word.until > at(self.now));
                    ensure!(!bound_by, "consents against its promise");
                    self.consents.push(bound(at(self.now), ttl));
                }
            }
        }
        Ok(())
    }

    fn told_peer(&mut self, event: &Event, to: &NodeName, message: ToPeer) -> Result<()> {
        let now = self.local();
        let of = NODES.iter().position(|name| *name == to.as_ref());
        match message {
            ToPeer::Ask(ask) => {
                if self.asks.last().is_none_or(|(_, id, _)| *id != ask.id) {
                    self.asks.push((self.runs, ask.id, now));
                }
            }
            ToPeer::Release(release) => {
                let last = self.asks.last().map(|(_, id, _)| *id);
                if last.is_none_or(|last| last <= release.upto) {
                    self.promised.clear();
                    self.asks_from = self.asks.len();
                    self.forgot()?;
                }
            }
            ToPeer::Promise(promise) => {
                let (Ok(ttl), Event::FromPeer(ToPeer::Ask(ask))) = (promise.ruling, event) else {
                    return Ok(());
                };
                ensure!(self.fence.is_none(), "promises what it holds");
                let version = self.disk.group.as_ref().map(|group| group.version);
                ensure!(Some(ask.group) == version, "promises to another group");
                let consents = self.consents.iter().any(|until| *until > at(self.now));
                ensure!(!consents, "promises against its consent");
                let memory = self
                    .memory
                    .as_ref()
                    .and_then(|memory| memory.promised.as_ref());
                ensure!(
                    memory.is_some_and(|it| it.to == *to && it.until >= bound(now, ttl)),
                    "promises what it has not written down"
                );
                self.words.push(Word {
                    to: of.unwrap_or(NODES.len()),
                    number: promise.id.number,
                    until: bound(at(self.now), ttl),
                });
            }
        }
        Ok(())
    }

    fn forgot(&self) -> Result<()> {
        let kept = self.memory.as_ref().and_then(|memory| memory.kept.as_ref());
        ensure!(kept.is_none(), "gives up what its next run would carry on");
        Ok(())
    }
}
