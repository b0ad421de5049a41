//! What one agent told, once it was read.
//!
//! A value here is valid in every field. What cannot be read is refused as a whole: half of what a
//! node holds would be taken for all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hamesh_claims::ids::NodeName;
use hamesh_proto::ids::{ClaimId, NodeId, SiteName};
use hamesh_proto::v1;
use hamesh_roles::{Check, HeldBy, Network, NetworkName, Role, VipName};

/// Which desired state; a later one precedes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Precedes the generation.
    pub incarnation: u64,
    /// Rises by one with each change.
    pub generation: u64,
}

/// All that an agent holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The desired state that it follows.
    pub id: Id,
    /// Everyone in the site.
    pub members: BTreeMap<NodeId, Member>,
    /// Which nodes coordinate it.
    pub coordinators: Vec<NodeId>,
    /// Serial numbers that nobody may accept.
    pub revoked: BTreeSet<String>,
    /// The network of the members' addresses; `None`: an older coordinator did not say.
    pub management_network: Option<NetworkName>,
    /// Where the node itself is.
    pub places: BTreeMap<NetworkName, Place>,
    /// The virtual addresses in which it has a part.
    pub vips: BTreeMap<VipName, ToldVip>,
    /// The newest group of each of these that it knows.
    pub groups: BTreeMap<ClaimId, ToldGroup>,
    /// The gossip keys.
    pub ring: Option<v1::GossipKeyRing>,
    /// The highest incarnation in any of that.
    pub highest: u64,
}

/// A member of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is for.
    pub role: Option<Role>,
    /// Its address in the management network.
    pub address: IpAddr,
}

/// A node's place in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The network.
    pub network: Network,
    /// The node's address there.
    pub address: IpAddr,
}

/// A virtual address, as one of its candidates knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldVip {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// What tells how well a node could serve it.
    pub checks: Vec<Check>,
    /// Every node that may hold it.
    pub candidates: BTreeSet<NodeId>,
    /// What its agent does not act on; `None`: an older coordinator did not say.
    pub terms: Option<Terms>,
}

/// The rest of what the document says of a virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The networks of its addresses.
    pub networks: Vec<NetworkName>,
    /// Whose nodes may hold it.
    pub role: Role,
    /// Who should rather hold it.
    pub prefer: Vec<NodeId>,
    /// How long a better node must be well.
    pub fail_back: Option<Duration>,
    /// Who holds it, while the site is being taken over.
    pub held_by: HeldBy,
}

/// A version of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldGroup {
    /// Its number.
    pub version: u64,
    /// Everyone with a part in it.
    pub everyone: BTreeSet<NodeName>,
}

/// Why what an agent told cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It never had an assignment.
    #[error("it never had an assignment")]
    Nothing,
    /// Another's.
    #[error("its assignment is of {0}")]
    OtherNode(String),
    /// A field.
    #[error("{field} cannot be read ({value:?})")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds, cut short.
        value: String,
    },
}

impl Told {
    /// Reads what the agent of `node` told.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(wire: v1::Holdings, site: &SiteName, node: &NodeId) -> Result<Self, Unreadable> {
        let held = wire.assignment.ok_or(Unreadable::Nothing)?;
        if held.site != site.as_str() || held.node != node.as_str() {
            let whose = format!("{}/{}", held.site, held.node);
            return Err(Unreadable::OtherNode(whose.chars().take(130).collect()));
        }
        let id = held.id.ok_or(Unreadable::Nothing)?;
        let part = held.part.unwrap_or_default();
        let mut terms = part
            .vips
            .into_iter()
            .map(vip_terms)
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        let vips = held.claims.into_iter();
        // Leading the databases follows from the roles; of it only the group is remembered.
        let vips = vips.filter(|claim| claim.name != ClaimId::database().as_str());
        let vips = vips.map(|claim| {
            let id: ClaimId = parse("claims.name", &claim.name)?;
            let terms = terms.remove(&id);
            Ok((vip_name(&id)?, told_vip(claim, terms)?))
        });
        let coordinators = held.coordinators.iter();
        let coordinators = coordinators.map(|it| parse("coordinators.node", &it.node));
        let seen = wire.claims.iter().map(|claim| claim.seen_incarnation);
        let highest = seen.chain([id.incarnation]).max().unwrap_or_default();
        let groups = wire.claims.into_iter().filter_map(group);
        Ok(Self {
            id: id.into(),
            members: held
                .members
                .iter()
                .map(member)
                .collect::<Result<_, Unreadable>>()?,
            coordinators: coordinators.collect::<Result<_, Unreadable>>()?,
            revoked: held.revoked_serials.into_iter().collect(),
            management_network: Some(part.management_network)
                .filter(|name| !name.is_empty())
                .map(|name| parse("management_network", &name))
                .transpose()?,
            places: part
                .places
                .iter()
                .map(place)
                .collect::<Result<_, Unreadable>>()?,
            vips: vips.collect::<Result<_, Unreadable>>()?,
            groups: groups.collect::<Result<_, Unreadable>>()?,
            ring: wire.key_ring,
            highest,
        })
    }
}

impl ToldVip {
    /// Whether another was told the same, as far as both were told.
    pub fn agrees(&self, other: &Self) -> bool {
        let terms = self.terms.as_ref().zip(other.terms.as_ref());
        let all = |it: &Self| (it.addresses.clone(), it.ttl, it.checks.clone());
        all(self) == all(other)
            && self.candidates == other.candidates
            && terms.is_none_or(|(own, theirs)| own == theirs)
    }
}

fn member(wire: &v1::Member) -> Result<(NodeId, Member), Unreadable> {
    let gossip: SocketAddr = parse("members.gossip", &wire.gossip)?;
    let role = Some(&wire.role).filter(|role| !role.is_empty());
    let member = Member {
        role: role.map(|role| parse("members.role", role)).transpose()?,
        address: gossip.ip(),
    };
    Ok((parse("members.node", &wire.node)?, member))
}

fn place(wire: &v1::Place) -> Result<(NetworkName, Place), Unreadable> {
    let place = Place {
        network: Network {
            cidr: parse("places.cidr", &wire.cidr)?,
        },
        address: parse("places.address", &wire.address)?,
    };
    Ok((parse("places.network", &wire.network)?, place))
}

fn vip_terms(wire: v1::VipTerms) -> Result<(ClaimId, Terms), Unreadable> {
    let terms = Terms {
        networks: all("vips.networks", &wire.networks)?,
        role: parse("vips.role", &wire.role)?,
        prefer: all("vips.prefer", &wire.prefer)?,
        fail_back: wire.fail_back_ms.map(Duration::from_millis),
        held_by: match wire.held_by.as_str() {
            "" => HeldBy::Hamesh,
            text => parse("vips.held_by", text)?,
        },
    };
    Ok((parse("vips.claim", &wire.claim)?, terms))
}

fn told_vip(wire: v1::Claim, terms: Option<Terms>) -> Result<ToldVip, Unreadable> {
    let checks = wire.checks.into_iter().map(|check| {
        let name = check.name.clone();
        Check::try_from(check).map_err(|_| unreadable("claims.checks", &name))
    });
    let candidates: Vec<NodeId> = all("claims.candidates", &wire.candidates)?;
    Ok(ToldVip {
        addresses: all("claims.addresses", &wire.addresses)?,
        ttl: Duration::from_millis(wire.ttl_ms),
        checks: checks.collect::<Result<_, _>>()?,
        candidates: candidates.into_iter().collect(),
        terms,
    })
}

/// `None`: it knows no group yet.
fn group(wire: v1::HeldClaim) -> Option<Result<(ClaimId, ToldGroup), Unreadable>> {
    let group = wire.group?;
    let everyone = group.candidates.iter().chain(&group.peers);
    let everyone = everyone.map(|name| {
        let node: NodeId = parse("groups.members", name)?;
        Ok(NodeName::new(node.as_str()))
    });
    let read = || {
        let group = ToldGroup {
            version: group.version,
            everyone: everyone.collect::<Result<_, Unreadable>>()?,
        };
        Ok((parse("groups.claim", &wire.claim)?, group))
    };
    Some(read())
}

/// The virtual address that a claim is on.
pub(super) fn vip_name(claim: &ClaimId) -> Result<VipName, Unreadable> {
    let name = claim.as_str().strip_prefix("vip/").unwrap_or_default();
    parse("claims.name", name)
}

fn all<T: FromStr>(field: &'static str, values: &[String]) -> Result<Vec<T>, Unreadable> {
    values.iter().map(|value| parse(field, value)).collect()
}

fn parse<T: FromStr>(field: &'static str, value: &str) -> Result<T, Unreadable> {
    value.parse().map_err(|_| unreadable(field, value))
}

fn unreadable(field: &'static str, value: &str) -> Unreadable {
    Unreadable::Field {
        field,
        value: value.chars().take(80).collect(),
    }
}

impl From<v1::AssignmentId> for Id {
    fn from(wire: v1::AssignmentId) -> Self {
        Self {
            incarnation: wire.incarnation,
            generation: wire.generation,
        }
    }
}

impl From<Id> for v1::AssignmentId {
    fn from(id: Id) -> Self {
        Self {
            incarnation: id.incarnation,
            generation: id.generation,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.generation)
    }
}
