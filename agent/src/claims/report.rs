//! How the claims of this node stand, for its facts, its status and its operators.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hamesh_proto::ids::ClaimId;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};

/// This node's part in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Does not hold it.
    Standby,
    /// Holds it under a lease of a coordinator.
    Holding,
    /// Holds it by the promises of the other members: no coordinator answers.
    HoldingAlone,
    /// Opened by hand, answering to nobody.
    BreakGlass,
    /// Cannot hold it.
    Unable,
}

impl Part {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Holding => "holding",
            Self::HoldingAlone => "holding, no coordinator answers",
            Self::BreakGlass => "BREAK GLASS: opened by hand",
            Self::Unable => "unable",
        }
    }

    const fn wire(self) -> v1::ClaimPart {
        match self {
            Self::Standby => v1::ClaimPart::Standby,
            Self::Holding => v1::ClaimPart::Holding,
            Self::HoldingAlone => v1::ClaimPart::HoldingAlone,
            Self::BreakGlass => v1::ClaimPart::BreakGlass,
            Self::Unable => v1::ClaimPart::Unable,
        }
    }
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimView {
    /// This node's part in it.
    pub part: Part,
    /// The addresses that it stands for.
    pub addresses: Vec<IpAddr>,
    /// The grant that it holds under; `None`: it does not hold.
    pub grant: Option<String>,
    /// To whom it promised not to take it.
    pub promised_to: Option<String>,
    /// How well the node could serve: healthy, degraded, failed.
    pub health: String,
    /// Why not better; empty: it is healthy.
    pub health_reason: String,
    /// Others that answered for one of its addresses in the last minute.
    pub duplicate_macs: Vec<String>,
}

impl ClaimView {
    /// On one line, for people.
    pub fn line(&self) -> String {
        let mut line = self.part.words().to_owned();
        let mut add = |text: &str| line.push_str(text);
        if let Some(grant) = &self.grant {
            add(&format!(" under {grant}"));
        }
        if let Some(to) = &self.promised_to {
            add(&format!(", promised to {to}"));
        }
        add(&format!(", {}", self.health));
        if !self.health_reason.is_empty() {
            add(&format!(" ({})", self.health_reason));
        }
        if !self.duplicate_macs.is_empty() {
            let macs = self.duplicate_macs.join(" ");
            add(&format!(", ALSO ANSWERED BY {macs}"));
        }
        line
    }
}

/// All claims of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By name.
    pub claims: BTreeMap<ClaimId, ClaimView>,
    /// Why the holder's thread runs without real-time priority or locked memory; `None`: it has
    /// both, or there is none.
    pub unfit: Option<String>,
    /// Whether no coordinator answered the node's lease requests for as long as a lease lasts.
    #[serde(default)]
    pub unanswered: bool,
}

impl Report {
    /// Whether any claim is held under a lease.
    pub fn holds_any(&self) -> bool {
        let held = |view: &ClaimView| matches!(view.part, Part::Holding | Part::HoldingAlone);
        self.claims.values().any(held)
    }

    /// As facts tell it.
    pub fn claim_reports(&self) -> Vec<v1::ClaimReport> {
        let wire = |(claim, view): (&ClaimId, &ClaimView)| v1::ClaimReport {
            claim: claim.to_string(),
            part: view.part.wire().into(),
            grant: view.grant.clone().unwrap_or_default(),
            health: view.health.clone(),
            health_reason: view.health_reason.clone(),
            duplicate_macs: view.duplicate_macs.clone(),
        };
        self.claims.iter().map(wire).collect()
    }
}
