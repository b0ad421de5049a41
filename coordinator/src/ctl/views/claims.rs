//! Claims: who holds them, why, and where they were.

use std::fmt;

use hamesh_proto::v1;
use serde::Serialize;

use super::some_text;
use super::status::{Problem, Severity, problem};
use crate::ctl::time::Moment;

/// How a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// Its holder has a lease from the coordinator.
    Held,
    /// It is held, and its holder is wanted to give it back.
    Moving,
    /// Its holder says that it lives on the promises of the others: it hears no coordinator.
    Alone,
    /// Opened by hand on its holder.
    BreakGlass,
    /// Nobody holds it.
    Vacant,
}

impl ClaimState {
    /// As tables and documents name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Moving => "moving",
            Self::Alone => "alone",
            Self::BreakGlass => "break-glass",
            Self::Vacant => "vacant",
        }
    }
}

impl fmt::Display for ClaimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One claim.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimView {
    /// "vip/edge"
    pub claim: String,
    /// What it stands for.
    pub addresses: Vec<String>,
    /// How it is.
    pub state: ClaimState,
    /// Who holds it.
    pub holder: Option<String>,
    /// "EPOCH#NUMBER"
    pub grant: Option<String>,
    /// Since when it has been so.
    pub since: Option<Moment>,
    /// What is left of the lease.
    pub remaining_ms: u64,
    /// How long a lease lasts.
    pub ttl_ms: u64,
    /// Whether nothing of it moves by itself.
    pub paused: bool,
    /// Why it is held, why it is not, or what is waited for.
    pub reason: String,
    /// Why its holder is wanted to give it back.
    pub moving: Option<String>,
    /// Why its holder keeps it though it ought to move.
    pub keeps: Option<String>,
    /// Members that must be heard first: of a new group, or after a restore.
    pub awaited: Vec<String>,
    /// Whether nothing is granted until then, since the site was restored.
    pub gathering: bool,
    /// Others' link-layer addresses that answer for it.
    pub duplicate_macs: Vec<String>,
}

/// Why a claim is where it is.
#[derive(Debug, Clone, Serialize)]
pub struct ExplanationView {
    /// The claim.
    #[serde(flatten)]
    pub claim: ClaimView,
    /// Who may hold it.
    pub candidates: Vec<CandidateView>,
    /// Where it was, the newest first.
    pub moves: Vec<MoveView>,
    /// The version of its group.
    pub group_version: u64,
}

/// A node that may hold a claim.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateView {
    /// Its name.
    pub node: String,
    /// "healthy", "degraded", "failed"
    pub health: Option<String>,
    /// What makes it less than healthy.
    pub health_reason: Option<String>,
    /// Whether it holds the claim.
    pub holds: bool,
    /// Why it could not take it now.
    pub why_not: Option<String>,
}

/// One move of a claim.
#[derive(Debug, Clone, Serialize)]
pub struct MoveView {
    /// When.
    pub at: Option<Moment>,
    /// Who held it before.
    pub from: Option<String>,
    /// Who held it then.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

/// What a planned move came to.
#[derive(Debug, Clone, Serialize)]
pub struct MovedView {
    /// The claim.
    pub claim: String,
    /// Where it is.
    pub holder: Option<String>,
    /// From the request until the new holder was granted it.
    pub took_us: u64,
}

/// What draining a node, or the reverse, came to.
#[derive(Debug, Clone, Serialize)]
pub struct DrainedView {
    /// The node.
    pub node: String,
    /// Whether it is to hold nothing.
    pub drained: bool,
    /// Whether that is new.
    pub changed: bool,
    /// The claims that it concerns.
    pub claims: Vec<ClaimView>,
}

impl From<v1::ClaimStatus> for ClaimView {
    fn from(status: v1::ClaimStatus) -> Self {
        let part = status.part();
        let state = match part {
            _ if status.holder.is_empty() => ClaimState::Vacant,
            v1::ClaimPart::BreakGlass => ClaimState::BreakGlass,
            _ if !status.moving.is_empty() => ClaimState::Moving,
            v1::ClaimPart::HoldingAlone => ClaimState::Alone,
            v1::ClaimPart::Unspecified
            | v1::ClaimPart::Standby
            | v1::ClaimPart::Holding
            | v1::ClaimPart::Unable => ClaimState::Held,
        };
        ClaimView {
            claim: status.claim,
            addresses: status.addresses,
            state,
            holder: some_text(status.holder),
            grant: some_text(status.grant),
            since: Moment::of(status.since_unix_ms),
            remaining_ms: status.remaining_ms,
            ttl_ms: status.ttl_ms,
            paused: status.paused,
            reason: status.reason,
            moving: some_text(status.moving),
            keeps: some_text(status.keeps),
            awaited: status.awaited,
            gathering: status.gathering,
            duplicate_macs: status.duplicate_macs,
        }
    }
}

impl From<v1::ClaimExplanation> for ExplanationView {
    fn from(explanation: v1::ClaimExplanation) -> Self {
        let candidate = |candidate: v1::Candidate| CandidateView {
            node: candidate.node,
            health: some_text(candidate.health),
            health_reason: some_text(candidate.health_reason),
            holds: candidate.holds,
            why_not: some_text(candidate.why_not),
        };
        let moved = |moved: v1::ClaimMove| MoveView {
            at: Moment::of(moved.at_unix_ms),
            from: some_text(moved.from),
            to: some_text(moved.to),
            reason: moved.reason,
        };
        ExplanationView {
            claim: explanation.status.unwrap_or_default().into(),
            candidates: explanation.candidates.into_iter().map(candidate).collect(),
            moves: explanation.moves.into_iter().map(moved).collect(),
            group_version: explanation.group_version,
        }
    }
}

/// What is wrong with a claim.
pub(super) fn problems(claim: &ClaimView, found: &mut Vec<Problem>) {
    let name = &claim.claim;
    let explain = format!("coordctl explain {name}");
    let mut tell = |severity, text: String, next: String| {
        found.push(problem(severity, name, text, next));
    };
    match (claim.state, &claim.holder) {
        (ClaimState::Held | ClaimState::Moving, _) => {}
        (ClaimState::Vacant, _) => {
            let text = format!("nobody holds it: {}", claim.reason);
            tell(Severity::Error, text, explain.clone());
        }
        (ClaimState::Alone, holder) => {
            let holder = holder.as_deref().unwrap_or_default();
            let text = format!("{holder} holds it by promises: it does not hear the coordinator");
            let next = format!("check UDP 7443 from {holder} to the coordinator");
            tell(Severity::Warning, text, next);
        }
        (ClaimState::BreakGlass, holder) => {
            let holder = holder.as_deref().unwrap_or_default();
            let text = format!("was opened by hand on {holder}, which answers to nobody");
            let next = format!(
                "when the site is well, on {holder}: hamesh-agent break-glass close {name}"
            );
            tell(Severity::Error, text, next);
        }
    }
    if !claim.duplicate_macs.is_empty() {
        let text = format!(
            "others answer for it too: {}",
            claim.duplicate_macs.join(", ")
        );
        let next = "find the machine with that hardware address and take the address away from it";
        tell(Severity::Error, text, next.to_owned());
    }
    if let (Some(why), Some(holder)) = (&claim.keeps, &claim.holder) {
        tell(
            Severity::Warning,
            format!("stays with {holder}, which {why}"),
            explain,
        );
    }
    if !claim.awaited.is_empty() {
        let nodes = claim.awaited.join(", ");
        let text = if claim.gathering {
            format!("was restored: {nodes} may still follow a coordinator of before")
        } else {
            format!("its new group waits for {nodes} to acknowledge it")
        };
        let next = "bring the node back, or, if it is switched off for good: coordctl claim \
                    confirm-fenced NODE";
        tell(Severity::Warning, text, next.to_owned());
    }
    if claim.paused {
        let next = format!("coordctl claim resume {name}");
        tell(
            Severity::Notice,
            "is paused: nothing of it moves by itself".to_owned(),
            next,
        );
    }
}
