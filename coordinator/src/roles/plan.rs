//! Who may have what is new now. Pure.

use std::collections::BTreeMap;
use std::fmt;

use hamesh_proto::ids::NodeId;
use hamesh_roles::Role;

/// A node that is to have something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// By which it is grouped; without one nobody waits for another.
    pub role: Option<Role>,
    /// Whether the document says what its role is to do.
    pub configured: bool,
    /// What it is to have; or what is missing for that.
    pub wanted: Result<Wanted, String>,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether it holds a claim.
    pub holds: bool,
    /// Whether it may have it already.
    pub released: bool,
    /// Whether it was at it when it was last heard.
    pub at_it: bool,
    /// What it said last in this session.
    pub report: Option<Report>,
}

/// What a node is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Names it.
    pub digest: String,
    /// How often it was to be tried again.
    pub attempt: u64,
    /// Only look.
    pub observe: bool,
}

/// What a node says of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of which.
    pub digest: String,
    /// Of which attempt.
    pub attempt: u64,
    /// How it is with it.
    pub phase: Phase,
    /// Why it failed.
    pub problem: String,
    /// The role of the newest that was seen to work there.
    pub worked_as: Option<Role>,
    /// The newest that it did not believe.
    pub refused: Option<Refused>,
}

/// An order that a node did not believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which, by its own word.
    pub digest: String,
    /// Of which attempt.
    pub attempt: u64,
    /// Why.
    pub why: String,
}

/// How a node is with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It never had one.
    None,
    /// It is at it.
    Applying,
    /// It has it, and that was seen to work.
    Done,
    /// It could not.
    Failed,
    /// It only looks.
    Observing,
}

/// How a node is with what it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It has it.
    AsWanted,
    /// It only looks.
    Observed,
    /// It may have it, and has not said yet that it does.
    Applying,
    /// It could not.
    Failed(String),
    /// It has no session.
    Away,
    /// Its session ended while it was at it: nobody knows what became of it.
    Left,
    /// It waits.
    Waits(Reason),
}

/// Why a node waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Something is missing for it.
    Missing(String),
    /// Its agent does not tell how its role is.
    Silent,
    /// Its agent lost what applies roles.
    Lost(String),
    /// One after the other.
    After(NodeId),
    /// The first nodes of the role begin together, and this one cannot.
    Together(NodeId),
    /// It failed there.
    FailedAt(NodeId),
    /// It is the only one that is seen to work.
    LastOne,
}

impl Place {
    /// Whether nothing is left to do that this coordinator could wait for.
    pub fn is_settled(&self) -> bool {
        match self {
            Place::AsWanted
            | Place::Observed
            | Place::Failed(_)
            | Place::Away
            | Place::Left
            | Place::Waits(
                Reason::Missing(_)
                | Reason::Silent
                | Reason::Lost(_)
                | Reason::Together(_)
                | Reason::FailedAt(_)
                | Reason::LastOne,
            ) => true,
            Place::Applying | Place::Waits(Reason::After(_)) => false,
        }
    }
}

/// How each node is. At most one more of each role is at it than were before, but where the first
/// nodes of a role begin together.
pub fn plan(nodes: &BTreeMap<NodeId, Node>) -> BTreeMap<NodeId, Place> {
    let mut groups: BTreeMap<Role, Vec<(&NodeId, &Node)>> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (id, node) in nodes {
        match node.role {
            Some(role) => groups.entry(role).or_default().push((id, node)),
            // What earlier roles left is cleared away: nobody is served by it.
            None => {
                let place = standing(node).unwrap_or(Place::Applying);
                places.insert(id.clone(), place);
            }
        }
    }
    for (role, group) in groups {
        turn(role, &group, &mut places);
    }
    places
}

/// One role.
fn turn(role: Role, group: &[(&NodeId, &Node)], places: &mut BTreeMap<NodeId, Place>) {
    let mut behind = Vec::new();
    let (mut busy, mut failed) = (None, None);
    for (id, node) in group {
        let Some(place) = standing(node) else {
            behind.push((*id, *node));
            continue;
        };
        match &place {
            Place::Applying | Place::Left => busy = busy.or(Some(*id)),
            Place::Failed(_) => failed = failed.or(Some(*id)),
            Place::AsWanted | Place::Observed | Place::Away | Place::Waits(_) => {}
        }
        places.insert((*id).clone(), place);
    }
    if forms(role, group) {
        // Who failed is no hindrance: it may have failed because one of these was not there.
        let unready = group
            .iter()
            .find(|(id, node)| !ready(node, places.get(*id)));
        for (id, _) in behind {
            let place = match unready {
                Some((at, _)) => Place::Waits(Reason::Together((*at).clone())),
                None => Place::Applying,
            };
            places.insert(id.clone(), place);
        }
        return;
    }
    // What does not serve first, then standbys, then holders.
    behind.sort_by_key(|(id, node)| (serves(node), node.holds, *id));
    for (id, node) in behind {
        let place = match (failed, busy) {
            (Some(at), _) => Place::Waits(Reason::FailedAt(at.clone())),
            (None, Some(at)) => Place::Waits(Reason::After(at.clone())),
            (None, None) if last_one(id, node, group) => Place::Waits(Reason::LastOne),
            (None, None) => {
                busy = Some(id);
                Place::Applying
            }
        };
        places.insert(id.clone(), place);
    }
}

/// Whether the nodes of a role are still to become what works only together. One that worked once,
/// and be it away from its order by now, has others as well: whoever comes joins those.
fn forms(role: Role, group: &[(&NodeId, &Node)]) -> bool {
    let worked = |node: &Node| {
        let report = node.report.as_ref();
        report.is_some_and(|report| report.worked_as == Some(role))
    };
    role.begins_together()
        && group
            .iter()
            .all(|(_, node)| node.configured && !worked(node))
}

/// Whether a node is at it or could be, and is known to have nothing that others must join: two
/// that begin while the third is only unheard of would be a second cluster beside its data.
fn ready(node: &Node, place: Option<&Place>) -> bool {
    let looks = node.wanted.as_ref().is_ok_and(|wanted| wanted.observe);
    match place {
        None | Some(Place::Applying | Place::Failed(_)) => !looks,
        Some(Place::AsWanted | Place::Observed | Place::Away | Place::Left | Place::Waits(_)) => {
            false
        }
    }
}

/// How a node is by itself; `None`: it could begin.
fn standing(node: &Node) -> Option<Place> {
    let wanted = match &node.wanted {
        Ok(wanted) => wanted,
        Err(missing) => return Some(Place::Waits(Reason::Missing(missing.clone()))),
    };
    if !node.connected {
        return Some(if node.at_it { Place::Left } else { Place::Away });
    }
    let Some(report) = &node.report else {
        return Some(Place::Waits(Reason::Silent));
    };
    if report.phase == Phase::None && !report.problem.is_empty() {
        return Some(Place::Waits(Reason::Lost(report.problem.clone())));
    }
    let of_this = report.digest == wanted.digest && report.attempt == wanted.attempt;
    let refused = report.refused.as_ref();
    let refused = refused.filter(|it| it.digest == wanted.digest && it.attempt == wanted.attempt);
    if let (false, Some(refused)) = (of_this, refused) {
        return Some(Place::Failed(refused.why.clone()));
    }
    match (of_this, report.phase) {
        (true, Phase::Applying) => Some(Place::Applying),
        (true, Phase::Done) if !wanted.observe => Some(Place::AsWanted),
        (true, Phase::Observing) if wanted.observe => Some(Place::Observed),
        (true, Phase::Failed) => Some(Place::Failed(report.problem.clone())),
        (_, _) if node.released || wanted.observe => Some(Place::Applying),
        (_, _) => None,
    }
}

/// Whether it was seen to work with what it had.
fn serves(node: &Node) -> bool {
    let phase = node.report.as_ref().map(|report| report.phase);
    node.connected && matches!(phase, Some(Phase::Done | Phase::Observing))
}

/// Whether it serves and no other does, though there are others that could.
fn last_one(id: &NodeId, node: &Node, group: &[(&NodeId, &Node)]) -> bool {
    let others = || group.iter().filter(|(other, _)| *other != id);
    serves(node) && others().next().is_some() && !others().any(|(_, other)| serves(other))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Missing(what) => f.write_str(what),
            Reason::Silent => f.write_str(
                "its agent has not told how its role is; if it stays so, upgrade hamesh-agent, or \
                 look at `systemctl status hamesh-apply` on it",
            ),
            Reason::Lost(problem) => {
                write!(f, "{problem}; see `systemctl status hamesh-apply` on it")
            }
            Reason::After(node) => write!(f, "one after the other: {node} is at it"),
            Reason::Together(node) => write!(
                f,
                "the first nodes of the role begin together, and {node} cannot yet; see how it is \
                 there"
            ),
            Reason::FailedAt(node) => write!(
                f,
                "it failed on {node}; mend that and apply again, or `coordctl role retry {node}`"
            ),
            Reason::LastOne => {
                f.write_str("no other node of the role is seen to work, so it is left as it is")
            }
        }
    }
}

#[cfg(test)]
mod tests;
