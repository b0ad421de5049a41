//! Who leads the databases, and which of HAProxy's servers are marked down when that changes. Pure.
//!
//! ```text
//! peers' facts --> Leaders --who leads since just now, who no more--> marks <-- states of servers
//! ```
//! Guarantees: only a change that this run of the agent saw gives a mark, and each change one; a
//! node that is silent, or not known, changes nothing; the last server that is up is marked only
//! when another node of the backend says that it leads; what one node says of itself marks others,
//! or itself, at most once in [`AGAIN`] each.
//!
//! The idea: as with deaths, HAProxy's checks confirm or undo a mark within a second. They ask the
//! same Patroni; gossip saves the wait for two of them that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1::DatabaseState;
use hamesh_roles::render::LEADER_BACKEND;

use super::marks::{AGAIN, Cause, Mark, Marks};
use super::servers::Server;
use crate::gossip::PeersView;
use crate::gossip::peers::Peer;

/// Sees who begins to lead, and who ceases to.
#[derive(Debug, Default)]
pub struct Leaders(BTreeMap<NodeId, Word>);

/// What is known of one peer.
#[derive(Debug, Default)]
struct Word {
    /// Whether it leads, when it said so last.
    leads: Option<bool>,
    /// When it was last heard to begin.
    began: Option<Instant>,
    /// When it was last heard to cease.
    ceased: Option<Instant>,
}

/// What is news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// These lead since just now.
    pub began: BTreeSet<NodeId>,
    /// These lead no more.
    pub ceased: BTreeSet<NodeId>,
}

impl Leaders {
    /// Takes in what the peers say; gives what is news among it.
    pub fn observe(&mut self, peers: &PeersView, now: Instant) -> Change {
        self.0.retain(|node, _| peers.contains_key(node));
        let mut change = Change::default();
        for (node, peer) in peers.iter().filter(|(_, peer)| peer.alive) {
            let Some(leads) = leads(peer) else {
                continue;
            };
            let word = self.0.entry(node.clone()).or_default();
            let was = word.leads.replace(leads);
            if was != Some(!leads) {
                continue;
            }
            let (heard, news) = match leads {
                true => (&mut word.began, &mut change.began),
                false => (&mut word.ceased, &mut change.ceased),
            };
            if heard.is_none_or(|at| now >= at + AGAIN) {
                *heard = Some(now);
                news.insert(node.clone());
            }
        }
        change
    }
}

impl Change {
    /// Whether nothing is news.
    pub fn is_empty(&self) -> bool {
        self.began.is_empty() && self.ceased.is_empty()
    }

    /// What follows from it, among the peers as they are.
    pub fn marks(&self, peers: &PeersView, servers: &[Server]) -> Marks {
        let backend = || servers.iter().filter(|it| it.backend == LEADER_BACKEND);
        let peer = |name: &str| peers.iter().find(|(id, _)| id.as_str() == name);
        // Who says so itself, and whom HAProxy raises as soon as it finds the same.
        let leads = |it: &Server| {
            let said =
                peer(&it.name).is_some_and(|(_, peer)| peer.alive && leads(peer) == Some(true));
            said && it.checked && !it.admin.in_maintenance()
        };
        let named = |set: &BTreeSet<NodeId>, name: &str| set.iter().any(|id| id.as_str() == name);
        let successor = backend().find(|it| named(&self.began, &it.name) && leads(it));
        let cause = |it: &Server| match successor {
            _ if named(&self.ceased, &it.name) => Some(Cause::LeadsNoMore),
            Some(successor) if !named(&self.began, &it.name) => {
                Some(Cause::Succeeded(successor.name.clone()))
            }
            Some(_) | None => None,
        };
        let dead = |name: &str| peer(name).is_some_and(|(_, peer)| !peer.alive);
        let stays = backend().any(|it| it.up && !dead(&it.name) && cause(it).is_none());
        let mut marks = Marks::default();
        for server in backend().filter(|it| it.up && it.checked) {
            let Some(cause) = cause(server) else {
                continue;
            };
            let is_left = stays || backend().any(|it| it.name != server.name && leads(it));
            let mark = Mark {
                backend: server.backend.clone(),
                server: server.name.clone(),
                cause,
            };
            match is_left {
                true => marks.down.push(mark),
                false => marks.spared.push(mark),
            }
        }
        marks
    }
}

/// Whether it leads; `None`: it does not say.
fn leads(peer: &Peer) -> Option<bool> {
    match peer.facts.as_ref()?.database() {
        DatabaseState::Leader => Some(true),
        DatabaseState::Replica | DatabaseState::Other => Some(false),
        DatabaseState::Unspecified | DatabaseState::Silent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use DatabaseState::{Leader, Other, Replica, Silent, Unspecified};
    use hamesh_proto::v1;

    use super::*;
    use crate::haproxy::servers::Admin;

    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn at(seconds: u64) -> Instant {
        *NOW + Duration::from_secs(seconds)
    }

    fn set(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|it| it.parse().expect("a name")).collect()
    }

    fn change(began: &[&str], ceased: &[&str]) -> Change {
        Change {
            began: set(began),
            ceased: set(ceased),
        }
    }

    /// Peers by name: whether they live, and what they say.
    fn peers(told: &[(&str, bool, DatabaseState)]) -> PeersView {
        let peer = |(name, alive, said): &(&str, bool, DatabaseState)| {
            let facts = v1::Facts {
                database: (*said).into(),
                ..v1::Facts::default()
            };
            let (alive, facts) = (*alive, Some(facts));
            (name.parse().expect("a name"), Peer { alive, facts })
        };
        told.iter().map(peer).collect()
    }

    fn server(name: &str, up: bool) -> Server {
        Server {
            backend: LEADER_BACKEND.to_owned(),
            name: name.to_owned(),
            at: ("192.0.2.1".to_owned(), "5432".to_owned()),
            up,
            passed: up,
            checked: true,
            admin: Admin::default(),
        }
    }

    fn down(change: &Change, peers: &PeersView, servers: &[Server]) -> Vec<String> {
        let marks = change.marks(peers, servers);
        marks.down.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_is_told_once_and_only_one_that_was_seen() {
        let mut leaders = Leaders::default();
        let mut heard = |said, seconds| leaders.observe(&peers(&[("a", true, said)]), at(seconds));
        assert_eq!(heard(Unspecified, 0), change(&[], &[]));
        assert_eq!(heard(Leader, 1), change(&[], &[]), "its first word");
        assert_eq!(heard(Silent, 2), change(&[], &[]));
        assert_eq!(heard(Leader, 3), change(&[], &[]));
        assert_eq!(heard(Other, 4), change(&[], &["a"]));
        assert_eq!(heard(Replica, 5), change(&[], &[]));
        assert_eq!(
            heard(Unspecified, 6),
            change(&[], &[]),
            "a new run of its agent"
        );
        assert_eq!(heard(Leader, 7), change(&["a"], &[]));
    }

    #[test]
    fn the_dead_say_nothing_and_who_says_much_is_heard_seldom() {
        let mut leaders = Leaders::default();
        let mut heard =
            |alive, said, seconds| leaders.observe(&peers(&[("a", alive, said)]), at(seconds));
        assert!(heard(true, Leader, 0).is_empty());
        assert!(heard(false, Replica, 1).is_empty());
        assert_eq!(heard(true, Replica, 1), change(&[], &["a"]));
        let mut told = Vec::new();
        for seconds in 2..70 {
            for said in [Leader, Replica] {
                let change = heard(true, said, seconds);
                told.extend(change.began.iter().map(|_| ('+', seconds)));
                told.extend(change.ceased.iter().map(|_| ('-', seconds)));
            }
        }
        let each = [('+', 2), ('-', 31), ('+', 32), ('-', 61), ('+', 62)];
        assert_eq!(told, each);
    }

    #[test]
    fn when_another_one_leads_the_leader_of_before_is_left_out_at_once() {
        let now = peers(&[
            ("a", true, Leader),
            ("b", true, Leader),
            ("c", true, Replica),
        ]);
        let servers = [server("a", true), server("b", false), server("c", false)];
        let began = change(&["b"], &[]);
        assert_eq!(
            down(&began, &now, &servers),
            ["leader/a"],
            "its own word is late"
        );
        let marks = began.marks(&now, &servers);
        assert_eq!(marks.down[0].cause, Cause::Succeeded("b".to_owned()));
        assert_eq!(marks.down[0].command(), "set server leader/a health down");
        // Right after a reload all count as up.
        let servers = ["a", "b", "c"].map(|name| server(name, true));
        assert_eq!(down(&began, &now, &servers), ["leader/a", "leader/c"]);
        let mut elsewhere = servers.to_vec();
        elsewhere[0].backend = "replicas".to_owned();
        assert_eq!(down(&began, &now, &elsewhere), ["leader/c"]);
    }

    #[test]
    fn who_leads_no_more_is_left_out_when_another_one_is_there() {
        let ceased = change(&[], &["a"]);
        let servers = [server("a", true), server("b", false)];
        let nobody = peers(&[("a", true, Other), ("b", true, Replica)]);
        assert_eq!(down(&ceased, &nobody, &servers), [""; 0]);
        let spared = &ceased.marks(&nobody, &servers).spared;
        assert_eq!(spared[0].cause, Cause::LeadsNoMore);
        let other = peers(&[("a", true, Replica), ("b", true, Leader)]);
        assert_eq!(down(&ceased, &other, &servers), ["leader/a"]);
        // It is to be used, or can come up by itself.
        for (spoil, why) in [
            (Spoil::Dead, "it is dead"),
            (Spoil::Unchecked, "nobody would raise it"),
            (Spoil::Maintenance, "an operator keeps it out"),
        ] {
            let (mut servers, mut other) = (servers.clone(), other.clone());
            match spoil {
                Spoil::Dead => other.values_mut().for_each(|it| it.alive = false),
                Spoil::Unchecked => servers[1].checked = false,
                Spoil::Maintenance => servers[1].admin = Admin(1),
            }
            assert_eq!(down(&ceased, &other, &servers), [""; 0], "{why}");
        }
    }

    enum Spoil {
        Dead,
        Unchecked,
        Maintenance,
    }

    #[test]
    fn one_that_is_no_server_here_deposes_nobody() {
        let now = peers(&[("a", true, Leader), ("x", true, Leader)]);
        let servers = [server("a", true), server("b", true)];
        assert_eq!(down(&change(&["x"], &[]), &now, &servers), [""; 0]);
    }

    #[test]
    fn invariant_a_server_stays_up_or_one_that_leads_is_told() {
        let ids = ["a", "b", "c"];
        for case in 0..1_u32 << 15 {
            let bit = |n: usize| case & (1 << n) != 0;
            let said = |n| if bit(3 + n) { Leader } else { Replica };
            let told: Vec<_> = (0..3).map(|n| (ids[n], bit(n), said(n))).collect();
            let servers: Vec<_> = (0..3).map(|n| server(ids[n], bit(6 + n))).collect();
            let of = |from: usize, say| {
                let of = (0..3).filter(|n| bit(from + n) && told[*n].1 && told[*n].2 == say);
                of.map(|n| ids[n]).collect::<Vec<_>>()
            };
            let change = change(&of(9, Leader), &of(12, Replica));
            let marks = change.marks(&peers(&told), &servers);
            let up = servers.iter().filter(|it| it.up).count();
            let leads = told.iter().any(|(_, alive, say)| *alive && *say == Leader);
            assert!(up == 0 || marks.down.len() < up || leads, "case {case}");
            for (name, alive, say) in &told {
                let began = change.began.iter().any(|id| id.as_str() == *name);
                let marked = marks.down.iter().any(|it| it.server == *name);
                assert!(
                    !(began && *alive && *say == Leader && marked),
                    "case {case}"
                );
            }
        }
    }
}
