//! What happened to each claim, from its grantor's notes. Pure.
//!
//! Guarantees: a move is told once, with both its ends and its reason, though it is several notes;
//! a claim that stays without a holder for longer than [`VACANT`] is told of as vacant; one that a
//! new leader has not been shown yet, only after [`UNSEEN`].

use std::collections::BTreeMap;
use std::time::Duration;

use hamesh_claims::grantor::Note;
use hamesh_claims::ids::{GrantId, NodeName};
use hamesh_claims::reason::{GrantReason, MoveReason, VacantReason};
use hamesh_proto::ids::ClaimId;

use crate::clock::milliseconds;
use crate::ledger::EventKind;
use crate::records::{MoveRecord, MovesRecord};

/// How long nobody may hold a claim before that is an event of its own and not part of a move:
/// longer than any hand-over among healthy nodes takes.
pub const VACANT: Duration = Duration::from_secs(1);
/// The same for a claim that nobody has shown to a new leader: its holder may live on the others'
/// promises, the longest of which last for this, until its agent has found the leader.
pub const UNSEEN: Duration = Duration::from_secs(30);
/// The last moves that are kept of each claim: what an operator reads through after a bad night.
pub const MOVES_KEPT: usize = 20;

/// What happened to all claims.
#[derive(Debug, Clone, Default)]
pub struct History {
    lines: BTreeMap<ClaimId, Line>,
}

#[derive(Debug, Clone, Default)]
struct Line {
    moves: MovesRecord,
    /// Why its holder was asked to give it back.
    moving: Option<MoveReason>,
    /// Nobody holds it since then, and that was not told yet.
    vacant: Option<(VacantReason, u64)>,
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Of which claim.
    pub claim: ClaimId,
    /// What.
    pub kind: EventKind,
    /// The node that it is about.
    pub node: Option<NodeName>,
    /// For people.
    pub text: String,
    /// The last moves, if this was one, and its reason as metrics show it.
    pub moved: Option<(MovesRecord, &'static str)>,
}

impl History {
    /// Goes on from what the store holds of a claim.
    pub fn load(&mut self, claim: ClaimId, moves: MovesRecord) {
        self.lines.entry(claim).or_default().moves = moves;
    }

    /// The last moves of a claim, the newest first.
    pub fn moves(&self, claim: &ClaimId) -> &[MoveRecord] {
        let line = self.lines.get(claim);
        line.map_or(&[], |line| line.moves.moves.as_slice())
    }

    /// Since when `holder` has had the claim, or nobody has.
    pub fn since_unix_ms(&self, claim: &ClaimId, holder: Option<&NodeName>) -> Option<u64> {
        let newest = self.moves(claim).first()?;
        let to = Some(newest.to.as_str()).filter(|to| !to.is_empty());
        (to == holder.map(AsRef::as_ref)).then_some(newest.at_unix_ms)
    }

    /// Takes a note.
    pub fn note(&mut self, claim: &ClaimId, note: &Note, at_unix_ms: u64) -> Option<Happened> {
        let line = self.lines.entry(claim.clone()).or_default();
        match note {
            Note::Granted(node, grant, why) => {
                Some(line.granted(claim, node, *grant, why, at_unix_ms))
            }
            Note::Vacant(why) => {
                line.vacant = Some((why.clone(), at_unix_ms));
                None
            }
            Note::Moving(_, why) => {
                line.moving = Some(why.clone());
                None
            }
            Note::Keeps(node, why) => Some(Happened {
                claim: claim.clone(),
                kind: EventKind::ClaimKept,
                node: Some(node.clone()),
                text: format!("{claim} stays with {node}, which {why}"),
                moved: None,
            }),
            Note::GroupInForce(version) => Some(Happened {
                claim: claim.clone(),
                kind: EventKind::ClaimGroup,
                node: None,
                text: format!("{claim} has a new group, {version}"),
                moved: None,
            }),
        }
    }

    /// What has to be told because of the time that went by.
    pub fn due(&mut self, now_unix_ms: u64) -> Vec<Happened> {
        let told = |(claim, line): (&ClaimId, &mut Line)| line.vacant(claim, now_unix_ms);
        self.lines.iter_mut().filter_map(told).collect()
    }
}

impl Line {
    fn holder(&self) -> Option<&str> {
        let newest = self.moves.moves.first()?;
        Some(newest.to.as_str()).filter(|to| !to.is_empty())
    }

    fn granted(
        &mut self,
        claim: &ClaimId,
        node: &NodeName,
        grant: GrantId,
        why: &GrantReason,
        at_unix_ms: u64,
    ) -> Happened {
        self.vacant = None;
        let moving = self.moving.take();
        let before = self.holder().map(ToOwned::to_owned);
        let same = before.as_deref() == Some(node.as_ref());
        let reason = match (&moving, why) {
            (Some(moving), GrantReason::Free(VacantReason::GivenBack(_))) => moving.to_string(),
            (_, GrantReason::Free(vacant)) => vacant.to_string(),
            (_, GrantReason::SameNode | GrantReason::ShownLive(_)) => why.to_string(),
        };
        let (kind, text) = match (why, &before) {
            (GrantReason::ShownLive(_), _) if same => (
                EventKind::ClaimAdopted,
                format!("{claim} stays with {node} as {grant}: {reason}"),
            ),
            (_, _) if same => (
                EventKind::ClaimGranted,
                format!("{claim} stays with {node} as {grant}: {reason}"),
            ),
            (_, Some(before)) => (
                EventKind::ClaimMoved,
                format!("{claim} moved from {before} to {node} as {grant}: {reason}"),
            ),
            (_, None) => (
                EventKind::ClaimGranted,
                format!("{claim} is granted to {node} as {grant}: {reason}"),
            ),
        };
        let moved = (!same).then(|| {
            let label = label(moving.as_ref(), why);
            (
                self.moved(before, node.to_string(), reason, at_unix_ms),
                label,
            )
        });
        Happened {
            claim: claim.clone(),
            kind,
            node: Some(node.clone()),
            text,
            moved,
        }
    }

    fn vacant(&mut self, claim: &ClaimId, now_unix_ms: u64) -> Option<Happened> {
        let due = |(why, since): &mut (VacantReason, u64)| {
            let patience = match why {
                VacantReason::NobodyShown => UNSEEN,
                VacantReason::RanOut(_) | VacantReason::GivenBack(_) | VacantReason::Evicted(_) => {
                    VACANT
                }
            };
            now_unix_ms >= *since + milliseconds(patience)
        };
        let (why, since) = self.vacant.take_if(due)?;
        let before = self.holder().map(ToOwned::to_owned);
        // A claim that nobody ever held is vacant already.
        let before = before?;
        let reason = why.to_string();
        let text = format!("nobody holds {claim}: {reason}");
        let moves = self.moved(Some(before.clone()), String::new(), reason, since);
        Some(Happened {
            claim: claim.clone(),
            kind: EventKind::ClaimVacant,
            node: Some(NodeName::new(&before)),
            text,
            moved: Some((moves, "vacant")),
        })
    }

    fn moved(
        &mut self,
        from: Option<String>,
        to: String,
        reason: String,
        at_unix_ms: u64,
    ) -> MovesRecord {
        let moves = &mut self.moves.moves;
        let moved = MoveRecord {
            at_unix_ms,
            from: from.unwrap_or_default(),
            to,
            reason,
        };
        moves.insert(0, moved);
        moves.truncate(MOVES_KEPT);
        self.moves.clone()
    }
}

/// The reason of a move, as metrics show it.
const fn label(moving: Option<&MoveReason>, why: &GrantReason) -> &'static str {
    match (why, moving) {
        (GrantReason::Free(VacantReason::GivenBack(_)), Some(moving)) => match moving {
            MoveReason::Asked(_) => "asked",
            MoveReason::Drained => "drained",
            MoveReason::Unhealthy(_) => "unhealthy",
            MoveReason::FailBack(_) => "fail_back",
            MoveReason::Leaving => "leaving",
        },
        (GrantReason::Free(vacant), _) => match vacant {
            VacantReason::NobodyShown => "start",
            VacantReason::RanOut(_) => "ran_out",
            VacantReason::GivenBack(_) => "given_back",
            VacantReason::Evicted(_) => "evicted",
        },
        (GrantReason::SameNode, _) => "restarted",
        (GrantReason::ShownLive(_), _) => "shown_live",
    }
}

#[cfg(test)]
mod tests {
    use hamesh_claims::ids::Epoch;
    use hamesh_claims::message::Health;

    use super::*;

    fn claim() -> ClaimId {
        "vip/edge".parse().expect("a claim")
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name)
    }

    fn granted(to: &str, why: GrantReason) -> Note {
        let grant = GrantId {
            epoch: Epoch {
                incarnation: 1,
                term: 7,
            },
            number: 3,
        };
        Note::Granted(node(to), grant, why)
    }

    fn given_back(by: &str) -> VacantReason {
        VacantReason::GivenBack(node(by))
    }

    /// Held by "a" since 1000.
    fn held() -> History {
        let mut history = History::default();
        let note = granted("a", GrantReason::Free(VacantReason::NobodyShown));
        let first = history.note(&claim(), &note, 1000).expect("told");
        assert_eq!(first.kind, EventKind::ClaimGranted);
        history
    }

    #[test]
    fn a_planned_move_is_told_once_with_what_was_asked() {
        let mut history = held();
        let asked = Note::Moving(node("a"), MoveReason::Asked(node("b")));
        assert_eq!(history.note(&claim(), &asked, 2000), None);
        let vacant = Note::Vacant(given_back("a"));
        assert_eq!(history.note(&claim(), &vacant, 2001), None);
        let note = granted("b", GrantReason::Free(given_back("a")));
        let told = history.note(&claim(), &note, 2002).expect("told");
        assert_eq!(
            (told.kind, told.text.as_str()),
            (
                EventKind::ClaimMoved,
                "vip/edge moved from a to b as 1.7#3: an operator asked for b"
            )
        );
        assert_eq!(told.moved.map(|(_, label)| label), Some("asked"));
        assert!(history.due(9000).is_empty(), "somebody holds it");
        assert_eq!(
            history.since_unix_ms(&claim(), Some(&node("b"))),
            Some(2002)
        );
        assert_eq!(history.moves(&claim()).len(), 2);
    }

    #[test]
    fn a_vacancy_is_told_when_it_lasts() {
        let mut history = held();
        history.note(
            &claim(),
            &Note::Vacant(VacantReason::RanOut(node("a"))),
            2000,
        );
        assert!(history.due(2999).is_empty());
        let told = history.due(3000);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].kind, EventKind::ClaimVacant);
        assert_eq!(history.since_unix_ms(&claim(), None), Some(2000));
        assert!(history.due(9000).is_empty(), "once");
    }

    #[test]
    fn a_holder_that_finds_the_new_leader_late_has_not_moved() {
        let mut history = held();
        history.note(&claim(), &Note::Vacant(VacantReason::NobodyShown), 2000);
        assert!(history.due(20_000).is_empty(), "it may live on promises");
        let told = history.note(&claim(), &granted("a", shown()), 21_000);
        assert_eq!(told.expect("told").moved, None);
        history.note(&claim(), &Note::Vacant(VacantReason::NobodyShown), 40_000);
        assert_eq!(history.due(70_000).len(), 1, "by then it would have shown");
    }

    #[test]
    fn an_unplanned_loss_is_told_with_its_own_reason() {
        let mut history = held();
        let unhealthy = MoveReason::Unhealthy(Health::Failed);
        history.note(&claim(), &Note::Moving(node("a"), unhealthy), 2000);
        let ran_out = VacantReason::RanOut(node("a"));
        history.note(&claim(), &Note::Vacant(ran_out.clone()), 2100);
        let told = history.note(&claim(), &granted("b", GrantReason::Free(ran_out)), 2101);
        let told = told.expect("told");
        assert!(
            told.text.ends_with("the lease of a ran out"),
            "{}",
            told.text
        );
        assert_eq!(told.moved.map(|(_, label)| label), Some("ran_out"));
    }

    #[test]
    fn a_holder_that_a_new_leader_adopts_has_not_moved() {
        let mut history = held();
        let GrantReason::ShownLive(_) = shown() else {
            unreachable!()
        };
        let told = history
            .note(&claim(), &granted("a", shown()), 5000)
            .expect("told");
        assert_eq!((told.kind, told.moved), (EventKind::ClaimAdopted, None));
        assert_eq!(
            history.since_unix_ms(&claim(), Some(&node("a"))),
            Some(1000)
        );
    }

    fn shown() -> GrantReason {
        GrantReason::ShownLive(GrantId {
            epoch: Epoch {
                incarnation: 1,
                term: 6,
            },
            number: 9,
        })
    }

    #[test]
    fn only_the_last_moves_are_kept() {
        let mut history = held();
        for n in 0..100 {
            let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
            let why = GrantReason::Free(given_back(from));
            history.note(&claim(), &granted(to, why), 2000 + n);
        }
        assert_eq!(history.moves(&claim()).len(), MOVES_KEPT);
        assert_eq!(history.moves(&claim())[0].at_unix_ms, 2099);
    }
}
