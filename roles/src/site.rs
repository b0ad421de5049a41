//! The model of a site: its networks, virtual addresses and nodes.
//!
//! A [`Site`] is valid: [`Site::parse`] is the only way to one from text, and refuses a document
//! with everything that is wrong in it at once. Printing a site (`Display`) gives a document that
//! parses to the same site.
//!
//! Absent on purpose: serde. A derived reader stops at the first error and does not know where it
//! stood.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hamesh_proto::ids::{NodeId, SiteName};
use ipnet::IpNet;

use crate::checks::Check;
use crate::diagnostic::Diagnostic;
use crate::names::{NetworkName, VipName};
use crate::role::Role;
use crate::words::{PackageName, PackageVersion};

mod candidates;
mod check;
mod check_database;
mod check_proxies;
mod database;
mod held_by;
mod print;
mod print_database;
mod print_proxies;
mod proxies;
mod read;
mod read_backups;
mod read_checks;
mod read_database;
mod read_proxies;
mod report;
#[cfg(test)]
mod tests;
mod values;

pub use candidates::Candidates;
pub use database::{DatabaseCluster, Durability};
pub use held_by::HeldBy;
pub use proxies::{CertificateSource, EdgeProxy, InternalProxy, RateLimit, WebBackends};

/// A whole site, as its operators want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name, part of every identity: it cannot change once the site lives.
    pub name: SiteName,
    /// Its networks, none overlapping another.
    pub networks: BTreeMap<NetworkName, Network>,
    /// The network on which nodes talk to each other and to the coordinators.
    pub management_network: NetworkName,
    /// The nodes that run a coordinator, at least one.
    pub coordinators: Vec<NodeId>,
    /// The addresses that move between the nodes of a role.
    pub vips: BTreeMap<VipName, Vip>,
    /// Every node, each with an address in the management network.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The backups that coordinators make by themselves.
    pub backups: Option<Backups>,
    /// What edge proxies do; `None`: hamesh leaves nodes of that role alone.
    pub edge_proxy: Option<EdgeProxy>,
    /// What internal proxies do; `None`: hamesh leaves nodes of that role alone.
    pub internal_proxy: Option<InternalProxy>,
    /// What databases do; `None`: hamesh leaves nodes of that role alone.
    pub database: Option<DatabaseCluster>,
    /// The packages that are kept at one version.
    pub packages: BTreeMap<PackageName, PackageVersion>,
}

/// Backups that a coordinator makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backups {
    /// How long after the last one the next is made.
    pub every: Duration,
    /// How many of them are kept.
    pub keep: u32,
    /// Where they are written on the coordinator.
    pub directory: PathBuf,
}

impl Backups {
    /// More often, they would be most of what the coordinator does; more seldom, they would be
    /// of no use.
    pub const EVERY: RangeInclusive<Duration> =
        Duration::from_secs(600)..=Duration::from_secs(31 * 24 * 3600);
    /// How many are kept when the document does not say.
    pub const DEFAULT_KEEP: u32 = 14;
    /// How many may be kept.
    pub const KEEP: RangeInclusive<u32> = 1..=1000;
    /// Where they are written when the document does not say: the coordinator may write there.
    pub const DEFAULT_DIRECTORY: &str = "/var/lib/hamesh/backups";
}

/// One network of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its addresses.
    pub cidr: IpNet,
}

/// A virtual address and who may hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// The addresses, at least one, held together.
    pub addresses: Vec<IpAddr>,
    /// The networks they belong to, at least one.
    pub networks: Vec<NetworkName>,
    /// The role whose nodes may hold them.
    pub role: Role,
    /// How long a lease on them lasts: about how long they are gone when their holder dies.
    pub ttl: Duration,
    /// The nodes that should rather hold them, the best first. Others come last.
    pub prefer: Vec<NodeId>,
    /// For how long a better node must be well until they go back to it; `None`: they stay.
    pub fail_back: Option<Duration>,
    /// What tells how well a node could serve them.
    pub checks: Vec<Check>,
    /// Who holds them, as long as a running site is being taken over.
    pub held_by: HeldBy,
}

impl Vip {
    /// The time-to-live that a document need not write.
    pub const DEFAULT_TTL: Duration = Duration::from_millis(300);
    /// Below, a busy node would lose its lease; above, an outage would be no failover.
    pub const TTL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
    /// The longest time that a better node may be made to wait.
    pub const FAIL_BACK: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

    /// Whether a node may hold the addresses: it has the role, and an address in each network.
    pub fn admits(&self, node: &Node) -> bool {
        let mut networks = self.networks.iter();
        node.role == Some(self.role) && networks.all(|it| node.addresses.contains_key(it))
    }

    /// Whether a node may have the claim of the addresses now.
    pub fn claims(&self, id: &NodeId, node: &Node) -> bool {
        self.held_by.claims(id) && self.admits(node)
    }
}

/// One VM of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is for, if anything yet.
    pub role: Option<Role>,
    /// Its address in each network it is on.
    pub addresses: BTreeMap<NetworkName, IpAddr>,
    /// Whether hamesh changes it.
    pub mode: Mode,
    /// How the lab runs it. A real site ignores this.
    pub lab: LabOptions,
}

/// Whether hamesh changes a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is made as desired, and kept so.
    #[default]
    Apply,
    /// What it differs in is told, and left as it is.
    Observe,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 2] = [Mode::Apply, Mode::Observe];

    /// The name in `site.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Apply => "apply",
            Mode::Observe => "observe",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How the lab runs a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabOptions {
    /// What the node is.
    pub engine: Engine,
    /// The memory it is given, in MiB; the lab's own choice if not said.
    pub memory_mib: Option<u32>,
}

/// What a lab node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Engine {
    /// A systemd-nspawn container on the host's kernel.
    #[default]
    Nspawn,
    /// User-Mode Linux: a kernel of its own.
    Uml,
    /// Debian's stock kernel on a machine that QEMU emulates.
    Qemu,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 3] = [Engine::Nspawn, Engine::Uml, Engine::Qemu];

    /// The name in `site.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Nspawn => "nspawn",
            Engine::Uml => "uml",
            Engine::Qemu => "qemu",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A document read: the site or all that is wrong, and what is only doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The site, or every error of the document in the order of the text.
    pub site: Result<Site, Vec<Diagnostic>>,
    /// What is allowed and probably not meant. The site works without it being mended.
    pub warnings: Vec<Diagnostic>,
}

impl Site {
    /// Reads a document.
    ///
    /// # Errors
    /// Everything that is wrong in it, in the order of the text (at most 100 faults).
    pub fn parse(yaml: &str) -> Result<Site, Vec<Diagnostic>> {
        Site::examine(yaml).site
    }

    /// Reads a document and says what is doubtful in it too.
    pub fn examine(yaml: &str) -> Examined {
        read::examine(yaml)
    }

    /// The management address of a node of this site.
    pub fn management_address(&self, node: &NodeId) -> Option<IpAddr> {
        self.nodes
            .get(node)?
            .addresses
            .get(&self.management_network)
            .copied()
    }

    /// The nodes with this role, in the order of their names.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &NodeId> {
        self.nodes
            .iter()
            .filter(move |(_, node)| node.role == Some(role))
            .map(|(id, _)| id)
    }

    /// The nodes that may hold the addresses. Who asks for many of them asks [`Candidates`].
    pub fn candidates<'a>(&'a self, vip: &'a Vip) -> impl Iterator<Item = &'a NodeId> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(id, node)| vip.claims(id, node))
            .map(|(id, _)| id)
    }
}
