//! What becomes of what nodes hold: the document, the claims, who is missing. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::{KeyRing, SealKey};
use hamesh_proto::v1;
use hamesh_roles::Site;
use hamesh_roles::plan::diff;

use super::document::From;
use super::plan::{Outlook, Plan, outlook};
use super::roll::{All, Heard, Part};
use super::{Base, Begun, Told};
use crate::desired::Desired;
use crate::records::{
    CertificateRecord, ClaimWishesRecord, DesiredRecord, NodeRecord, Revocation, keys,
};

mod properties;

/// Everything that a document can say, and no agent acts on.
pub(super) const NEW: &str = "
site: small
networks: {trust: {cidr: 10.0.0.0/24}, untrust: {cidr: 10.0.1.0/24}}
management_network: trust
coordinators: [c-1, c-2]
vips:
  edge:
    address: [10.0.1.100, 10.0.1.101]
    network: untrust
    role: edge-proxy
    ttl: 2s
    prefer: [e-2]
    fail_back: 5s
    checks: [{process: haproxy.service}, {tcp: 443, every: 100ms, degrades: true}]
  inner: {address: 10.0.0.100, network: trust, role: edge-proxy}
  work: {address: 10.0.0.101, network: trust, role: k8s-worker}
backups: {every: 1h}
nodes:
  c-1: {role: k8s-control, addresses: {trust: 10.0.0.1}}
  c-2: {role: k8s-control, addresses: {trust: 10.0.0.2}, lab: {engine: uml}}
  e-1: {role: edge-proxy, addresses: {trust: 10.0.0.3, untrust: 10.0.1.3}}
  e-2: {role: edge-proxy, addresses: {trust: 10.0.0.4, untrust: 10.0.1.4}}
  w-1: {role: k8s-worker, addresses: {trust: 10.0.0.5}}
";
/// The same before `inner`, `e-2` and another document's words.
pub(super) const OLD: &str = "
# Kept by hand.
site: small
networks: {trust: {cidr: 10.0.0.0/24}, untrust: {cidr: 10.0.1.0/24}}
management_network: trust
coordinators: [c-1, c-2]
vips:
  edge: {address: 10.0.1.99, network: untrust, role: edge-proxy}
  gone: {address: 10.0.0.99, network: trust, role: edge-proxy}
  work: {address: 10.0.0.101, network: trust, role: k8s-worker}
backups: {every: 1h}
nodes:
  c-1: {role: k8s-control, addresses: {trust: 10.0.0.1}}
  c-2: {role: k8s-control, addresses: {trust: 10.0.0.2}, lab: {engine: uml}}
  e-1: {role: edge-proxy, addresses: {trust: 10.0.0.3, untrust: 10.0.1.3}}
  w-1: {role: k8s-worker, addresses: {trust: 10.0.0.5}}
";
const NOW: u64 = 1_790_000_000_000;
const EVERYONE: [&str; 5] = ["c-1", "c-2", "e-1", "e-2", "w-1"];

pub(super) fn name(text: &str) -> NodeId {
    text.parse().expect("a name")
}

pub(super) fn names(all: &[&str]) -> BTreeSet<NodeId> {
    all.iter().map(|it| name(it)).collect()
}

pub(super) fn desired(yaml: &str, generation: u64) -> Desired {
    let record = DesiredRecord {
        incarnation: 1,
        generation,
        yaml: yaml.to_owned(),
        revoked: BTreeMap::new(),
    };
    Desired::parse(record).expect("a valid site")
}

pub(super) fn base(yaml: &str, generation: u64) -> Base {
    Base {
        site: "small".parse().expect("a name"),
        own: name("c-1"),
        incarnation: 1_790_000_000,
        desired: desired(yaml, generation),
        document: None,
        claims: BTreeMap::new(),
        wishes: ClaimWishesRecord::default(),
        ring: KeyRing::generate(),
        operators: BTreeMap::new(),
        longest_life: Duration::from_secs(3600),
    }
}

/// What a node's agent says that follows this, with the group of each of its claims.
pub(super) fn holdings(of: &Desired, node: &str, groups: &[(&str, u64, &[&str])]) -> v1::Holdings {
    let claim = |(claim, version, members): &(&str, u64, &[&str])| {
        let members: Vec<String> = members.iter().map(|it| (*it).to_owned()).collect();
        v1::HeldClaim {
            claim: (*claim).to_owned(),
            seen_incarnation: 1,
            seen_term: 3,
            group: Some(v1::ClaimGroup {
                version: *version,
                candidates: members.clone(),
                peers: members,
            }),
        }
    };
    v1::Holdings {
        assignment: of.assignment(&name(node)),
        key_ring: None,
        claims: groups.iter().map(claim).collect(),
    }
}

pub(super) fn heard(node: &str, holdings: v1::Holdings) -> (NodeId, Heard) {
    let site = "small".parse().expect("a name");
    let heard = Heard {
        certificate: CertificateRecord {
            serial: format!("serial-{node}"),
            not_after_unix_ms: NOW + 1,
        },
        started_unix_ms: 1,
        version: "0.1.0".to_owned(),
        told: Some(Told::read(holdings, &site, &name(node))),
        holds: BTreeSet::new(),
        hears: BTreeSet::new(),
    };
    (name(node), heard)
}

fn all(of: &Desired, nodes: &[&str]) -> All {
    let heard = |node: &&str| heard(node, holdings(of, node, &[]));
    nodes.iter().map(heard).collect()
}

fn look(base: &Base, heard: &All, without: &[&str]) -> Outlook {
    outlook(base, heard, &names(without), NOW)
}

pub(super) fn planned(base: &Base, heard: &All, without: &[&str]) -> Plan {
    let outlook = look(base, heard, without);
    outlook.plan.expect("nothing stands in the way")
}

fn part(outlook: &Outlook, node: &str) -> (Part, String) {
    let row = outlook.rows.iter().find(|row| row.node.as_str() == node);
    let row = row.unwrap_or_else(|| panic!("{node} is not told of"));
    (row.part, row.reason.clone())
}

#[test]
fn what_all_nodes_hold_is_the_document_whatever_the_backup_knew() {
    let (base, new) = (base(OLD, 3), desired(NEW, 9));
    let plan = planned(&base, &all(&new, &EVERYONE), &[]);
    assert_eq!(plan.document.from, From::Agents);
    assert_eq!(diff(Some(&new.site), &plan.document.site), []);
    assert_eq!(Site::parse(&plan.document.yaml).as_ref(), Ok(&*new.site));
    assert_eq!(
        (plan.id.incarnation, plan.id.generation),
        (1_790_000_000, 10)
    );
    assert_eq!(
        plan.nodes.keys().cloned().collect::<BTreeSet<_>>(),
        names(&EVERYONE)
    );
    assert!(
        plan.notes
            .iter()
            .any(|it| it.contains("vip/gone of the backup left"))
    );
}

#[test]
fn a_backup_that_no_node_is_ahead_of_keeps_its_document_word_for_word() {
    let base = base(OLD, 3);
    let nodes = ["c-1", "c-2", "e-1", "w-1"];
    let plan = planned(&base, &all(&base.desired, &nodes), &[]);
    assert_eq!(plan.document.from, From::Backup);
    assert_eq!(plan.document.yaml, OLD);
    assert_eq!(plan.id.generation, 4);
}

#[test]
fn whoever_is_known_and_was_not_heard_is_missing_by_name_until_told_otherwise() {
    let (base, new) = (base(OLD, 3), desired(NEW, 9));
    let mut nodes = all(&new, &["e-1", "w-1"]);
    nodes.get_mut(&name("w-1")).expect("heard").hears = names(&["e-2"]);
    let outlook = look(&base, &nodes, &["c-2"]);
    // This very machine is blank, and is no loss.
    assert_eq!(part(&outlook, "c-1").0, Part::Own);
    assert_eq!(part(&outlook, "c-2").0, Part::Without);
    let (missing, why) = part(&outlook, "e-2");
    assert_eq!(missing, Part::Missing);
    assert_eq!(
        why,
        "not heard; 2 of 2 know it: e-1, w-1; 1 hear it by gossip"
    );
    let obstacles = outlook.plan.expect_err("one is missing");
    assert!(
        obstacles[0].contains("go on --without e-2"),
        "{obstacles:?}"
    );
    let plan = planned(&base, &nodes, &["c-2", "e-2"]);
    let enrolled: BTreeSet<_> = plan.nodes.keys().cloned().collect();
    assert_eq!(enrolled, names(&["e-1", "w-1"]));
    // It stays in the document, where it may be enrolled again, and its claims wait for it.
    assert!(plan.document.site.nodes.contains_key(&name("e-2")));
    let edge = "vip/edge".parse().expect("a claim");
    assert_eq!(plan.awaits[&edge], [name("e-2")]);
}

#[test]
fn a_node_that_is_connected_and_tells_nothing_is_missing_too() {
    let (base, new) = (base(OLD, 3), desired(NEW, 9));
    let mut nodes = all(&new, &EVERYONE);
    nodes.get_mut(&name("w-1")).expect("heard").told = None;
    let (missing, why) = part(&look(&base, &nodes, &[]), "w-1");
    assert_eq!(missing, Part::Missing);
    assert!(why.contains("told nothing yet"), "{why}");
    let (_, bad) = heard("w-1", v1::Holdings::default());
    nodes.insert(name("w-1"), bad);
    let (missing, why) = part(&look(&base, &nodes, &[]), "w-1");
    assert_eq!(missing, Part::Missing);
    assert!(why.contains("never had an assignment"), "{why}");
}

#[test]
fn of_two_nodes_the_one_that_follows_the_later_state_counts() {
    let (base, behind, new) = (base(OLD, 3), desired(OLD, 5), desired(NEW, 9));
    let mut nodes = all(&new, &["c-1", "c-2", "e-2", "w-1"]);
    nodes.extend(all(&behind, &["e-1"]));
    let plan = planned(&base, &nodes, &[]);
    assert_eq!(diff(Some(&new.site), &plan.document.site), []);
    let note = "4 of 5 nodes follow the latest desired state, 1.9: c-1, c-2, e-2 and 1 more";
    assert!(plan.notes.iter().any(|it| it == note), "{:?}", plan.notes);
    let left = "vip/gone left the site: e-2 follows a later desired state without it";
    assert!(plan.notes.iter().any(|it| it == left), "{:?}", plan.notes);
}

#[test]
fn two_nodes_that_tell_different_things_of_one_state_stand_in_the_way() {
    let base = base(OLD, 3);
    let mut nodes = all(&desired(NEW, 9), &["c-1", "c-2", "e-1", "e-2"]);
    let other = NEW.replace("w-1: {role: k8s-worker", "w-1: {role: database");
    nodes.extend(all(&desired(&other, 9), &["w-1"]));
    let obstacles = look(&base, &nodes, &[]).plan.expect_err("a conflict");
    let told = "c-1 and w-1 follow 1.9 and hold different things";
    assert!(obstacles[0].contains(told), "{obstacles:?}");
    planned(&base, &nodes, &["w-1"]);
}

#[test]
fn a_node_that_anybody_knows_as_revoked_is_not_believed_and_stays_out() {
    let (mut base, mut new) = (base(OLD, 3), desired(NEW, 9));
    let revoked = Revocation {
        holder: "agent/w-1".to_owned(),
        not_after_unix_ms: NOW + 5,
    };
    base.desired.record.revoked = [("serial-w-1".to_owned(), revoked.clone())].into();
    new.record.revoked = [("serial-e-2".to_owned(), revoked)].into();
    let mut nodes = all(&new, &["c-1", "c-2", "e-1", "e-2"]);
    // It tells of a later state, in vain.
    nodes.extend(all(&desired(OLD, 99), &["w-1"]));
    let outlook = look(&base, &nodes, &[]);
    let by_backup = "its certificate was revoked, by the backup";
    assert_eq!(part(&outlook, "w-1"), (Part::Refused, by_backup.to_owned()));
    let by_nodes = "its certificate was revoked, says c-1, c-2, e-1 and 1 more";
    assert_eq!(part(&outlook, "e-2"), (Part::Refused, by_nodes.to_owned()));
    let plan = outlook.plan.expect("none is missing");
    assert_eq!(plan.id.generation, 10);
    let enrolled: BTreeSet<_> = plan.nodes.keys().cloned().collect();
    assert_eq!(enrolled, names(&["c-1", "c-2", "e-1"]));
    let serials: Vec<_> = plan.revoked.keys().map(String::as_str).collect();
    assert_eq!(serials, ["serial-e-2", "serial-w-1"]);
}

#[test]
fn a_document_of_the_operator_counts_and_what_it_changes_is_told() {
    let mut base = base(OLD, 3);
    let given = NEW.replace(
        "  inner: {address: 10.0.0.100",
        "  inner: {address: 10.0.0.102",
    );
    let site = Site::parse(&given).expect("valid");
    base.document = Some((given.clone(), site));
    let plan = planned(&base, &all(&desired(NEW, 9), &EVERYONE), &[]);
    assert_eq!(plan.document.from, From::Operator);
    assert_eq!(plan.document.yaml, given);
    let changes: Vec<_> = plan
        .changes
        .iter()
        .map(|it| it.subject.to_string())
        .collect();
    assert_eq!(changes, ["vip inner"]);
}

#[test]
fn what_no_node_knows_of_a_virtual_address_is_as_the_backup_has_it() {
    let (base, new) = (base(NEW, 3), desired(NEW, 9));
    // Nobody that could hold `work` is left; an older coordinator told nothing of networks.
    let mut nodes = all(&new, &["c-1", "c-2", "e-2"]);
    let mut of_old = holdings(&new, "e-1", &[]);
    of_old.assignment.as_mut().expect("there").part = None;
    nodes.extend([heard("e-1", of_old)]);
    let plan = planned(&base, &nodes, &["w-1"]);
    assert_eq!(diff(Some(&new.site), &plan.document.site), []);
    let note = "vip/work is as the backup has it: no node was heard that could hold it";
    assert!(plan.notes.iter().any(|it| it == note), "{:?}", plan.notes);
}

#[test]
fn a_machine_that_is_no_coordinator_any_more_cannot_go_on() {
    let (base, new) = (
        base(OLD, 3),
        NEW.replace("coordinators: [c-1, c-2]", "coordinators: [c-2]"),
    );
    let nodes = all(&desired(&new, 9), &EVERYONE);
    let obstacles = look(&base, &nodes, &[]).plan.expect_err("no coordinator");
    assert!(obstacles[0].contains("c-1 is no coordinator: begin again on one of c-2"));
}

#[test]
fn nobody_s_word_is_no_site() {
    let obstacles = look(&base(OLD, 3), &All::new(), &[])
        .plan
        .expect_err("nobody");
    assert!(obstacles[0].contains("no node was heard"), "{obstacles:?}");
}

#[test]
fn the_records_hold_what_nodes_told_and_of_the_backup_what_they_cannot_know() {
    let (base, new) = (base(OLD, 3), desired(NEW, 9));
    let mut nodes = all(&new, &["e-1", "e-2", "w-1"]);
    let group: &[(&str, u64, &[&str])] = &[("vip/edge", 5, &["e-1", "e-2"])];
    nodes.extend([heard("e-1", holdings(&new, "e-1", group))]);
    let plan = planned(&base, &nodes, &["c-2"]);
    let node = NodeRecord {
        enrolled_unix_ms: 7,
        certificates: Vec::new(),
        re_enrol: None,
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let stale = text(crate::records::encode(&node));
    let begun = Begun {
        incarnation: base.incarnation,
        backup_of: name("c-1"),
        backup_unix_ms: 5,
        document: None,
        entries: [
            keys::SITE.to_owned(),
            keys::node(&name("c-2")),
            keys::event(1),
            keys::EVENTS_HEAD.to_owned(),
            keys::LEASE_SECRET.to_owned(),
            keys::CLAIM_WISHES.to_owned(),
            keys::LEADER.to_owned(),
        ]
        .map(|key| (key, stale.clone()))
        .into(),
    };
    let seal = SealKey::generate();
    let rebirth = super::records::records(&begun, &plan, &seal, ("operator/eve", NOW));
    let entries = rebirth.expect("records").entries;
    let keys: Vec<&str> = entries.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "/hamesh/v1/claims/vip/edge",
            "/hamesh/v1/events-head",
            "/hamesh/v1/events/00000000000000000001",
            "/hamesh/v1/state/desired",
            "/hamesh/v1/state/gossip",
            "/hamesh/v1/state/nodes/e-1",
            "/hamesh/v1/state/nodes/e-2",
            "/hamesh/v1/state/nodes/w-1",
            "/hamesh/v1/state/site",
        ]
    );
}
