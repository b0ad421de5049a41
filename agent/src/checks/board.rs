//! What all results so far say of each claim. Pure.
//!
//! Guarantees: a claim is healthy when all its checks pass, degraded when only such fail as only
//! degrade, failed otherwise. Where nothing is known yet it is failed: this node may have just
//! booted, and must not be chosen over one that is known to be well. Where something is known, a
//! check that is new to it counts from its first result, so that neither a restart of the agent
//! nor a new check moves anything by itself.

use std::collections::BTreeMap;

use hamesh_claims::message::Health;
use hamesh_proto::ids::ClaimId;
use hamesh_roles::Check;

use super::streak::Streak;
use super::{HealthReport, Outcome, Reports};
use crate::assignment::Claim;

/// The longest text that a report gives, in characters: it travels by gossip.
const LONGEST_WHY: usize = 240;

/// What is known of each check, by its subject, between two runs: whether it passes.
pub type Memory = BTreeMap<ClaimId, BTreeMap<String, bool>>;

/// What is known.
#[derive(Debug, Default)]
pub struct Board {
    claims: BTreeMap<ClaimId, Line>,
    /// Of the run before, for claims and checks that were not assigned yet.
    remembered: Memory,
}

/// What is known of one claim.
#[derive(Debug, Default)]
struct Line {
    /// Once every check had a result.
    known: bool,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    check: Check,
    streak: Streak,
    /// Why it fails, as it was when it began to.
    why: String,
}

/// A check that began to pass or to fail.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether it passes now.
    pub passing: bool,
    /// The result that turned it.
    pub outcome: Outcome,
}

impl Board {
    /// Starts from what the run before knew.
    pub fn new(remembered: Memory) -> Self {
        Self {
            claims: BTreeMap::new(),
            remembered,
        }
    }

    /// Takes these claims for all there are. What is known of their checks stays.
    pub fn assign(&mut self, claims: &[Claim]) {
        let mut before = std::mem::take(&mut self.claims);
        for claim in claims {
            let old = before.remove(&claim.id);
            let remembered = self.remembered.get(&claim.id);
            let known = old.as_ref().map_or(remembered.is_some(), |old| old.known);
            let mut entries = old.map(|old| old.entries).unwrap_or_default();
            let entry = |check: &Check| {
                let same = entries.iter().position(|old| old.check.kind == check.kind);
                let recalled = || remembered?.get(&check.kind.to_string()).copied();
                let (streak, why) = match same.map(|i| entries.swap_remove(i)) {
                    Some(old) => (old.streak, old.why),
                    None => match recalled() {
                        Some(passing) => (Streak::remembered(passing), FAILED_BEFORE.to_owned()),
                        None => (Streak::Unknown, String::new()),
                    },
                };
                let check = check.clone();
                Entry { check, streak, why }
            };
            let entries = claim.checks.iter().map(entry).collect();
            let mut line = Line { known, entries };
            line.settle();
            self.claims.insert(claim.id.clone(), line);
        }
        self.remembered.clear();
    }

    /// Takes one result; tells if the check turned. One of a check that is gone is dropped.
    pub fn take(&mut self, claim: &ClaimId, check: &Check, outcome: Outcome) -> Option<Turn> {
        let line = self.claims.get_mut(claim)?;
        let mut entries = line.entries.iter_mut();
        let entry = entries.find(|entry| entry.check.kind == check.kind)?;
        let before = entry.streak.passing();
        // Who watches has waited already for as long as `rise` asks for.
        let (rise, fall) = match check.kind.is_watched() {
            true => (1, 1),
            false => (check.rise, check.fall),
        };
        entry.streak = entry.streak.after(outcome.is_ok(), rise, fall);
        let now = entry.streak.passing();
        let turned = now.filter(|_| now != before);
        if let (Some(false), Err(why)) = (turned, &outcome) {
            entry.why.clone_from(why);
        }
        line.settle();
        turned.map(|passing| Turn { passing, outcome })
    }

    /// How well this node could serve each claim.
    pub fn reports(&self) -> Reports {
        let report = |(id, line): (&ClaimId, &Line)| (id.clone(), line.report());
        self.claims.iter().map(report).collect()
    }

    /// What the next run should know.
    pub fn memory(&self) -> Memory {
        let known = self.claims.iter().filter(|(_, line)| line.known);
        known
            .map(|(id, line)| {
                let entries = line.entries.iter().filter_map(|entry| {
                    Some((entry.check.kind.to_string(), entry.streak.passing()?))
                });
                (id.clone(), entries.collect())
            })
            .collect()
    }
}

/// Why a check fails that the run before saw fail.
const FAILED_BEFORE: &str = "failed before the agent was started anew";

impl Line {
    fn settle(&mut self) {
        self.known |= self
            .entries
            .iter()
            .all(|entry| entry.streak.passing().is_some());
    }

    fn report(&self) -> HealthReport {
        if !self.known {
            let unknown = |entry: &&Entry| entry.streak.passing().is_none();
            let awaited = self.entries.iter().filter(unknown);
            let awaited = awaited.map(|entry| entry.check.kind.to_string());
            return HealthReport {
                health: Health::Failed,
                why: bounded(&format!("not checked yet: {}", join(awaited))),
            };
        }
        let failing = |degrades: bool| {
            let entries = self.entries.iter();
            let failing = entries.filter(move |entry| entry.streak.passing() == Some(false));
            failing.filter(move |entry| entry.check.degrades == degrades)
        };
        let health = if failing(false).next().is_some() {
            Health::Failed
        } else if failing(true).next().is_some() {
            Health::Degraded
        } else {
            Health::Healthy
        };
        let told = failing(false).chain(failing(true));
        let why = join(told.map(|entry| format!("{}: {}", entry.check.kind, entry.why)));
        HealthReport {
            health,
            why: bounded(&why),
        }
    }
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("; ")
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST_WHY) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
