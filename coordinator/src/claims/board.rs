//! How every claim is, for operators: what its grantor, its members and its history say, together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hamesh_claims::grantor::Explanation;
use hamesh_claims::ids::NodeName;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;

use super::desk::Seen;
use super::history::History;
use super::wanted::{Wanted, Wishes};
use crate::clock::milliseconds;
use crate::core::Core;
use crate::world::World;

/// All claims of the site, at one moment.
#[derive(Debug)]
pub struct Board {
    wishes: Wishes,
    seen: BTreeMap<ClaimId, Seen>,
    /// Whether the grantors answered.
    looked_after: bool,
    history: Arc<History>,
    /// What each node says of itself.
    reports: BTreeMap<ClaimId, BTreeMap<NodeId, v1::ClaimReport>>,
}

impl Board {
    /// As of now, for this state of the site.
    pub async fn of(core: &Core, world: &World) -> Self {
        let looked = core.claims.look().await;
        let looked_after = looked.is_ok();
        let seen = looked.unwrap_or_default().into_iter();
        Self {
            wishes: Wishes::of(world),
            seen: seen.map(|seen| (seen.claim.clone(), seen)).collect(),
            looked_after,
            history: Arc::clone(&core.claims.history.borrow()),
            reports: reports(core, world),
        }
    }

    /// Whether the grantors answered: if not, nothing here says who holds what.
    pub fn looked_after(&self) -> bool {
        self.looked_after
    }

    /// The claims of the site.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimId> {
        self.wishes.claims.keys()
    }

    /// Every claim, one line each.
    pub fn statuses(&self) -> Vec<v1::ClaimStatus> {
        let statuses = self.wishes.claims.iter();
        statuses
            .map(|(claim, wanted)| self.line(claim, wanted))
            .collect()
    }

    /// One claim; `None`: the site has no such claim.
    pub fn status(&self, claim: &ClaimId) -> Option<v1::ClaimStatus> {
        Some(self.line(claim, self.wishes.claims.get(claim)?))
    }

    /// The claims in which `node` may have a part.
    pub fn of_node(&self, node: &NodeName) -> Vec<v1::ClaimStatus> {
        let mine = self.wishes.claims.iter();
        let mine = mine.filter(|(_, wanted)| wanted.members.contains(node));
        mine.map(|(claim, wanted)| self.line(claim, wanted))
            .collect()
    }

    /// Why a claim is where it is.
    pub fn explain(&self, claim: &ClaimId) -> Option<v1::ClaimExplanation> {
        let wanted = self.wishes.claims.get(claim)?;
        let seen = self.seen.get(claim);
        let moves = self.history.moves(claim).iter().map(|moved| v1::ClaimMove {
            at_unix_ms: moved.at_unix_ms,
            from: moved.from.clone(),
            to: moved.to.clone(),
            reason: moved.reason.clone(),
        });
        Some(v1::ClaimExplanation {
            status: Some(self.line(claim, wanted)),
            candidates: self.candidates(claim, wanted, seen),
            moves: moves.collect(),
            group_version: seen.map_or(0, |seen| seen.group.0),
        })
    }

    fn candidates(
        &self,
        claim: &ClaimId,
        wanted: &Wanted,
        seen: Option<&Seen>,
    ) -> Vec<v1::Candidate> {
        let said = self.reports.get(claim);
        let reason = |node: &str| {
            let said = said.and_then(|said| said.get(node));
            said.map_or_else(String::new, |said| said.health_reason.clone())
        };
        let mut found = BTreeMap::new();
        for node in &wanted.missing {
            found.insert(
                node.to_string(),
                (String::new(), false, "is not enrolled".to_owned()),
            );
        }
        if let Some(explanation) = seen.map(|seen| &seen.explanation) {
            for other in &explanation.others {
                let health = other
                    .health
                    .map_or_else(String::new, |health| health.to_string());
                let why_not = other
                    .why_not
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string);
                found.insert(other.node.to_string(), (health, false, why_not));
            }
            if let Some((holder, _, _)) = &explanation.holder {
                let said = said.and_then(|said| said.get(holder.as_ref()));
                let health = said.map_or_else(String::new, |said| said.health.clone());
                found.insert(holder.to_string(), (health, true, String::new()));
            }
        }
        let candidate =
            |(node, (health, holds, why_not)): (String, (String, bool, String))| v1::Candidate {
                health_reason: reason(&node),
                node,
                health,
                holds,
                why_not,
            };
        found.into_iter().map(candidate).collect()
    }

    fn line(&self, claim: &ClaimId, wanted: &Wanted) -> v1::ClaimStatus {
        let seen = self.seen.get(claim);
        let explanation = seen.map(|seen| &seen.explanation);
        let holder = explanation.and_then(|it| it.holder.as_ref());
        let name = holder.map(|(node, _, _)| node);
        let text = |text: Option<String>| text.unwrap_or_default();
        let said = self.reports.get(claim);
        let own = said
            .zip(name)
            .and_then(|(said, name)| said.get(name.as_ref()));
        let macs = said.into_iter().flat_map(BTreeMap::values);
        let macs: BTreeSet<String> = macs.flat_map(|said| said.duplicate_macs.clone()).collect();
        v1::ClaimStatus {
            claim: claim.to_string(),
            addresses: wanted.addresses.iter().map(ToString::to_string).collect(),
            holder: text(name.map(ToString::to_string)),
            grant: text(holder.map(|(_, grant, _)| grant.to_string())),
            since_unix_ms: self.history.since_unix_ms(claim, name).unwrap_or_default(),
            remaining_ms: seen.and_then(|seen| seen.remaining).map_or(0, milliseconds),
            ttl_ms: milliseconds(wanted.spec.timing.ttl),
            paused: wanted.spec.paused,
            reason: self.reason(claim, wanted, explanation),
            moving: text(explanation.and_then(|it| Some(it.moving.as_ref()?.to_string()))),
            keeps: text(explanation.and_then(|it| Some(it.keeps.as_ref()?.to_string()))),
            awaited: explanation.map_or_else(Vec::new, |it| {
                it.awaited.iter().map(ToString::to_string).collect()
            }),
            gathering: explanation.is_some_and(|it| it.gathering),
            duplicate_macs: macs.into_iter().collect(),
            part: own
                .map_or(v1::ClaimPart::Unspecified, v1::ClaimReport::part)
                .into(),
        }
    }

    /// Why it is held, why it is not, or what is waited for.
    fn reason(
        &self,
        claim: &ClaimId,
        wanted: &Wanted,
        explanation: Option<&Explanation>,
    ) -> String {
        if !self.looked_after {
            return "not known: this coordinator is starting or stopping".to_owned();
        }
        let Some(explanation) = explanation else {
            let listed = |nodes: &BTreeSet<NodeName>| {
                nodes
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            return match (wanted.members.is_empty(), wanted.missing.is_empty()) {
                (true, true) => "no node has its role and an address in its network".to_owned(),
                (_, false) => format!("waits for {} to enrol", listed(&wanted.missing)),
                (false, true) => "waits for the store".to_owned(),
            };
        };
        if explanation.holder.is_some() {
            let newest = self.history.moves(claim).first();
            return newest.map_or_else(String::new, |moved| moved.reason.clone());
        }
        if explanation.gathering {
            return "not known: the site was restored, and members of before are awaited"
                .to_owned();
        }
        match (&explanation.vacant, explanation.starting_until) {
            (Some(why), _) => {
                let why_not = |other: &hamesh_claims::grantor::Other| {
                    Some(format!("; {} {}", other.node, other.why_not.as_ref()?))
                };
                let others: String = explanation.others.iter().filter_map(why_not).collect();
                format!("{why}{others}")
            }
            (None, Some(_)) => "waits until leases of an earlier leader have run out".to_owned(),
            (None, None) => String::new(),
        }
    }
}

fn reports(core: &Core, world: &World) -> BTreeMap<ClaimId, BTreeMap<NodeId, v1::ClaimReport>> {
    let mut reports: BTreeMap<ClaimId, BTreeMap<NodeId, v1::ClaimReport>> = BTreeMap::new();
    for (node, said) in core.sessions.said_by(world.nodes.keys()) {
        for report in said.facts.into_iter().flat_map(|facts| facts.claims) {
            // What a node says of no claim is not shown.
            if let Ok(claim) = report.claim.parse::<ClaimId>() {
                reports
                    .entry(claim)
                    .or_default()
                    .insert(node.clone(), report);
            }
        }
    }
    reports
}
