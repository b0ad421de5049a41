//! What holds of any site, any backup of it and any nodes that were heard.

use std::collections::BTreeSet;

use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{GroupVersion, NodeName};
use hamesh_proto::ids::ClaimId;
use hamesh_roles::plan::diff;
use proptest::prelude::*;

use super::*;
use crate::claims::wanted::claim_of;

/// A site of a number of nodes and virtual addresses, both as told by bits.
fn document(nodes: &[u8], vips: &[u8]) -> String {
    let mut yaml = "site: small\nnetworks: {trust: {cidr: 10.0.0.0/24}, untrust: {cidr: \
                    10.0.1.0/24}}\nmanagement_network: trust\ncoordinators: [c-1]\n"
        .to_owned();
    if !vips.is_empty() {
        yaml += "vips:\n";
    }
    for (i, bits) in vips.iter().enumerate() {
        let role = ["edge-proxy", "database"][usize::from(bits & 1)];
        let (network, host) = [("trust", "0"), ("untrust", "1")][usize::from(bits >> 1 & 1)];
        let prefer = if bits & 4 == 0 { "" } else { ", prefer: [n-0]" };
        let back = if bits & 12 == 12 {
            ", fail_back: 1s"
        } else {
            ""
        };
        let address = format!("10.0.{host}.{}", 100 + i);
        yaml += &format!(
            "  v-{i}: {{address: {address}, network: {network}, role: {role}{prefer}{back}}}\n"
        );
    }
    yaml += "nodes:\n  c-1: {role: k8s-control, addresses: {trust: 10.0.0.1, untrust: 10.0.1.1}}\n";
    for (i, bits) in nodes.iter().enumerate() {
        let role = ["edge-proxy", "database"][usize::from(bits & 1)];
        let both = format!(", untrust: 10.0.1.{}", 10 + i);
        let both = if bits & 2 == 0 { "" } else { &both };
        yaml += &format!(
            "  n-{i}: {{role: {role}, addresses: {{trust: 10.0.0.{}{both}}}}}\n",
            10 + i
        );
    }
    yaml
}

fn all_names(of: &Desired) -> Vec<String> {
    of.site.nodes.keys().map(ToString::to_string).collect()
}

/// Bits choose who of a site is heard.
fn chosen(names: &[String], bits: u16) -> Vec<&str> {
    let names = names.iter().enumerate();
    let chosen = names.filter(|(i, _)| bits >> i & 1 == 1);
    chosen.map(|(_, name)| name.as_str()).collect()
}

proptest! {
    #[test]
    fn invariant_all_nodes_together_hold_the_document_but_what_nobody_could_hold(
        nodes in prop::collection::vec(any::<u8>(), 1..8),
        vips in prop::collection::vec(any::<u8>(), 0..6),
        before in prop::collection::vec(any::<u8>(), 1..8),
        vips_before in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let new = desired(&document(&nodes, &vips), 9);
        let base = base(&document(&before, &vips_before), 3);
        let names = all_names(&new);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let plan = planned(&base, &all(&new, &names), &[]);
        let mut wanted = new.site.as_ref().clone();
        wanted.vips.retain(|_, vip| new.site.candidates(vip).next().is_some());
        let mut found = plan.document.site.clone();
        found.vips.retain(|_, vip| new.site.candidates(vip).next().is_some());
        prop_assert_eq!(diff(Some(&wanted), &found), []);
    }

    #[test]
    fn invariant_nobody_whom_any_voice_knows_is_passed_over(
        nodes in prop::collection::vec(any::<u8>(), 1..8),
        vips in prop::collection::vec(any::<u8>(), 0..6),
        who in any::<u16>(),
    ) {
        let new = desired(&document(&nodes, &vips), 9);
        let base = base(OLD, 3);
        let names = all_names(&new);
        let nodes = all(&new, &chosen(&names, who));
        let missing = new.site.nodes.keys().filter(|it| !nodes.contains_key(*it));
        let missing: BTreeSet<_> = missing.filter(|it| **it != base.own).cloned().collect();
        let outlook = look(&base, &nodes, &[]);
        if nodes.is_empty() || !missing.is_empty() {
            prop_assert!(outlook.plan.is_err());
        }
        if !nodes.is_empty() {
            let told = outlook.rows.iter().filter(|row| row.part == Part::Missing);
            prop_assert_eq!(told.map(|row| row.node.clone()).collect::<BTreeSet<_>>(), missing);
        }
    }

    #[test]
    fn invariant_whoever_could_hold_a_claim_is_in_its_group_under_a_later_version(
        nodes in prop::collection::vec(any::<u8>(), 1..8),
        vips in prop::collection::vec(any::<u8>(), 1..6),
        who in any::<u16>(),
        versions in prop::collection::vec(0..4_000_000_000u64, 8),
        known in any::<bool>(),
    ) {
        let new = desired(&document(&nodes, &vips), 9);
        let mut base = base(OLD, 3);
        let names = all_names(&new);
        let claims: Vec<ClaimId> = new.site.vips.keys().map(claim_of).collect();
        if known {
            let group = Group::exclusive(GroupVersion(2), [NodeName::new("c-1")].into());
            let record = Record::new(group, Duration::from_secs(7));
            base.claims = claims.iter().map(|it| (it.clone(), record.clone())).collect();
        }
        // Each knows a version of its own of each claim in which it has a part, with itself.
        let voices = chosen(&names, who);
        let told: All = voices.iter().zip(&versions).map(|(node, version)| {
            let own = [*node];
            let assignment = new.assignment(&name(node)).expect("of the site");
            let parts = assignment.claims.iter();
            let groups: Vec<_> = parts.map(|it| (it.name.as_str(), *version, &own[..])).collect();
            heard(node, holdings(&new, node, &groups))
        }).collect();
        let without: Vec<&str> = names.iter().map(String::as_str)
            .filter(|it| !voices.contains(it)).collect();
        prop_assume!(!told.is_empty());
        let plan = planned(&base, &told, &without);
        for (name, vip) in &plan.document.site.vips {
            let candidates: BTreeSet<_> = new.site.candidates(vip).collect();
            if !candidates.iter().any(|it| told.contains_key(*it)) {
                continue;
            }
            let record = &plan.claims[&claim_of(name)].record;
            for node in candidates {
                let member = NodeName::new(node.as_str());
                prop_assert!(record.group.includes(&member), "{node} is not in {record:?}");
                let version = told.get(node).and_then(|it| it.told.as_ref()?.as_ref().ok())
                    .and_then(|it| it.groups.get(&claim_of(name)));
                prop_assert!(version.is_none_or(|it| it.version < record.group.version.0));
            }
            prop_assert!(record.longest_ttl >= vip.ttl);
            prop_assert!(!known || record.longest_ttl >= Duration::from_secs(7));
        }
    }

    #[test]
    fn invariant_the_incarnation_precedes_all_that_was_seen(seen in any::<u32>(), own in 1..9u64) {
        let (base, mut new) = (base(OLD, 3), desired(NEW, 9));
        new.record.incarnation = own;
        let mut told = holdings(&new, "e-1", &[("vip/edge", 1, &["e-1"])]);
        told.claims[0].seen_incarnation = u64::from(seen);
        let nodes: All = [heard("e-1", told)].into();
        let plan = planned(&base, &nodes, &["c-2", "e-2", "w-1"]);
        prop_assert!(plan.id.incarnation > u64::from(seen) && plan.id.incarnation > own);
        prop_assert!(plan.id.incarnation >= base.incarnation);
    }
}
