//! What the agents say of their claims, told when it changes: another who answers for the address,
//! a holder that lives on promises, one opened by hand, one that cannot hold.
//!
//! Pure but for the loop: a [`Watch`] compares what is said now with what was said before. What a
//! node said before this coordinator started is told once, for it may be news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;
use tokio::sync::mpsc;

use crate::core::Core;
use crate::ledger::EventKind;
use crate::sessions;

/// The least time between two looks: with many agents something changes all the time.
const REST: Duration = Duration::from_millis(200);
/// Events that may wait for the store.
const QUEUE: usize = 1_000;
/// The pause before an event is written again that the store did not take.
const PAUSE: Duration = Duration::from_secs(2);

/// What was said last, by claim and node.
#[derive(Debug, Default)]
pub struct Watch {
    said: BTreeMap<(ClaimId, NodeId), Said>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    part: v1::ClaimPart,
    macs: Vec<String>,
}

/// Something that an agent says for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What it is.
    pub kind: EventKind,
    /// Who says it.
    pub node: NodeId,
    /// For people.
    pub text: String,
}

impl Watch {
    /// What is new in what each node says of its claims.
    pub fn look(&mut self, reports: &[(NodeId, v1::ClaimReport)]) -> Vec<News> {
        let mut said = BTreeMap::new();
        let mut news = Vec::new();
        for (node, report) in reports {
            let Ok(claim) = report.claim.parse::<ClaimId>() else {
                continue;
            };
            let now = Said {
                part: report.part(),
                macs: report.duplicate_macs.clone(),
            };
            let key = (claim, node.clone());
            let before = self.said.get(&key).cloned().unwrap_or_default();
            news.extend(compared(&key.0, node, report, &before, &now));
            said.insert(key, now);
        }
        self.said = said;
        news
    }
}

fn compared(
    claim: &ClaimId,
    node: &NodeId,
    report: &v1::ClaimReport,
    before: &Said,
    now: &Said,
) -> Vec<News> {
    let tell = |kind, text: String| News {
        kind,
        node: node.clone(),
        text,
    };
    let mut news = Vec::new();
    if now.macs != before.macs && !now.macs.is_empty() {
        let macs = now.macs.join(", ");
        let text = format!("others answer for {claim}, seen by {node}: {macs}");
        news.push(tell(EventKind::ClaimDuplicate, text));
    }
    if now.part == before.part {
        return news;
    }
    match now.part {
        v1::ClaimPart::HoldingAlone => {
            let text = format!("{node} holds {claim} by the other members' promises");
            news.push(tell(EventKind::ClaimAlone, text));
        }
        v1::ClaimPart::BreakGlass => {
            let text = format!("{claim} was opened by hand on {node}, answering to nobody");
            news.push(tell(EventKind::ClaimBreakGlass, text));
        }
        v1::ClaimPart::Unable => {
            let why = &report.health_reason;
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            let text = format!("{node} cannot hold {claim}{why}");
            news.push(tell(EventKind::ClaimUnable, text));
        }
        v1::ClaimPart::Unspecified | v1::ClaimPart::Standby | v1::ClaimPart::Holding => {}
    }
    if before.part == v1::ClaimPart::BreakGlass {
        let text = format!("{claim} is no longer opened by hand on {node}");
        news.push(tell(EventKind::ClaimBreakGlass, text));
    }
    news
}

/// Records what is new. Runs for ever.
pub async fn watch(core: Arc<Core>) {
    let mut sessions = core.sessions.changes();
    let (events, queue) = mpsc::channel(QUEUE);
    tokio::spawn(record(Arc::clone(&core), queue));
    let mut watch = Watch::default();
    while sessions.changed().await.is_ok() {
        for news in watch.look(&said(&core)) {
            if let Err(lost) = events.try_send(news) {
                tracing::error!(%lost, "what an agent says of a claim is not in the event log");
            }
        }
        tokio::time::sleep(REST).await;
    }
}

fn said(core: &Core) -> Vec<(NodeId, v1::ClaimReport)> {
    let world = core.world();
    let said = core.sessions.said_by(world.nodes.keys());
    let each = |(node, said): (NodeId, sessions::Said)| {
        let claims = said.facts.map(|facts| facts.claims).unwrap_or_default();
        claims.into_iter().map(move |report| (node.clone(), report))
    };
    said.into_iter().flat_map(each).collect()
}

async fn record(core: Arc<Core>, mut queue: mpsc::Receiver<News>) {
    while let Some(News { kind, node, text }) = queue.recv().await {
        let change = core
            .change(format!("agent/{node}"))
            .event(kind, Some(&node), text);
        while let Err(problem) = core.ledger.commit(change.clone()).await {
            if core.leadership.is_over() {
                return;
            }
            tracing::warn!(%problem, AGENT = %node, "an agent's word on a claim waits");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(part: v1::ClaimPart, macs: &[&str]) -> Vec<(NodeId, v1::ClaimReport)> {
        let report = v1::ClaimReport {
            claim: "vip/edge".to_owned(),
            part: part.into(),
            duplicate_macs: macs.iter().map(ToString::to_string).collect(),
            ..v1::ClaimReport::default()
        };
        vec![("node-1".parse().expect("a name"), report)]
    }

    fn kinds(watch: &mut Watch, part: v1::ClaimPart, macs: &[&str]) -> Vec<EventKind> {
        let news = watch.look(&report(part, macs));
        news.into_iter().map(|news| news.kind).collect()
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_told_once_each_time_it_begins() {
        let mut watch = Watch::default();
        assert_eq!(kinds(&mut watch, v1::ClaimPart::Holding, &[]), []);
        for _ in 0..2 {
            let alone = v1::ClaimPart::HoldingAlone;
            assert_eq!(kinds(&mut watch, alone, &[]), [EventKind::ClaimAlone]);
            assert_eq!(kinds(&mut watch, alone, &[]), []);
            assert_eq!(kinds(&mut watch, v1::ClaimPart::Holding, &[]), []);
        }
    }

    #[test]
    fn each_other_answerer_and_the_end_of_break_glass_are_told() {
        let mut watch = Watch::default();
        let glass = v1::ClaimPart::BreakGlass;
        assert_eq!(
            kinds(&mut watch, glass, &["02:00:00:00:00:01"]),
            [EventKind::ClaimDuplicate, EventKind::ClaimBreakGlass]
        );
        assert_eq!(kinds(&mut watch, glass, &[]), []);
        assert_eq!(
            kinds(&mut watch, v1::ClaimPart::Standby, &[]),
            [EventKind::ClaimBreakGlass]
        );
    }
}
