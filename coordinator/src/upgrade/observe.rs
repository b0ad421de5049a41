//! The site, as an upgrade goes by it: from the world, the sessions and the grantors.

use std::collections::BTreeMap;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;

use super::plan::{Claim, Node, Observed, Written};
use crate::claims::board::Board;
use crate::claims::wanted::Wishes;
use crate::core::Core;
use crate::ledger::ReadError;
use crate::liveness::{State, Verdict};
use crate::records::{format_of, keys, read_since};
use crate::sessions::Said;
use crate::store::Span;
use crate::world::World;

/// The site as it is now.
pub async fn observe(core: &Core) -> Observed {
    let world = core.world();
    let verdicts = core.verdicts.borrow().clone();
    // A node that never enrolled runs nothing.
    let said = core.sessions.said_by(world.nodes.keys());
    let node = |(id, said): (&NodeId, &Said)| {
        let node = node(verdicts.get(id), said.facts.as_ref());
        (id.clone(), node)
    };
    Observed {
        leader: core.node.clone(),
        coordinators: world.coordinators.keys().cloned().collect(),
        nodes: said.iter().map(node).collect(),
        claims: claims(core, &world, &said).await,
    }
}

/// In which format the store's records are: every leadership rewrites some of the state, in the
/// newest format that it writes.
pub async fn written(core: &Core) -> Result<Written, ReadError> {
    let state = core
        .ledger
        .store()
        .range(&Span::prefix(keys::STATE))
        .await?;
    let mut format = 1;
    for entry in &state.entries {
        format = format.max(format_of(&entry.key, &entry.value)?);
    }
    let read_since = read_since(format);
    Ok(Written { format, read_since })
}

fn node(verdict: Option<&Verdict>, facts: Option<&v1::Facts>) -> Node {
    let absent = match verdict {
        None => Some("not looked at yet".to_owned()),
        Some(verdict) => match (verdict.state, verdict.observed.session) {
            (State::Alive, Some(_)) => None,
            (State::Alive, None)
            | (State::NotEnrolled | State::Suspect | State::Dead | State::Unknown, _) => {
                Some(format!("{}: {}", verdict.state.name(), verdict.reason))
            }
        },
    };
    let packages = facts.iter().flat_map(|facts| &facts.packages);
    let package =
        |package: &v1::Package| Some((package.name.clone(), package.version.parse().ok()?));
    Node {
        absent,
        running: facts.and_then(|facts| facts.version.parse().ok()),
        packages: packages.filter_map(package).collect(),
        upgrading: facts.is_some_and(|facts| facts.upgrading),
    }
}

async fn claims(
    core: &Core,
    world: &World,
    said: &BTreeMap<NodeId, Said>,
) -> Option<BTreeMap<ClaimId, Claim>> {
    let board = Board::of(core, world).await;
    if !board.looked_after() {
        return None;
    }
    let wishes = Wishes::of(world);
    let wanted = wishes.claims.iter().map(|(name, wanted)| {
        let members = wanted.members.iter();
        let claim = Claim {
            members: members
                .filter_map(|node| node.to_string().parse().ok())
                .collect(),
            holder: board.status(name).and_then(|it| it.holder.parse().ok()),
            ..Claim::default()
        };
        (name.clone(), claim)
    });
    let mut claims: BTreeMap<ClaimId, Claim> = wanted.collect();
    for (node, said) in said {
        for report in said.facts.iter().flat_map(|facts| &facts.claims) {
            let name = report.claim.parse::<ClaimId>().ok();
            if let Some(claim) = name.and_then(|name| claims.get_mut(&name)) {
                hear(claim, node, report.part());
            }
        }
    }
    Some(claims)
}

fn hear(claim: &mut Claim, node: &NodeId, part: v1::ClaimPart) {
    match part {
        v1::ClaimPart::Holding | v1::ClaimPart::HoldingAlone => {
            claim.said.insert(node.clone());
        }
        v1::ClaimPart::BreakGlass => {
            claim.said.insert(node.clone());
            claim.by_hand = true;
        }
        v1::ClaimPart::Standby | v1::ClaimPart::Unable | v1::ClaimPart::Unspecified => {}
    }
}
