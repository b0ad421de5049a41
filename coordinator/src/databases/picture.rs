//! One picture of the cluster of what each node's agent saw. Pure.
//!
//! Guarantees: every node of the role is in it, with why nothing is known of it where that is so.
//! What the cluster is comes from one Patroni alone, that of the leader if it answers: halves of
//! two views make a third, which nobody has.

use std::collections::BTreeMap;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1::{self, DatabasePart};

/// What a node's agent said.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// What it saw.
    Sight(v1::DatabaseSight),
    /// Nothing, for this reason.
    Nothing(String),
}

/// The picture.
pub fn of(nodes: &BTreeMap<NodeId, Seen>, zero_loss: bool) -> v1::DatabaseStatus {
    let nothing = v1::PatroniCluster::default();
    let view = view(nodes);
    let (seen_by, cluster) = view.map_or((String::new(), &nothing), |(node, cluster)| {
        (node.to_string(), cluster)
    });
    let known = |name: &str| cluster.members.iter().find(|member| member.name == name);
    let in_site = nodes
        .iter()
        .map(|(node, seen)| member(node.as_str(), known(node.as_str()), Some(seen)));
    let others = cluster.members.iter().filter(|member| {
        let named = member.name.as_str();
        !nodes.keys().any(|node| node.as_str() == named)
    });
    let others = others.map(|other| member(&other.name, Some(other), None));
    v1::DatabaseStatus {
        members: in_site.chain(others).collect(),
        seen_by,
        paused: cluster.paused,
        scheduled_switchover: cluster.scheduled_switchover.clone(),
        zero_loss,
    }
}

/// Who leads, if it is known.
pub fn leader(status: &v1::DatabaseStatus) -> Option<&v1::DatabaseMember> {
    let mut members = status.members.iter();
    members.find(|member| member.part() == DatabasePart::Leader)
}

/// Who leads by a Patroni's word.
pub fn leads(cluster: &v1::PatroniCluster) -> Option<&str> {
    let mut members = cluster.members.iter();
    let leader = members.find(|member| member.part() == DatabasePart::Leader);
    leader.map(|member| member.name.as_str())
}

/// Whose view counts, and that.
fn view(nodes: &BTreeMap<NodeId, Seen>) -> Option<(&NodeId, &v1::PatroniCluster)> {
    let mut views = nodes.iter().filter_map(|(node, seen)| match seen {
        Seen::Sight(sight) => Some((node, sight, sight.cluster.as_ref()?)),
        Seen::Nothing(_) => None,
    });
    let first = views.clone().next();
    let leader = views.find(|(node, sight, cluster)| {
        let primary = sight.own.as_ref().is_some_and(|own| own.primary);
        primary && leads(cluster) == Some(node.as_str())
    });
    leader.or(first).map(|(node, _, cluster)| (node, cluster))
}

fn member(
    node: &str,
    known: Option<&v1::PatroniMember>,
    seen: Option<&Seen>,
) -> v1::DatabaseMember {
    let mut member = known.map_or_else(v1::DatabaseMember::default, |known| v1::DatabaseMember {
        part: known.part,
        state: known.state.clone(),
        timeline: known.timeline,
        lag_bytes: known.lag_bytes,
        pending_restart: known.pending_restart,
        ..v1::DatabaseMember::default()
    });
    node.clone_into(&mut member.node);
    member.in_site = seen.is_some();
    match seen {
        Some(Seen::Nothing(why)) => member.problem.clone_from(why),
        Some(Seen::Sight(sight)) => {
            if let Some(own) = &sight.own {
                member.primary = own.primary;
                member.server_version = own.server_version;
                member.started.clone_from(&own.started);
                member.pending_restart |= own.pending_restart;
                if member.state.is_empty() {
                    member.state.clone_from(&own.state);
                }
            }
            member.problem.clone_from(&sight.problem);
            member.etcd = sight.etcd;
            member.etcd_problem.clone_from(&sight.etcd_problem);
        }
        None => {}
    }
    member
}
