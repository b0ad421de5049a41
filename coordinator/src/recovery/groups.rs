//! The claims of a recovered site: whom each may be with. Pure.
//!
//! A group counts everyone that any voice knows of as a member of any version, and every candidate
//! that was not heard: whoever could hold the claim has a part in it, under a version that is later
//! than all of them. The grantor then goes by its own rules: it grants nothing before it gathered
//! all of this group, or an operator confirmed that who is missing is off, and changes it to those
//! that are enrolled.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{GroupVersion, NodeName};
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_roles::{DatabaseCluster, Site, Vip, VipName};

use super::Base;
use super::roll::Voices;
use super::told::{ToldVip, vip_name};
use crate::backup::rebirth::reborn_claim;
use crate::claims::wanted::{claims_of, name_of};
use crate::records::ClaimRecord;

/// The records of all claims that any voice or the backup knows, also of those that left the site:
/// were the name given again, members that remember a group must not meet an earlier one.
pub fn records(
    base: &Base,
    voices: &Voices<'_>,
    site: &Site,
    incarnation: u64,
) -> BTreeMap<ClaimId, ClaimRecord> {
    let told = voices.iter().flat_map(|(_, told)| told.groups.keys());
    let known: BTreeSet<ClaimId> = told.chain(base.claims.keys()).cloned().collect();
    let claims: BTreeSet<ClaimId> = known.into_iter().chain(claims_of(site)).collect();
    let record = |claim: ClaimId| {
        let record = record(base, voices, site, &claim)?;
        Some((claim, reborn_claim(record, incarnation)))
    };
    claims.into_iter().filter_map(record).collect()
}

/// The members of a claim's group that are no voices.
pub fn awaited(record: &ClaimRecord, voices: &Voices<'_>) -> Vec<NodeId> {
    let members = record.record.newest().everyone();
    let members = members.filter_map(|name| name.as_ref().parse().ok());
    members.filter(|node| voices.get(node).is_none()).collect()
}

/// `None`: nobody could hold it, so far as is known; it begins as a new one.
fn record(base: &Base, voices: &Voices<'_>, site: &Site, claim: &ClaimId) -> Option<Record> {
    let name = vip_name(claim).ok();
    let groups = voices.iter().filter_map(|(_, told)| told.groups.get(claim));
    let groups: Vec<_> = groups.collect();
    let mut everyone: BTreeSet<NodeName> = groups
        .iter()
        .flat_map(|group| group.everyone.iter().cloned())
        .collect();
    everyone.extend(unheard(voices, site, name.as_ref()));
    let before = base.claims.get(claim);
    // Whoever could tell better was not heard.
    if groups.is_empty()
        && let Some(before) = before
    {
        everyone.extend(before.newest().everyone().cloned());
        everyone.extend(before.group.everyone().cloned());
    }
    if everyone.is_empty() {
        return None;
    }
    let latest = groups.iter().map(|group| group.version).max();
    let version = GroupVersion(latest.unwrap_or_default()).next();
    let longest = told_of(voices, name.as_ref())
        .map(|vip| vip.ttl)
        .chain(
            name.as_ref()
                .and_then(|name| Some(site.vips.get(name)?.ttl)),
        )
        .chain(claim.is_database().then_some(DatabaseCluster::LEASE))
        .chain(before.map(|record| record.longest_ttl))
        .max();
    let longest = longest.unwrap_or(Vip::DEFAULT_TTL);
    Some(Record::new(Group::exclusive(version, everyone), longest))
}

/// Candidates that were not heard: any of them may have been a member.
fn unheard(voices: &Voices<'_>, site: &Site, name: Option<&VipName>) -> BTreeSet<NodeName> {
    let is_silent = |node: &&NodeId| voices.get(node).is_none();
    let Some(name) = name else {
        let members = site.database_members().into_iter();
        return members.filter(is_silent).map(name_of).collect();
    };
    let candidates = told_of(voices, Some(name)).flat_map(|vip| &vip.candidates);
    candidates.filter(is_silent).map(name_of).collect()
}

fn told_of<'a>(
    voices: &'a Voices<'_>,
    name: Option<&VipName>,
) -> impl Iterator<Item = &'a ToldVip> {
    let told = voices.iter();
    told.filter_map(move |(_, told)| told.vips.get(name?))
}
