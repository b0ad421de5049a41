//! How a recovery stands, as operators are told it.

use std::collections::BTreeMap;

use hamesh_proto::hex;
use hamesh_proto::ids::ClaimId;
use hamesh_proto::v1;
use hamesh_roles::plan::Step;
use prost::Message as _;
use ring::digest::{SHA256, digest};

use crate::claims::wanted::{claim_of, claims_of};
use crate::recovery::Base;
use crate::recovery::plan::{Outlook, Plan};
use crate::recovery::roll::{Part, Row};

/// The whole of it.
pub fn state(base: &Base, outlook: &Outlook) -> v1::RecoveryState {
    let (plan, obstacles) = match &outlook.plan {
        Ok(drawn_up) => (Some(plan(drawn_up)), Vec::new()),
        Err(obstacles) => (None, obstacles.clone()),
    };
    v1::RecoveryState {
        site: base.site.to_string(),
        coordinator: base.own.to_string(),
        nodes: outlook.rows.iter().map(node).collect(),
        obstacles,
        plan,
    }
}

fn node(row: &Row) -> v1::RecoveryNode {
    let part = match row.part {
        Part::Heard => v1::RecoveryPart::Heard,
        Part::Missing => v1::RecoveryPart::Missing,
        Part::Refused => v1::RecoveryPart::Refused,
        Part::Without => v1::RecoveryPart::Without,
        Part::Own => v1::RecoveryPart::Own,
    };
    v1::RecoveryNode {
        node: row.node.to_string(),
        part: part.into(),
        applied: row.applied.map(Into::into),
        version: row.version.clone(),
        reason: row.reason.clone(),
        holds: row.holds.clone(),
    }
}

/// A plan, named by a digest of all that does not change by itself.
pub fn plan(plan: &Plan) -> v1::RecoveryPlan {
    let steps = |steps: &[Step]| steps.iter().map(step).collect();
    let mut wire = v1::RecoveryPlan {
        digest: String::new(),
        id: Some(plan.id.into()),
        document_from: plan.document.from.name().to_owned(),
        yaml: plan.document.yaml.clone(),
        since_backup: steps(&plan.since_backup),
        changes: steps(&plan.changes),
        nodes: plan.nodes.keys().map(ToString::to_string).collect(),
        claims: claims(plan),
        notes: plan.notes.clone(),
    };
    wire.digest = hex::encode(digest(&SHA256, &wire.encode_to_vec()).as_ref());
    for claim in &mut wire.claims {
        // Who holds what may change meanwhile: nothing is decided by it.
        let holders = plan.holders.iter();
        let mut holders = holders.filter(|(it, _)| it.as_str() == claim.claim);
        let nodes = holders.next().map(|(_, nodes)| nodes);
        let nodes = nodes.into_iter().flatten();
        claim.holders = nodes.map(ToString::to_string).collect();
    }
    wire
}

fn step(step: &Step) -> v1::PlanStep {
    v1::PlanStep {
        verb: step.verb.to_string(),
        subject: step.subject.to_string(),
        detail: step.detail.clone(),
    }
}

fn claims(plan: &Plan) -> Vec<v1::RecoveredClaim> {
    let site = &plan.document.site;
    let addresses = site.vips.iter();
    let addresses: BTreeMap<_, _> = addresses
        .map(|(name, vip)| (claim_of(name), vip.addresses.as_slice()))
        .collect();
    let claim = |claim: ClaimId| {
        let record = plan.claims.get(&claim);
        let group = record.map(|record| record.record.newest());
        let awaits = plan.awaits.get(&claim).into_iter().flatten();
        v1::RecoveredClaim {
            addresses: (addresses.get(&claim).into_iter().copied().flatten())
                .map(ToString::to_string)
                .collect(),
            holders: Vec::new(),
            group_version: group.map_or(0, |group| group.version.0),
            group: group
                .into_iter()
                .flat_map(|group| group.everyone().map(ToString::to_string))
                .collect(),
            awaits: awaits.map(ToString::to_string).collect(),
            claim: claim.to_string(),
        }
    };
    claims_of(site).map(claim).collect()
}
