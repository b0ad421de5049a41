//! What this node is told to be, and whether an offered assignment may replace the present one.
//!
//! Guarantees: a [`Assignment`] is valid in every field; [`Assignment::supersedes`] never lets a
//! lower (incarnation, generation) through, nor one for another site or node. Pure.
//!
//! Idea: parse once at the edge; the same type is what lies on disk, so that an agent starts from
//! it when no coordinator answers.
//!
//! Absent: carrying the role out, and the disk ([`crate::state`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::leader::Leader;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};

mod claim;
mod part;
#[cfg(test)]
mod tests;
mod wire;

pub use claim::Claim;
pub use part::SitePart;

/// Compared as (incarnation, generation): a restored site's assignments precede all before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct AssignmentId {
    /// Minted anew when a site is restored from a backup.
    pub incarnation: u64,
    /// Rises with every change of the desired state.
    pub generation: u64,
}

/// What the coordinator wants this node to be, and who else there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Orders assignments.
    pub id: AssignmentId,
    /// The site it is of.
    pub site: SiteName,
    /// The node it is for.
    pub node: NodeId,
    /// The role's name; none: the node has no role.
    pub role: Option<String>,
    /// Every member of the site, this node among them.
    pub members: BTreeMap<NodeId, Member>,
    /// Where coordinators answer.
    pub coordinators: Vec<Coordinator>,
    /// Serial numbers (lower-case hex) to refuse though they have not expired.
    pub revoked_serials: BTreeSet<String>,
    /// The claims in which this node has a part, each once. None in what older versions wrote.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// The CA's signature over the incarnation, to show to coordinators of an earlier one. Empty
    /// for a site that was never restored.
    #[serde(default)]
    pub proof: Vec<u8>,
    /// What the site document says of this node beyond all that. None from an older coordinator.
    #[serde(default)]
    pub part: Option<SitePart>,
}

/// A member of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its role's name, if it has one.
    pub role: Option<String>,
    /// Where it gossips.
    pub gossip: SocketAddr,
    /// Where its lease datagrams go; `None` when the coordinator is too old to say.
    #[serde(default)]
    pub leases: Option<SocketAddr>,
}

/// Where a coordinator answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Coordinator {
    /// Its node.
    pub node: NodeId,
    /// The mutual-TLS API.
    pub api: SocketAddr,
    /// The enrolment port.
    pub enrolment: SocketAddr,
    /// Where its lease datagrams go; `None` when it is too old to say.
    #[serde(default)]
    pub leases: Option<SocketAddr>,
}

impl From<Leader> for Coordinator {
    fn from(leader: Leader) -> Self {
        Self {
            node: leader.node,
            api: leader.api,
            enrolment: leader.enrolment,
            leases: None,
        }
    }
}

/// Why an assignment was refused. The text goes to the coordinator and to the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field cannot be read.
    #[error("{field} of the assignment is not valid ({value:?}); the present one stays in force")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// Meant for another site.
    #[error("the assignment is of site {offered}, this node belongs to {own}")]
    OtherSite {
        /// Whose it is.
        offered: SiteName,
        /// Where this node belongs.
        own: SiteName,
    },
    /// Meant for another node.
    #[error("the assignment is for {offered}, this node is {own}")]
    OtherNode {
        /// Whom it is for.
        offered: NodeId,
        /// Who this is.
        own: NodeId,
    },
    /// Older than what is in force.
    #[error("assignment {offered} is older than {present}, which stays in force")]
    Older {
        /// What came.
        offered: AssignmentId,
        /// What is in force.
        present: AssignmentId,
    },
}

impl Assignment {
    /// Checks that this assignment may replace `present` on `own` of `site`. An equal id may: the
    /// coordinator repeats itself after a reconnect.
    ///
    /// # Errors
    /// [`Refusal`] says why not; the present one then stays in force.
    pub fn supersedes(
        &self,
        present: Option<&Assignment>,
        site: &SiteName,
        own: &NodeId,
    ) -> Result<(), Refusal> {
        if self.site != *site {
            return Err(Refusal::OtherSite {
                offered: self.site.clone(),
                own: site.clone(),
            });
        }
        if self.node != *own {
            return Err(Refusal::OtherNode {
                offered: self.node.clone(),
                own: own.clone(),
            });
        }
        match present {
            Some(present) if self.id < present.id => Err(Refusal::Older {
                offered: self.id,
                present: present.id,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Where this node itself gossips; `None` when it is not a member (any more).
    pub fn own_gossip(&self) -> Option<SocketAddr> {
        self.members.get(&self.node).map(|member| member.gossip)
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = Refusal;

    fn try_from(wire: v1::Assignment) -> Result<Self, Refusal> {
        let id = wire.id.ok_or(Refusal::Invalid {
            field: "id",
            value: String::new(),
        })?;
        let members = wire.members.into_iter().map(|member| {
            let gossip = parse("members.gossip", &member.gossip)?;
            let node = parse("members.node", &member.node)?;
            let member = Member {
                role: role(member.role),
                gossip,
                leases: optional("members.leases", &member.leases)?,
            };
            Ok((node, member))
        });
        let node = parse("node", &wire.node)?;
        Ok(Self {
            id: id.into(),
            site: parse("site", &wire.site)?,
            claims: claim::claims(wire.claims, &node)?,
            node,
            role: role(wire.role),
            members: members.collect::<Result<_, Refusal>>()?,
            coordinators: coordinators(wire.coordinators)?,
            revoked_serials: wire.revoked_serials.into_iter().collect(),
            proof: wire.proof,
            part: wire.part.map(SitePart::from),
        })
    }
}

/// Reads the coordinators' addresses as they come with an assignment or an enrolment.
///
/// # Errors
/// [`Refusal::Invalid`] when a name or an address cannot be read.
pub fn coordinators(wire: Vec<v1::CoordinatorEndpoint>) -> Result<Vec<Coordinator>, Refusal> {
    wire.into_iter()
        .map(|endpoint| {
            Ok(Coordinator {
                node: parse("coordinators.node", &endpoint.node)?,
                api: parse("coordinators.api", &endpoint.api)?,
                enrolment: parse("coordinators.enrolment", &endpoint.enrolment)?,
                leases: optional("coordinators.leases", &endpoint.leases)?,
            })
        })
        .collect()
}

impl From<v1::AssignmentId> for AssignmentId {
    fn from(wire: v1::AssignmentId) -> Self {
        Self {
            incarnation: wire.incarnation,
            generation: wire.generation,
        }
    }
}

impl From<AssignmentId> for v1::AssignmentId {
    fn from(id: AssignmentId) -> Self {
        Self {
            incarnation: id.incarnation,
            generation: id.generation,
        }
    }
}

impl std::fmt::Display for AssignmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.generation)
    }
}

fn role(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

fn parse<T: std::str::FromStr>(field: &'static str, value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| Refusal::Invalid {
        field,
        value: value.to_owned(),
    })
}

/// Empty: from a version that does not know the field.
fn optional<T: std::str::FromStr>(field: &'static str, value: &str) -> Result<Option<T>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    parse(field, value).map(Some)
}
