//! Whose word counts, and who is missing. Pure.
//!
//! A node's word counts if it could be read and no certificate list that anybody knows names its
//! certificate. Whoever is known to any of these voices, and is none itself, is missing: it may
//! hold something.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_proto::ids::NodeId;
use hamesh_roles::Site;

use super::told::Unreadable;
use super::{Base, Id, Told};
use crate::records::CertificateRecord;

/// How many names a line tells before it only counts.
const NAMED: usize = 3;

/// What was heard of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The certificate that its agent showed.
    pub certificate: CertificateRecord,
    /// The number of its run.
    pub started_unix_ms: u64,
    /// The version of its agent.
    pub version: String,
    /// What it holds; `None`: it did not say yet.
    pub told: Option<Result<Told, Unreadable>>,
    /// The claims that it says it holds at this time.
    pub holds: BTreeSet<String>,
    /// Whom it hears by gossip.
    pub hears: BTreeSet<NodeId>,
}

/// Everyone that was heard, by name.
pub type All = BTreeMap<NodeId, Heard>;

/// The nodes whose word counts.
#[derive(Debug, Clone)]
pub struct Voices<'a> {
    told: BTreeMap<&'a NodeId, &'a Told>,
    /// Whom each of them hears by gossip.
    hears: BTreeMap<&'a NodeId, &'a BTreeSet<NodeId>>,
    /// Why others were heard and do not count.
    pub refused: BTreeMap<&'a NodeId, String>,
}

/// One node, as operators are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The node.
    pub node: NodeId,
    /// What it is to this recovery.
    pub part: Part,
    /// What it follows.
    pub applied: Option<Id>,
    /// The version of its agent.
    pub version: String,
    /// For people.
    pub reason: String,
    /// The claims that it says it holds.
    pub holds: Vec<String>,
}

/// What a node is to a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It told what it holds.
    Heard,
    /// Others know it.
    Missing,
    /// It does not count, and never will again.
    Refused,
    /// An operator goes on without it.
    Without,
    /// This coordinator's own machine, blank.
    Own,
}

impl<'a> Voices<'a> {
    /// Of those that were heard.
    pub fn of(base: &Base, heard: &'a All, without: &BTreeSet<NodeId>) -> Self {
        let told: BTreeMap<_, _> = heard
            .iter()
            .filter(|(node, _)| !without.contains(*node))
            .filter_map(|(node, it)| match &it.told {
                Some(Ok(told)) => Some((node, told)),
                Some(Err(_)) | None => None,
            })
            .collect();
        let refused: BTreeMap<_, _> = told
            .keys()
            .filter_map(|node| {
                let serial = &heard.get(*node)?.certificate.serial;
                let by = revoked_by(base, &told, serial)?;
                Some((*node, format!("its certificate was revoked, {by}")))
            })
            .collect();
        let counts = |node: &&NodeId| !refused.contains_key(*node);
        let told: BTreeMap<_, _> = told.into_iter().filter(|(node, _)| counts(node)).collect();
        let hears = heard.iter().filter(|(node, _)| told.contains_key(node));
        Self {
            hears: hears.map(|(node, it)| (node, &it.hears)).collect(),
            told,
            refused,
        }
    }

    /// One voice.
    pub fn get(&self, node: &NodeId) -> Option<&'a Told> {
        self.told.get(node).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a NodeId, &'a Told)> {
        self.told.iter().map(|(node, told)| (*node, *told))
    }

    /// The latest desired state that anybody follows; `None`: nobody counts.
    pub fn newest(&self) -> Option<(&'a NodeId, &'a Told)> {
        // Of several the first by name.
        let later = |best: (_, &'a Told), next: (_, &'a Told)| match next.1.id > best.1.id {
            true => next,
            false => best,
        };
        self.iter().reduce(later)
    }

    /// Everybody that a voice knows, and who knows it.
    pub fn known(&self) -> BTreeMap<NodeId, BTreeSet<&'a NodeId>> {
        let mut known: BTreeMap<NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
        let newest = self.newest().map(|(_, told)| told.id);
        for (node, told) in self.iter() {
            // Members of an earlier desired state may have left the site since.
            let members = told.members.keys().filter(|_| Some(told.id) == newest);
            let groups = told.groups.values().flat_map(|group| &group.everyone);
            let groups = groups.filter_map(|name| name.as_ref().parse().ok());
            let hears = self.hears.get(node).into_iter().copied().flatten();
            for known_one in members.chain(hears).cloned().chain(groups) {
                known.entry(known_one).or_default().insert(node);
            }
        }
        known
    }
}

/// Who says that a certificate was revoked.
fn revoked_by(base: &Base, told: &BTreeMap<&NodeId, &Told>, serial: &str) -> Option<String> {
    if base.desired.record.revoked.contains_key(serial) {
        return Some("by the backup".to_owned());
    }
    let by = told.iter().filter(|(_, it)| it.revoked.contains(serial));
    let by: Vec<&str> = by.map(|(node, _)| node.as_str()).collect();
    (!by.is_empty()).then(|| format!("says {}", names(&by)))
}

/// Every node that was heard or is known, for a final document where there is one.
pub fn rows(
    (base, heard, without): (&Base, &All, &BTreeSet<NodeId>),
    voices: &Voices<'_>,
    document: Option<&Site>,
) -> Vec<Row> {
    let known = voices.known();
    let mut nodes: BTreeSet<&NodeId> = heard.keys().chain(known.keys()).chain(without).collect();
    nodes.insert(&base.own);
    let row = |node: &NodeId| {
        let found = heard.get(node);
        let (part, reason) = part((base, without, document), node, found, voices, &known);
        let told = found.and_then(|it| it.told.as_ref()?.as_ref().ok());
        Row {
            node: node.clone(),
            part,
            applied: told.map(|told| told.id),
            version: found.map(|it| it.version.clone()).unwrap_or_default(),
            reason,
            holds: found.map_or(Vec::new(), |it| it.holds.iter().cloned().collect()),
        }
    };
    nodes.into_iter().map(row).collect()
}

fn part(
    (base, without, document): (&Base, &BTreeSet<NodeId>, Option<&Site>),
    node: &NodeId,
    heard: Option<&Heard>,
    voices: &Voices<'_>,
    known: &BTreeMap<NodeId, BTreeSet<&NodeId>>,
) -> (Part, String) {
    if without.contains(node) {
        return (Part::Without, "you go on without it".to_owned());
    }
    if let Some(why) = voices.refused.get(node) {
        return (Part::Refused, why.clone());
    }
    match heard.map(|it| &it.told) {
        Some(Some(Ok(_))) => match document {
            Some(site) if !site.nodes.contains_key(node) => {
                let why = "the site document has no such node".to_owned();
                (Part::Refused, why)
            }
            Some(_) | None => (Part::Heard, String::new()),
        },
        Some(Some(Err(why))) => (Part::Missing, format!("what it told is of no use: {why}")),
        Some(None) => {
            let why = "it is connected and told nothing yet; an agent of an older release never \
                       will: upgrade its package by hand";
            (Part::Missing, why.to_owned())
        }
        None if *node == base.own => (Part::Own, "enrol it when all is done".to_owned()),
        None => (Part::Missing, by_whom(node, voices, known)),
    }
}

fn by_whom(
    node: &NodeId,
    voices: &Voices<'_>,
    known: &BTreeMap<NodeId, BTreeSet<&NodeId>>,
) -> String {
    let of: Vec<&str> = known
        .get(node)
        .into_iter()
        .flatten()
        .map(|it| it.as_str())
        .collect();
    let knows = if of.len() == 1 { "knows" } else { "know" };
    let told = voices.iter().count();
    let hear = voices.hears.values().filter(|hears| hears.contains(node));
    let alive = match hear.count() {
        0 => String::new(),
        count => format!("; {count} hear it by gossip"),
    };
    format!(
        "not heard; {} of {told} {knows} it: {}{alive}",
        of.len(),
        names(&of)
    )
}

/// A few names, and how many more.
pub fn names(all: &[&str]) -> String {
    match all.split_at_checked(NAMED) {
        Some((some, [])) => some.join(", "),
        Some((some, more)) => format!("{} and {} more", some.join(", "), more.len()),
        None => all.join(", "),
    }
}
