//! In which order nodes are upgraded, or why they are not. Reads no clock, asks nobody.
//!
//! Guarantees: coordinators come before agents, and of them the leader last: while any of them
//! still has the earlier version, one of that version leads, and what the later one writes into the
//! store is written when all can read it. Among the agents, nodes without claims come first, then
//! standbys, then holders. The steps are taken one at a time, so that members of one claim are
//! never away together.
//!
//! A node that has the version is no step, so that a plan made anew is what is left of the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::version::PackageVersion;

/// The site, as far as an upgrade goes by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The coordinator that leads.
    pub leader: NodeId,
    /// All coordinators.
    pub coordinators: BTreeSet<NodeId>,
    /// The enrolled nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// `None`: the grantors do not say.
    pub claims: Option<BTreeMap<ClaimId, Claim>>,
}

/// A node of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Why it is not alive, with an open session; `None`: it is.
    pub absent: Option<String>,
    /// What its agent runs; `None`: not known, or no version of a package.
    pub running: Option<PackageVersion>,
    /// Its packages of hamesh, by name. None: not known.
    pub packages: BTreeMap<String, PackageVersion>,
    /// It is carrying out an order.
    pub upgrading: bool,
}

/// A claim of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// Who may hold it.
    pub members: BTreeSet<NodeId>,
    /// Who does, by the grantor's word.
    pub holder: Option<NodeId>,
    /// Who say that they do.
    pub said: BTreeSet<NodeId>,
    /// It was opened by hand: it needs no grantor.
    pub by_hand: bool,
}

impl Claim {
    fn is_held_by(&self, node: &NodeId) -> bool {
        self.holder.as_ref() == Some(node) || self.said.contains(node)
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The version.
    pub target: PackageVersion,
    /// Only these nodes; empty: all.
    pub only: BTreeSet<NodeId>,
    /// Not these.
    pub skip: BTreeSet<NodeId>,
}

/// In which format the store's records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The newest that is there.
    pub format: u32,
    /// The oldest version that reads it.
    pub read_since: PackageVersion,
}

/// What a node is to the site. In the order of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A coordinator that stands by.
    Coordinator,
    /// The one that leads.
    Leader,
    /// No coordinator.
    Agent,
}

impl Part {
    /// The name, as the contract has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Leader => "leader",
            Self::Agent => "agent",
        }
    }
}

/// One node to upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub node: NodeId,
    /// What it is.
    pub part: Part,
    /// What it has now.
    pub packages: BTreeMap<String, PackageVersion>,
    /// The claims that it holds.
    pub holds: BTreeSet<ClaimId>,
    /// The others in which it has a part.
    pub stands_by: BTreeSet<ClaimId>,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "Display says what each one means")]
pub enum Reason {
    #[error("no node {0} has enrolled")]
    Stranger(NodeId),
    #[error("{node} is {why}; it is left out with --skip {node}")]
    Absent { node: NodeId, why: String },
    #[error(
        "{0} does not say which packages it has: its agent is older than this command, or from no \
         package; upgrade hamesh-agent there with apt first"
    )]
    NoPackages(NodeId),
    #[error("{0} is still carrying out an earlier order; wait until it has")]
    Upgrading(NodeId),
    #[error("who holds which claim is not known at this moment; try again")]
    NoClaims,
    #[error(
        "{target} does not read what is in the store: format {format}, which is read since \
         {read_since}; the way back is a restore of a backup of before, with packages of then"
    )]
    TooOld {
        target: PackageVersion,
        format: u32,
        read_since: PackageVersion,
    },
}

/// Every reason why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Vec<Reason>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, reason) in self.0.iter().enumerate() {
            write!(f, "{}{reason}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl Refused {
    /// Whether it is only that nodes are still at work.
    pub fn is_work_in_progress(&self) -> bool {
        let at_work = |reason: &Reason| matches!(reason, Reason::Upgrading(_));
        self.0.iter().all(at_work)
    }
}

/// What is to be done, in this order; or every reason why not.
///
/// # Errors
/// [`Refused`].
pub fn plan(
    observed: &Observed,
    desired: &Desired,
    written: &Written,
) -> Result<Vec<Step>, Refused> {
    let named = desired.only.iter().chain(&desired.skip);
    let strangers = named.filter(|node| !observed.nodes.contains_key(*node));
    let mut reasons: Vec<Reason> = strangers.cloned().map(Reason::Stranger).collect();
    let meant = observed.nodes.iter().filter(|(node, _)| {
        let wanted = desired.only.is_empty() || desired.only.contains(*node);
        wanted && !desired.skip.contains(*node)
    });
    let mut steps = Vec::new();
    for (id, node) in meant {
        match fault(id, node) {
            Some(reason) => reasons.push(reason),
            None if node.has(&desired.target) => {}
            None => steps.push(step(observed, id, node)),
        }
    }
    if observed.claims.is_none() {
        reasons.push(Reason::NoClaims);
    }
    let coordinates = steps.iter().any(|step| step.part != Part::Agent);
    if coordinates && desired.target < written.read_since {
        reasons.push(Reason::TooOld {
            target: desired.target.clone(),
            format: written.format,
            read_since: written.read_since.clone(),
        });
    }
    if !reasons.is_empty() {
        return Err(Refused(reasons));
    }
    steps.sort_by_key(|step| {
        let (holds, has_part) = (!step.holds.is_empty(), !step.stands_by.is_empty());
        (step.part, holds, has_part, step.node.clone())
    });
    Ok(steps)
}

impl Node {
    /// Whether everything of hamesh on it is of this version, and its agent runs it.
    pub fn has(&self, target: &PackageVersion) -> bool {
        self.running.as_ref() == Some(target) && self.packages.values().all(|it| it == target)
    }
}

fn fault(id: &NodeId, node: &Node) -> Option<Reason> {
    if let Some(why) = node.absent.clone() {
        let node = id.clone();
        return Some(Reason::Absent { node, why });
    }
    if node.packages.is_empty() {
        return Some(Reason::NoPackages(id.clone()));
    }
    node.upgrading.then(|| Reason::Upgrading(id.clone()))
}

fn step(observed: &Observed, id: &NodeId, node: &Node) -> Step {
    let part = if observed.leader == *id {
        Part::Leader
    } else if observed.coordinators.contains(id) {
        Part::Coordinator
    } else {
        Part::Agent
    };
    let claims = observed.claims.iter().flatten();
    let mine = claims.filter(|(_, claim)| claim.members.contains(id) || claim.is_held_by(id));
    let (holds, stands_by): (Vec<_>, Vec<_>) = mine.partition(|(_, claim)| claim.is_held_by(id));
    let names = |claims: Vec<(&ClaimId, &Claim)>| {
        claims.into_iter().map(|(name, _)| name.clone()).collect()
    };
    Step {
        node: id.clone(),
        part,
        packages: node.packages.clone(),
        holds: names(holds),
        stands_by: names(stands_by),
    }
}
