//! Which of HAProxy's servers are marked down because gossip says that their node died, and what a
//! mark is. Pure.
//!
//! ```text
//! peers --> Deaths --nodes that died just now--> marks <-- states of the servers
//!                                                  |
//!                                                  v  "set server BACKEND/SERVER health down"
//! ```
//! Guarantees: one death gives one mark, so a server whose node is silent and which answers
//! HAProxy's own checks is used again and stays so; the last server of a backend whose node lives
//! is never marked, nor is any when none would be left: then it is rather this node that is cut
//! off; a node is marked at most once in [`AGAIN`], however often it dies.
//!
//! The idea: a mark is a hint that HAProxy's checks confirm or undo within a second. So nothing is
//! ever marked up, and nothing has to be kept over a restart: who was not seen alive by this run
//! does not die in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use hamesh_proto::ids::NodeId;

use super::servers::Server;
use crate::gossip::PeersView;

/// For how long after a mark a node's next deaths are left to HAProxy's checks.
pub const AGAIN: Duration = Duration::from_secs(30);

/// Sees who dies.
#[derive(Debug, Default)]
pub struct Deaths(BTreeMap<NodeId, Life>);

/// What is known of one peer.
#[derive(Debug, Default)]
struct Life {
    /// The run of its agent that was alive when it was last seen.
    alive_as: Option<u64>,
    marked: Option<Instant>,
}

/// One server of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its backend.
    pub backend: String,
    /// Its name there.
    pub server: String,
    /// Why.
    pub cause: Cause,
}

/// Why a server is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its node fell silent.
    Silent,
    /// Its node says that it leads the databases no more.
    LeadsNoMore,
    /// This other node says that it leads them now.
    Succeeded(String),
}

/// What is done about the servers of nodes that died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// These are marked down.
    pub down: Vec<Mark>,
    /// These are not: no other server of a living node would be left.
    pub spared: Vec<Mark>,
}

impl Deaths {
    /// Takes in how the peers are; gives those that died since, and whose servers may be marked.
    pub fn observe(&mut self, peers: &PeersView, now: Instant) -> BTreeSet<NodeId> {
        self.0.retain(|node, _| peers.contains_key(node));
        let mut died = BTreeSet::new();
        for (node, peer) in peers {
            let life = self.0.entry(node.clone()).or_default();
            let run = peer.facts.as_ref().map(|facts| facts.started_unix_ms);
            if peer.alive {
                life.alive_as = run;
                continue;
            }
            let Some(was) = life.alive_as.take() else {
                continue;
            };
            // Another run has begun already: the node lives, its agent was started anew.
            let restarted = run.is_some_and(|run| run != was);
            let lately = life.marked.is_some_and(|at| now < at + AGAIN);
            if !restarted && !lately {
                life.marked = Some(now);
                died.insert(node.clone());
            }
        }
        died
    }
}

impl Marks {
    /// What follows from the death of these nodes, among the peers as they are.
    pub fn of(died: &BTreeSet<NodeId>, peers: &PeersView, servers: &[Server]) -> Self {
        let dead = |name: &str| {
            peers
                .iter()
                .any(|(id, it)| id.as_str() == name && !it.alive)
        };
        let mut marks = Self::default();
        for server in servers.iter().filter(|it| it.up && it.checked) {
            if !died.iter().any(|node| node.as_str() == server.name) {
                continue;
            }
            let others = servers.iter().filter(|it| it.backend == server.backend);
            let is_left = others.filter(|it| it.up).any(|it| !dead(&it.name));
            let mark = Mark {
                backend: server.backend.clone(),
                server: server.name.clone(),
                cause: Cause::Silent,
            };
            match is_left {
                true => marks.down.push(mark),
                false => marks.spared.push(mark),
            }
        }
        marks
    }

    /// Adds others. A server is marked once.
    pub fn add(&mut self, others: Self) {
        let is =
            |mark: &Mark, it: &Mark| (&it.backend, &it.server) == (&mark.backend, &mark.server);
        let known = |list: &[Mark], mark: &Mark| list.iter().any(|it| is(mark, it));
        let Self { down, spared } = others;
        down.into_iter().for_each(|mark| {
            if !known(&self.down, &mark) {
                self.down.push(mark);
            }
        });
        self.spared.extend(spared);
        self.spared.retain(|mark| !known(&self.down, mark));
    }
}

impl Mark {
    /// What HAProxy is told. Its checks raise the server as soon as that answers.
    pub fn command(&self) -> String {
        format!("set server {self} health down")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("its node fell silent"),
            Self::LeadsNoMore => f.write_str("its node leads the databases no more"),
            Self::Succeeded(by) => write!(f, "{by} leads the databases now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use hamesh_proto::v1;

    use super::*;
    use crate::gossip::peers::Peer;
    use crate::haproxy::servers::Admin;

    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn at(seconds: u64) -> Instant {
        *NOW + Duration::from_secs(seconds)
    }

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    /// Peers by name: whether they live, and their agent's run.
    fn peers(told: &[(&str, bool, u64)]) -> PeersView {
        let peer = |(name, alive, run): &(&str, bool, u64)| {
            let facts = v1::Facts {
                started_unix_ms: *run,
                ..v1::Facts::default()
            };
            let (alive, facts) = (*alive, Some(facts));
            (node(name), Peer { alive, facts })
        };
        told.iter().map(peer).collect()
    }

    fn server(backend: &str, name: &str, up: bool) -> Server {
        Server {
            backend: backend.to_owned(),
            name: name.to_owned(),
            at: ("192.0.2.1".to_owned(), "80".to_owned()),
            up,
            passed: up,
            checked: true,
            admin: Admin::default(),
        }
    }

    fn names(died: &[&str]) -> BTreeSet<NodeId> {
        died.iter().map(|name| node(name)).collect()
    }

    fn down(died: &[&str], peers: &PeersView, servers: &[Server]) -> Vec<String> {
        let marks = Marks::of(&names(died), peers, servers);
        marks.down.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_death_is_told_once_and_only_of_who_was_seen_alive() {
        let mut deaths = Deaths::default();
        let both = |a, b| peers(&[("a", a, 1), ("b", b, 1)]);
        assert_eq!(deaths.observe(&both(false, true), at(0)), names(&[]));
        assert_eq!(deaths.observe(&both(false, false), at(1)), names(&["b"]));
        assert_eq!(deaths.observe(&both(false, false), at(2)), names(&[]));
        assert_eq!(deaths.observe(&both(true, false), at(3)), names(&[]));
        assert_eq!(deaths.observe(&both(false, false), at(4)), names(&["a"]));
    }

    #[test]
    fn an_agent_that_is_started_anew_is_no_death() {
        let mut deaths = Deaths::default();
        for (alive, run) in [(true, 1), (false, 2), (true, 2), (true, 3)] {
            let died = deaths.observe(&peers(&[("a", alive, run)]), at(0));
            assert_eq!(died, names(&[]), "{alive} {run}");
        }
        let died = deaths.observe(&peers(&[("a", false, 3)]), at(1));
        assert_eq!(died, names(&["a"]));
    }

    #[test]
    fn who_dies_again_and_again_is_left_to_the_checks() {
        let mut deaths = Deaths::default();
        let mut died = |alive, seconds| {
            !deaths
                .observe(&peers(&[("a", alive, 1)]), at(seconds))
                .is_empty()
        };
        let mut marked = Vec::new();
        for seconds in 0..70 {
            died(true, seconds);
            if died(false, seconds) {
                marked.push(seconds);
            }
        }
        assert_eq!(marked, [0, 30, 60]);
    }

    #[test]
    fn servers_of_the_dead_are_marked_in_every_backend_where_a_living_one_is_left() {
        let now = peers(&[("a", false, 1), ("b", true, 1), ("c", true, 1)]);
        let servers = [
            server("web", "a", true),
            server("web", "b", true),
            server("api", "a", true),
            server("api", "c", false),
            server("other", "a", false),
            server("other", "b", true),
        ];
        assert_eq!(down(&["a"], &now, &servers), ["web/a"]);
        let marks = Marks::of(&names(&["a"]), &now, &servers);
        assert_eq!(marks.spared[0].to_string(), "api/a");
        assert_eq!(marks.spared.len(), 1);
        assert_eq!(marks.down[0].command(), "set server web/a health down");
        let mut unchecked = servers.clone();
        unchecked[0].checked = false;
        assert_eq!(
            down(&["a"], &now, &unchecked),
            [""; 0],
            "nobody would raise it"
        );
    }

    #[test]
    fn who_is_cut_off_from_all_marks_nobody() {
        let now = peers(&[("a", false, 1), ("b", false, 1)]);
        let mut servers = vec![server("web", "a", true), server("web", "b", true)];
        assert_eq!(down(&["a", "b"], &now, &servers), [""; 0]);
        assert_eq!(
            down(&["b"], &now, &servers),
            [""; 0],
            "the other one died before"
        );
        // One that is no peer is not known to be dead.
        servers.push(server("web", "elsewhere", true));
        assert_eq!(down(&["a", "b"], &now, &servers), ["web/a", "web/b"]);
    }

    #[test]
    fn invariant_a_backend_that_had_a_server_up_keeps_one() {
        for case in 0..4096_u32 {
            let bit = |n: u32| case & (1 << n) != 0;
            let ids = ["a", "b", "c"];
            let told: Vec<_> = (0..3).map(|n| (ids[n as usize], bit(n), 1)).collect();
            let now = peers(&told);
            let servers: Vec<_> = (0..3)
                .map(|n| server("web", ids[n as usize], bit(3 + n)))
                .collect();
            let died: Vec<_> = (0..3).filter(|n| bit(6 + n) && !bit(*n)).collect();
            let died: Vec<_> = died.iter().map(|n| ids[*n as usize]).collect();
            let marks = Marks::of(&names(&died), &now, &servers);
            let up = servers.iter().filter(|it| it.up).count();
            assert!(up == 0 || marks.down.len() < up, "case {case}");
        }
    }
}
