//! One node, as the coordinator sees it and as it says of itself.

use std::fmt;

use hamesh_proto::v1;
use serde::Serialize;

use super::{GenerationView, RoleStateView, some_text};
use crate::ctl::time::Moment;

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In the site, but no agent has enrolled under its name.
    NotEnrolled,
    /// Its session stands, or most others hear it.
    Alive,
    /// One signal says alive and the other does not.
    Suspect,
    /// Neither signal says alive.
    Dead,
    /// Enrolled, but nothing was heard since this coordinator started.
    Unknown,
}

impl State {
    /// As tables and documents name it.
    pub const fn name(self) -> &'static str {
        match self {
            State::NotEnrolled => "not-enrolled",
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Dead => "dead",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<v1::NodeState> for State {
    fn from(state: v1::NodeState) -> State {
        match state {
            v1::NodeState::NotEnrolled => State::NotEnrolled,
            v1::NodeState::Alive => State::Alive,
            v1::NodeState::Suspect => State::Suspect,
            v1::NodeState::Dead => State::Dead,
            v1::NodeState::Unknown | v1::NodeState::Unspecified => State::Unknown,
        }
    }
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// The role it is assigned.
    pub role: Option<String>,
    /// "ip" of each of its networks.
    pub addresses: Vec<String>,
    /// Whether it is there.
    pub state: State,
    /// Why the state is what it is.
    pub reason: String,
    /// Since when.
    pub state_since: Option<Moment>,
    /// Whether its agent is connected to the coordinator that answers.
    pub session: bool,
    /// How many of `seen_of` members that report a view hear it.
    pub seen_by: u32,
    /// How many members report a view.
    pub seen_of: u32,
    /// The desired state that its agent has accepted.
    pub applied: Option<GenerationView>,
    /// When its certificate expires.
    pub certificate_expires: Option<Moment>,
    /// Until when an expired certificate of its is good for a new one.
    pub re_enrol_open_until: Option<Moment>,
    /// Whether it is to hold no claim.
    pub drained: bool,
    /// How it is with its role; `None`: hamesh leaves what is on it alone.
    pub role_state: Option<RoleStateView>,
    /// Version of its agent.
    pub version: Option<String>,
    /// Its kernel.
    pub kernel: Option<String>,
    /// Names this boot of it.
    pub boot_id: Option<String>,
    /// When its agent started.
    pub agent_started: Option<Moment>,
    /// What it is among the databases, as its Patroni says.
    pub database: Option<&'static str>,
    /// How it is, if it has said so.
    pub health: Option<HealthView>,
    /// Its network interfaces.
    pub interfaces: Vec<InterfaceView>,
}

/// How a node is.
#[derive(Debug, Clone, Serialize)]
pub struct HealthView {
    /// Load of the last minute.
    pub load1: f64,
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory_total_bytes: u64,
    /// Memory that programs could still have.
    pub memory_available_bytes: u64,
    /// Mounted disks.
    pub disks: Vec<DiskView>,
    /// systemd units that failed.
    pub failed_units: Vec<String>,
    /// Why the failed units are not known, if they are not.
    pub units_unknown: Option<String>,
    /// Its clock minus the median of its peers'; positive: ahead.
    pub clock_offset_ms: Option<i64>,
    /// How many peers that median is of.
    pub clock_peers: u32,
    /// Since it booted.
    pub uptime_s: u64,
}

/// One mounted disk.
#[derive(Debug, Clone, Serialize)]
pub struct DiskView {
    /// Where.
    pub mount: String,
    /// Its size.
    pub total_bytes: u64,
    /// What is left.
    pub available_bytes: u64,
}

/// One network interface.
#[derive(Debug, Clone, Serialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Whether it has a carrier.
    pub up: bool,
    /// Its hardware address.
    pub mac: String,
    /// "ip/prefix"
    pub addresses: Vec<String>,
}

impl From<v1::NodeStatus> for NodeView {
    fn from(node: v1::NodeStatus) -> Self {
        let state = State::from(node.state());
        let facts = node.facts.unwrap_or_default();
        let database = facts.database().words();
        let certificate = node
            .certificate_expires_unix_ms
            .max(facts.certificate_expires_unix_ms);
        NodeView {
            name: node.node,
            role: some_text(node.role),
            addresses: node.addresses,
            state,
            reason: node.reason,
            state_since: Moment::of(node.state_since_unix_ms),
            session: node.session,
            seen_by: node.seen_by,
            seen_of: node.seen_of,
            applied: node.applied.or(facts.applied).map(GenerationView::from),
            certificate_expires: Moment::of(certificate),
            re_enrol_open_until: Moment::of(node.re_enrol_open_until_unix_ms),
            drained: node.drained,
            role_state: node.role_state.map(RoleStateView::from),
            version: some_text(facts.version),
            kernel: some_text(facts.kernel),
            boot_id: some_text(facts.boot_id),
            agent_started: Moment::of(facts.started_unix_ms),
            database,
            health: facts.health.map(HealthView::from),
            interfaces: facts
                .interfaces
                .into_iter()
                .map(InterfaceView::from)
                .collect(),
        }
    }
}

impl From<v1::Health> for HealthView {
    fn from(health: v1::Health) -> Self {
        let disks = health.disks.into_iter().map(|disk| DiskView {
            mount: disk.mount,
            total_bytes: disk.total_bytes,
            available_bytes: disk.available_bytes,
        });
        HealthView {
            // A number that is none would not be JSON.
            load1: if health.load1.is_finite() {
                health.load1
            } else {
                0.0
            },
            cpus: health.cpus,
            memory_total_bytes: health.memory_total_bytes,
            memory_available_bytes: health.memory_available_bytes,
            disks: disks.collect(),
            failed_units: health.failed_units,
            units_unknown: some_text(health.units_unknown),
            clock_offset_ms: (health.clock_peers > 0).then_some(health.clock_offset_ms),
            clock_peers: health.clock_peers,
            uptime_s: health.uptime_s,
        }
    }
}

impl From<v1::Interface> for InterfaceView {
    fn from(interface: v1::Interface) -> Self {
        InterfaceView {
            name: interface.name,
            up: interface.up,
            mac: interface.mac,
            addresses: interface.addresses,
        }
    }
}
