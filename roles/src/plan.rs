//! What changes between two desired sites.
//!
//! A plan is for people to read before they say yes, and for the event that records what was done:
//! the coordinator stores the new document whole. Steps come in a fixed order: what is added or
//! changed from the outside in (networks, virtual addresses, nodes), then what is removed from the
//! inside out.

use std::collections::BTreeMap;
use std::fmt;

use hamesh_proto::ids::NodeId;
use serde::Serialize;

use crate::names::{NetworkName, VipName};
use crate::role::Role;
use crate::site::{Engine, LabOptions, Network, Node, Site, Vip};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub verb: Verb,
    /// To what.
    pub subject: Subject,
    /// How, for people: "role none -> edge-proxy".
    pub detail: String,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is new.
    Add,
    /// It was there and differs.
    Change,
    /// It is gone.
    Remove,
}

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The site as a whole.
    Site,
    /// A network.
    Network(NetworkName),
    /// A virtual address.
    Vip(VipName),
    /// A node.
    Node(NodeId),
    /// A node's part as coordinator.
    Coordinator(NodeId),
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verb::Add => "add",
            Verb::Change => "change",
            Verb::Remove => "remove",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Site => f.write_str("site"),
            Subject::Network(name) => write!(f, "network {name}"),
            Subject::Vip(name) => write!(f, "vip {name}"),
            Subject::Node(name) => write!(f, "node {name}"),
            Subject::Coordinator(name) => write!(f, "coordinator {name}"),
        }
    }
}

/// The steps from `old` to `new`; none if they say the same. Without an `old`, all of `new`.
pub fn diff(old: Option<&Site>, new: &Site) -> Vec<Step> {
    let mut steps = site_steps(old, new);
    let empty = (
        BTreeMap::new(),
        BTreeMap::new(),
        BTreeMap::new(),
        Vec::new(),
    );
    let (networks, vips, nodes, coordinators) = match old {
        Some(old) => (&old.networks, &old.vips, &old.nodes, &old.coordinators),
        None => (&empty.0, &empty.1, &empty.2, &empty.3),
    };
    let mut removed = Vec::new();
    compare(
        networks,
        &new.networks,
        Subject::Network,
        show_network,
        &mut steps,
        &mut removed,
    );
    compare(
        vips,
        &new.vips,
        Subject::Vip,
        show_vip,
        &mut steps,
        &mut removed,
    );
    compare(
        nodes,
        &new.nodes,
        Subject::Node,
        show_node,
        &mut steps,
        &mut removed,
    );
    let listed = |ids: &[NodeId]| ids.iter().map(|id| (id.clone(), ())).collect();
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (listed(coordinators), listed(&new.coordinators));
    let show = |_: &()| vec![("runs", "the coordinator and its store".to_owned())];
    compare(
        &before,
        &after,
        Subject::Coordinator,
        show,
        &mut steps,
        &mut removed,
    );
    removed.reverse();
    steps.append(&mut removed);
    steps
}

/// One part of something, by name: "role", "edge-proxy".
type Part = (&'static str, String);

fn site_steps(old: Option<&Site>, new: &Site) -> Vec<Step> {
    let show = |site: &Site| -> Vec<Part> {
        vec![
            ("name", site.name.to_string()),
            ("management network", site.management_network.to_string()),
        ]
    };
    let after = show(new);
    let (verb, detail) = match old.map(show) {
        None => (Verb::Add, whole(&after)),
        Some(before) if before != after => (Verb::Change, changes(&before, &after)),
        Some(_) => return Vec::new(),
    };
    vec![Step {
        verb,
        subject: Subject::Site,
        detail,
    }]
}

fn compare<N: Ord + Clone, T: PartialEq>(
    old: &BTreeMap<N, T>,
    new: &BTreeMap<N, T>,
    subject: fn(N) -> Subject,
    show: impl Fn(&T) -> Vec<Part>,
    steps: &mut Vec<Step>,
    removed: &mut Vec<Step>,
) {
    for (name, after) in new {
        let (verb, detail) = match old.get(name) {
            None => (Verb::Add, whole(&show(after))),
            Some(before) if before != after => (Verb::Change, changes(&show(before), &show(after))),
            Some(_) => continue,
        };
        steps.push(Step {
            verb,
            subject: subject(name.clone()),
            detail,
        });
    }
    for (name, before) in old.iter().filter(|(name, _)| !new.contains_key(name)).rev() {
        let (subject, detail) = (subject(name.clone()), whole(&show(before)));
        removed.push(Step {
            verb: Verb::Remove,
            subject,
            detail,
        });
    }
}

fn whole(parts: &[Part]) -> String {
    let parts = parts
        .iter()
        .filter(|(_, value)| value != NONE && value != DEFAULT);
    parts
        .map(|(name, value)| format!("{name} {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn changes(before: &[Part], after: &[Part]) -> String {
    let pairs = before
        .iter()
        .zip(after)
        .filter(|(before, after)| before != after);
    let told = pairs.map(|((name, before), (_, after))| format!("{name} {before} -> {after}"));
    told.collect::<Vec<_>>().join(", ")
}

/// A part that is not there.
const NONE: &str = "none";
/// A part that the document does not say.
const DEFAULT: &str = "default";

fn show_network(Network { cidr }: &Network) -> Vec<Part> {
    vec![("cidr", cidr.to_string())]
}

fn show_vip(
    Vip {
        addresses,
        network,
        role,
    }: &Vip,
) -> Vec<Part> {
    let addresses = addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    vec![
        ("address", addresses.join(" ")),
        ("network", network.to_string()),
        ("role", role.to_string()),
    ]
}

fn show_node(
    Node {
        role,
        addresses,
        lab: LabOptions { engine, memory_mib },
    }: &Node,
) -> Vec<Part> {
    let addresses = addresses
        .iter()
        .map(|(network, ip)| format!("{network} {ip}"));
    let engine = match engine {
        Engine::Nspawn => DEFAULT,
        Engine::Uml => engine.name(),
    };
    let memory = memory_mib.map(|mib| format!("{mib} MiB"));
    vec![
        ("role", role.map_or(NONE, Role::name).to_owned()),
        ("addresses", addresses.collect::<Vec<_>>().join(" and ")),
        ("lab engine", engine.to_owned()),
        ("lab memory", memory.unwrap_or_else(|| DEFAULT.to_owned())),
    ]
}
