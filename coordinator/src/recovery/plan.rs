//! What a recovery would make of what was heard. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::seal::KeyRing;
use hamesh_roles::Site;
use hamesh_roles::plan::{Step, diff};

use super::document::{Document, From, held};
use super::groups;
use super::roll::{All, Part, Row, Voices, names, rows};
use super::{Base, Id};
use crate::claims::wanted::claims_of;
use crate::records::{CertificateRecord, ClaimRecord, Revocation};

/// How a recovery stands.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// Every node that was heard or is known.
    pub rows: Vec<Row>,
    /// What it would become, or why it cannot be finished: each reason with what to do.
    pub plan: Result<Plan, Vec<String>>,
}

/// What the site becomes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is at afterwards.
    pub id: Id,
    /// The desired state's document.
    pub document: Document,
    /// The nodes that are enrolled, by the certificates that they showed.
    pub nodes: BTreeMap<NodeId, CertificateRecord>,
    /// What is granted of each claim, also of those that left the site.
    pub claims: BTreeMap<ClaimId, ClaimRecord>,
    /// Members of each claim's group that were not heard.
    pub awaits: BTreeMap<ClaimId, Vec<NodeId>>,
    /// Who says that it holds each.
    pub holders: BTreeMap<ClaimId, Vec<NodeId>>,
    /// Certificates that nobody may accept.
    pub revoked: BTreeMap<String, Revocation>,
    /// The newest gossip keys.
    pub ring: KeyRing,
    /// What the document changes of what the backup knew.
    pub since_backup: Vec<Step>,
    /// What an operator's document changes of what agents hold.
    pub changes: Vec<Step>,
    /// What the reader ought to know.
    pub notes: Vec<String>,
}

/// Draws it up from what was heard so far.
pub fn outlook(base: &Base, heard: &All, without: &BTreeSet<NodeId>, now_unix_ms: u64) -> Outlook {
    let voices = Voices::of(base, heard, without);
    let (document, changes, mut obstacles) = document(base, &voices);
    let site = document.as_ref().map(|document| &document.site);
    let rows = rows((base, heard, without), &voices, site);
    obstacles.extend(unheard(&rows));
    obstacles.extend(site.and_then(|site| misplaced(base, site)));
    let plan = match (document, &obstacles[..]) {
        (Some(document), []) => Ok(plan(
            (base, heard, now_unix_ms),
            &voices,
            &rows,
            (document, changes),
        )),
        (Some(_) | None, _) => Err(obstacles),
    };
    Outlook { rows, plan }
}

/// Whoever is missing may hold something.
fn unheard(rows: &[Row]) -> Option<String> {
    let missing = rows.iter().filter(|row| row.part == Part::Missing);
    let missing: Vec<&str> = missing.map(|row| row.node.as_str()).collect();
    let without: Vec<String> = missing.iter().map(|it| format!("--without {it}")).collect();
    let (who, them) = match missing.len() {
        0 => return None,
        1 => ("a node", "it"),
        _ => ("nodes", "them"),
    };
    Some(format!(
        "{who} may hold something and did not tell: {}; bring {them} back, or go on {}",
        missing.join(", "),
        without.join(" ")
    ))
}

/// Agents would not find a coordinator that the document does not name.
fn misplaced(base: &Base, site: &Site) -> Option<String> {
    let coordinators: Vec<&str> = site.coordinators.iter().map(NodeId::as_str).collect();
    (!site.coordinators.contains(&base.own)).then(|| {
        format!(
            "by the document {} is no coordinator: begin again on one of {}, or with --site-file",
            base.own,
            coordinators.join(", ")
        )
    })
}

/// The document, what it changes if it is the operator's, and what stands in the way.
fn document(base: &Base, voices: &Voices<'_>) -> (Option<Document>, Vec<Step>, Vec<String>) {
    let held = held(base, voices);
    match (&base.document, held) {
        (None, Ok(document)) => (Some(document), Vec::new(), Vec::new()),
        (None, Err(obstacles)) => (None, Vec::new(), obstacles),
        (Some((yaml, site)), held) => {
            let given = |notes| Document {
                site: site.clone(),
                yaml: yaml.clone(),
                from: From::Operator,
                notes,
            };
            match held {
                Ok(held) => {
                    let changes = diff(Some(&held.site), site);
                    (Some(given(Vec::new())), changes, Vec::new())
                }
                // Nobody at all was heard: a document does not mend that.
                Err(obstacles) if voices.newest().is_none() => (None, Vec::new(), obstacles),
                Err(obstacles) => (Some(given(obstacles)), Vec::new(), Vec::new()),
            }
        }
    }
}

fn plan(
    (base, heard, now_unix_ms): (&Base, &All, u64),
    voices: &Voices<'_>,
    rows: &[Row],
    (document, changes): (Document, Vec<Step>),
) -> Plan {
    let all = voices.iter();
    let highest = all.map(|(_, told)| told.highest).max().unwrap_or_default();
    let newest = voices.newest().map(|(_, told)| told.id);
    let newest = newest.unwrap_or_default().max(base.id());
    let id = Id {
        incarnation: base.incarnation.max(highest.saturating_add(1)),
        generation: newest.generation.saturating_add(1),
    };
    let taken = rows.iter().filter(|row| row.part == Part::Heard);
    let nodes: BTreeMap<_, _> = taken
        .filter_map(|row| Some((row.node.clone(), heard.get(&row.node)?.certificate.clone())))
        .collect();
    let claims = groups::records(base, voices, &document.site, id.incarnation);
    let awaits = claims.iter().map(|(claim, record)| {
        let awaits = groups::awaited(record, voices);
        (claim.clone(), awaits)
    });
    Plan {
        id,
        awaits: awaits.collect(),
        holders: holders(rows, &document.site),
        revoked: revoked(base, voices, now_unix_ms),
        ring: ring(base, voices),
        since_backup: diff(Some(&base.desired.site), &document.site),
        changes,
        notes: notes(base, voices, &document),
        document,
        nodes,
        claims,
    }
}

fn holders(rows: &[Row], site: &Site) -> BTreeMap<ClaimId, Vec<NodeId>> {
    let of = |claim: ClaimId| {
        let holds = |row: &&Row| row.holds.iter().any(|held| held == claim.as_str());
        let nodes = rows.iter().filter(holds).map(|row| row.node.clone());
        let nodes = nodes.collect();
        (claim, nodes)
    };
    claims_of(site).map(of).collect()
}

/// Those of the backup that did not expire, and all that voices know. Of these nobody knows whose
/// they are and until when: they are remembered for as long as any certificate lives.
fn revoked(base: &Base, voices: &Voices<'_>, now_unix_ms: u64) -> BTreeMap<String, Revocation> {
    let life = u64::try_from(base.longest_life.as_millis()).unwrap_or(u64::MAX);
    let unknown = Revocation {
        holder: "unknown".to_owned(),
        not_after_unix_ms: now_unix_ms.saturating_add(life),
    };
    let told = voices.iter().flat_map(|(_, told)| &told.revoked);
    let told = told.map(|serial| (serial.clone(), unknown.clone()));
    let mut revoked: BTreeMap<_, _> = told.collect();
    let known = base.desired.record.revoked.clone().into_iter();
    revoked.extend(known.filter(|(_, it)| it.not_after_unix_ms >= now_unix_ms));
    revoked
}

/// The newest that anybody holds; its primary key is in the ring of all that gossip.
fn ring(base: &Base, voices: &Voices<'_>) -> KeyRing {
    let told = voices.iter().filter_map(|(_, told)| told.ring.as_ref());
    let told = told.filter_map(|wire| KeyRing::try_from(wire).ok());
    let newest = told.max_by_key(KeyRing::version);
    let newest = newest.filter(|ring| ring.version() >= base.ring.version());
    newest.unwrap_or_else(|| base.ring.clone())
}

fn notes(base: &Base, voices: &Voices<'_>, document: &Document) -> Vec<String> {
    let mut notes = document.notes.clone();
    if let Some((_, newest)) = voices.newest() {
        let follows = voices.iter().filter(|(_, told)| told.id == newest.id);
        let follows: Vec<&str> = follows.map(|(node, _)| node.as_str()).collect();
        let all = voices.iter().count();
        if follows.len() < all {
            notes.push(format!(
                "{} of {all} nodes follow the latest desired state, {}: {}",
                follows.len(),
                newest.id,
                names(&follows)
            ));
        }
    }
    let drained = base.wishes.drained.keys().map(ToString::to_string);
    let drained: Vec<String> = drained.collect();
    if !drained.is_empty() {
        notes.push(format!(
            "the backup knew these as drained, and they are not any more: {}",
            drained.join(", ")
        ));
    }
    let paused = base.wishes.paused.iter().map(ToString::to_string);
    let paused: Vec<String> = paused.collect();
    if !paused.is_empty() {
        notes.push(format!(
            "the backup knew these as paused, and they are not any more: {}",
            paused.join(", ")
        ));
    }
    notes
}
