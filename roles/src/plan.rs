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

use crate::checks::Check;
use crate::duration;
use crate::names::{NetworkName, VipName};
use crate::role::Role;
use crate::site::{Backups, Engine, HeldBy, LabOptions, Mode, Network, Node, Site, Vip};

mod database;
mod proxies;

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
    let keyed = |ids: &[NodeId]| ids.iter().map(|id| (id.clone(), ())).collect();
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (keyed(coordinators), keyed(&new.coordinators));
    let show = |_: &()| vec![("runs", "the coordinator and its store".to_owned().into())];
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
type Part = (&'static str, Told);

/// What a part is.
#[derive(PartialEq)]
enum Told {
    /// One thing, told whole when it changes.
    One(String),
    /// Several: when some change, only those are told.
    Several(Vec<String>),
}

fn site_steps(old: Option<&Site>, new: &Site) -> Vec<Step> {
    let show = |site: &Site| -> Vec<Part> {
        vec![
            ("name", site.name.to_string().into()),
            (
                "management network",
                site.management_network.to_string().into(),
            ),
            ("backups", show_backups(site.backups.as_ref()).into()),
            ("edge proxy", proxies::edge(site.edge_proxy.as_ref())),
            (
                "internal proxy",
                proxies::internal(site.internal_proxy.as_ref()),
            ),
            ("database", database::cluster(site.database.as_ref())),
            ("packages", proxies::packages(site)),
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

fn show_backups(backups: Option<&Backups>) -> String {
    backups.map_or_else(
        || NONE.to_owned(),
        |backups| {
            let (every, keep) = (duration::show(backups.every), backups.keep);
            format!(
                "every {every}, {keep} kept in {}",
                backups.directory.display()
            )
        },
    )
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
    let told = parts.iter().filter_map(|(name, value)| match value {
        Told::One(value) if value == NONE || value == DEFAULT => None,
        Told::One(value) => Some(format!("{name} {value}")),
        Told::Several(values) if values.is_empty() => None,
        Told::Several(values) => Some(format!("{name} {}", values.join(" and "))),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn changes(before: &[Part], after: &[Part]) -> String {
    let pairs = before
        .iter()
        .zip(after)
        .filter(|(before, after)| before != after);
    let told = pairs.map(|((name, before), (_, after))| match (before, after) {
        (Told::Several(before), Told::Several(after)) => differences(name, before, after),
        (before, after) => format!("{name} {} -> {}", before.text(), after.text()),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// "checks: no more tcp 127.0.0.1:80, now tcp 127.0.0.1:443"
fn differences(name: &str, before: &[String], after: &[String]) -> String {
    let gone = before.iter().filter(|value| !after.contains(value));
    let gone = gone.map(|value| format!("no more {value}"));
    let come = after.iter().filter(|value| !before.contains(value));
    let come = come.map(|value| format!("now {value}"));
    let told = gone.chain(come).collect::<Vec<_>>();
    if told.is_empty() {
        format!("{name} in another order")
    } else {
        format!("{name}: {}", told.join(", "))
    }
}

impl Told {
    fn text(&self) -> String {
        match self {
            Told::One(value) => value.clone(),
            Told::Several(values) => values.join(" and "),
        }
    }
}

impl From<String> for Told {
    fn from(value: String) -> Self {
        Told::One(value)
    }
}

/// A part that is not there.
const NONE: &str = "none";
/// A part that the document does not say.
const DEFAULT: &str = "default";

fn show_network(Network { cidr }: &Network) -> Vec<Part> {
    vec![("cidr", cidr.to_string().into())]
}

fn show_vip(vip: &Vip) -> Vec<Part> {
    let Vip {
        addresses,
        networks,
        role,
        ttl,
        prefer,
        fail_back,
        checks,
        held_by,
    } = vip;
    let ttl = Some(*ttl).filter(|ttl| *ttl != Vip::DEFAULT_TTL);
    let shown = checks.iter().map(show_check).collect::<Vec<_>>();
    let fail_back = fail_back.map(|patience| format!("after {}", duration::show(patience)));
    vec![
        ("address", listed(addresses, " ").into()),
        ("network", listed(networks, " ").into()),
        ("role", role.to_string().into()),
        (
            "ttl",
            ttl.map_or_else(|| DEFAULT.to_owned(), duration::show)
                .into(),
        ),
        ("preferred", or_none(listed(prefer, " ")).into()),
        (
            "fail-back",
            fail_back.unwrap_or_else(|| NONE.to_owned()).into(),
        ),
        ("checks", Told::Several(shown)),
        (
            "held by",
            match held_by {
                HeldBy::Hamesh => DEFAULT.to_owned(),
                other => other.to_string(),
            }
            .into(),
        ),
    ]
}

/// "tcp 127.0.0.1:443 (every 100ms, fall 3)"
fn show_check(check: &Check) -> String {
    let terms = check.said_terms();
    let terms = terms.iter().map(|(key, value)| match *key {
        "degrades" => (*key).to_owned(),
        key => format!("{key} {value}"),
    });
    let terms = terms.collect::<Vec<_>>().join(", ");
    match terms.as_str() {
        "" => check.kind.to_string(),
        terms => format!("{} ({terms})", check.kind),
    }
}

fn listed<T: ToString>(values: &[T], separator: &str) -> String {
    let values = values.iter().map(ToString::to_string);
    values.collect::<Vec<_>>().join(separator)
}

fn or_none(text: String) -> String {
    Some(text)
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| NONE.to_owned())
}

fn show_node(
    Node {
        role,
        addresses,
        mode,
        lab: LabOptions { engine, memory_mib },
    }: &Node,
) -> Vec<Part> {
    let addresses = addresses
        .iter()
        .map(|(network, ip)| format!("{network} {ip}"));
    let engine = match engine {
        Engine::Nspawn => DEFAULT,
        Engine::Uml | Engine::Qemu => engine.name(),
    };
    let mode = match mode {
        Mode::Apply => DEFAULT,
        Mode::Observe => mode.name(),
    };
    let memory = memory_mib.map(|mib| format!("{mib} MiB"));
    vec![
        ("role", role.map_or(NONE, Role::name).to_owned().into()),
        (
            "addresses",
            addresses.collect::<Vec<_>>().join(" and ").into(),
        ),
        ("mode", mode.to_owned().into()),
        ("lab engine", engine.to_owned().into()),
        (
            "lab memory",
            memory.unwrap_or_else(|| DEFAULT.to_owned()).into(),
        ),
    ]
}
