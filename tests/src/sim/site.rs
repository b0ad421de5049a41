//! The simulated site: which claims there are and who has a part in them.

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_claims::grantor::Spec;
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{GroupVersion, NodeName};
use hamesh_claims::lease::Timing;

/// Nodes are 0 to 4; the coordinators follow.
pub const NODES: usize = 5;
/// Three coordinators contend.
pub const COORDINATORS: usize = 3;
/// The claim that any of two nodes may hold.
pub const PAIR: usize = 0;
/// The claim that any of three nodes may hold; its group changes.
pub const TRIO: usize = 1;
/// The claim of a worker on itself.
pub const WORKER: usize = 2;
/// How many claims there are.
pub const CLAIMS: usize = 3;
/// The worker.
pub const WORKER_NODE: usize = 4;

/// The name of node `n`.
pub fn name(n: usize) -> NodeName {
    NodeName::new(&format!("node-{n}"))
}

/// The node called `name`.
pub fn index(name: &NodeName) -> usize {
    let number = name
        .as_ref()
        .strip_prefix("node-")
        .and_then(|n| n.parse().ok());
    number.unwrap_or(usize::MAX)
}

/// What claim `n` is called in a trace.
pub const fn title(claim: usize) -> &'static str {
    match claim {
        PAIR => "vip/pair",
        TRIO => "vip/trio",
        _ => "node/4",
    }
}

/// The times of a claim. Promises lengthen sooner, and to less, so that runs are short.
pub const fn timing(ttl_ms: u64) -> Timing {
    Timing {
        ttl: Duration::from_millis(ttl_ms),
        long_promise: Duration::from_millis(4000),
        lengthen_after: Duration::from_millis(1500),
    }
}

/// The group of `claim` with exactly these members.
pub fn group(claim: usize, version: u64, members: &[usize]) -> Group {
    let members: BTreeSet<NodeName> = members.iter().map(|n| name(*n)).collect();
    match claim {
        WORKER => Group::worker(GroupVersion(version), &name(WORKER_NODE), members),
        _ => Group::exclusive(GroupVersion(version), members),
    }
}

/// What the store holds of `claim` at first.
pub fn record(claim: usize) -> Record {
    let members: &[usize] = match claim {
        PAIR => &[0, 1],
        TRIO => &[0, 1, 2],
        _ => &[0, 1, 2, 3],
    };
    Record::new(group(claim, 1, members), timing(350).ttl)
}

/// What the site wants of `claim` at first.
pub fn spec(claim: usize) -> Spec {
    let mut spec = Spec::new(timing(350));
    spec.preference = record(claim).group.candidates.into_iter().collect();
    spec
}
