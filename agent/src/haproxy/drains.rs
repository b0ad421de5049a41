//! Which of HAProxy's servers get no new sessions because an operator drained their node. Pure.
//!
//! ```text
//! drained nodes --> Drains <-- states of the servers, again and again
//!                     |
//!                     v  "set server BACKEND/SERVER state drain", "... state ready"
//! ```
//! Guarantees: a server is drained only while another one of its backend, of a node that is not
//! drained, was seen to be well, and is used again as soon as none is; a server in maintenance is
//! left alone; nothing is done about servers of nodes that were not drained, whatever their state.
//!
//! The idea: level-triggered. A reload of HAProxy forgets the state, and the next look sets it
//! again; whose node is drained no more is looked at until none of its servers is drained.
//!
//! Deliberately absent: the backend of the databases' leader. Only one server of it is ever used,
//! and which one that is, Patroni decides.

use std::collections::BTreeSet;
use std::fmt;

use hamesh_proto::ids::NodeId;
use hamesh_roles::render::LEADER_BACKEND;

use super::servers::Server;

/// Knows what is to be drained, and what was.
#[derive(Debug, Default)]
pub struct Drains {
    wanted: BTreeSet<NodeId>,
    /// Those that are drained no more, and may have servers that are.
    former: BTreeSet<NodeId>,
}

/// What HAProxy is told of one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switch {
    /// Its backend.
    pub backend: String,
    /// Its name there.
    pub server: String,
    /// What it is to be.
    pub to: To,
}

/// What a server is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// Sessions that stand go on; it gets no new ones.
    Drain,
    /// It is used as its checks say.
    Ready,
}

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What HAProxy is told.
    pub switches: Vec<Switch>,
    /// How many servers of drained nodes get nothing new, once it is told.
    pub drained: usize,
    /// Servers of drained nodes that get all: no other one of their backend is well.
    pub kept: BTreeSet<(String, String)>,
}

impl Drains {
    /// Takes in which nodes are drained now.
    pub fn want(&mut self, nodes: &BTreeSet<NodeId>) {
        let before = std::mem::replace(&mut self.wanted, nodes.clone());
        self.former.extend(before);
        self.former.retain(|node| !nodes.contains(node));
    }

    /// Whether there is nothing to look after.
    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.former.is_empty()
    }

    /// What is to be done about the servers as they are. Those who ask must look again: also after
    /// an order that may not have reached HAProxy.
    pub fn look(&mut self, servers: &[Server]) -> Look {
        let is = |nodes: &BTreeSet<NodeId>, it: &Server| {
            nodes.iter().any(|node| node.as_str() == it.name)
        };
        let well = |it: &Server| it.up && (it.passed || !it.checked) && !is(&self.wanted, it);
        let stays = |backend: &str| servers.iter().any(|it| it.backend == backend && well(it));
        let mut look = Look::default();
        let mut unsettled = BTreeSet::new();
        let ours = |it: &&Server| it.backend != LEADER_BACKEND && !it.admin.in_maintenance();
        for server in servers.iter().filter(ours) {
            let wanted = is(&self.wanted, server);
            if !wanted && !is(&self.former, server) {
                continue;
            }
            let to = match wanted && stays(&server.backend) {
                true => To::Drain,
                false => To::Ready,
            };
            match (wanted, to) {
                (true, To::Drain) => look.drained += 1,
                (true, To::Ready) => {
                    let kept = (server.backend.clone(), server.name.clone());
                    look.kept.insert(kept);
                }
                (false, _) => {}
            }
            if server.admin.is_drained() != (to == To::Drain) {
                look.switches.push(Switch {
                    backend: server.backend.clone(),
                    server: server.name.clone(),
                    to,
                });
                unsettled.insert(server.name.as_str());
            }
        }
        self.former.retain(|node| unsettled.contains(node.as_str()));
        look
    }
}

impl Switch {
    /// What HAProxy is told.
    pub fn command(&self) -> String {
        let Self {
            backend,
            server,
            to,
        } = self;
        let state = match to {
            To::Drain => "drain",
            To::Ready => "ready",
        };
        format!("set server {backend}/{server} state {state}")
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backend,
            server,
            to,
        } = self;
        match to {
            To::Drain => write!(f, "{backend}/{server} gets nothing new"),
            To::Ready => write!(f, "{backend}/{server} is used again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::haproxy::servers::Admin;

    fn nodes(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|it| it.parse().expect("a name")).collect()
    }

    /// Well, but for its state by order.
    fn server(backend: &str, name: &str, admin: u32) -> Server {
        Server {
            backend: backend.to_owned(),
            name: name.to_owned(),
            at: ("192.0.2.1".to_owned(), "80".to_owned()),
            up: admin == 0,
            passed: true,
            checked: true,
            admin: Admin(admin),
        }
    }

    fn told(look: &Look) -> Vec<String> {
        let commands = look.switches.iter().map(Switch::command);
        let short = |it: String| it.replacen("set server ", "", 1).replacen("state ", "", 1);
        commands.map(short).collect()
    }

    /// HAProxy does as it is told.
    fn obey(servers: &mut [Server], look: &Look) {
        for switch in &look.switches {
            let same =
                |it: &&mut Server| (&it.backend, &it.name) == (&switch.backend, &switch.server);
            let server = servers.iter_mut().find(same).expect("a server");
            server.admin = Admin(if switch.to == To::Drain { 8 } else { 0 });
            server.up = switch.to == To::Ready;
        }
    }

    #[test]
    fn the_servers_of_a_drained_node_get_nothing_new_until_it_is_undrained() {
        let mut servers = vec![
            server("web", "a", 0),
            server("web", "b", 0),
            server("api", "a", 0),
            server("api", "b", 0),
        ];
        let mut drains = Drains::default();
        assert!(drains.is_idle());
        drains.want(&nodes(&["a"]));
        let look = drains.look(&servers);
        assert_eq!(told(&look), ["web/a drain", "api/a drain"]);
        // Again, as long as it was not heard.
        assert_eq!(drains.look(&servers), look);
        obey(&mut servers, &look);
        let look = drains.look(&servers);
        assert_eq!((told(&look), look.drained), (vec![], 2));
        // A reload forgets it.
        servers[0] = server("web", "a", 0);
        assert_eq!(told(&drains.look(&servers)), ["web/a drain"]);
        servers[0] = server("web", "a", 8);

        drains.want(&nodes(&[]));
        let look = drains.look(&servers);
        assert_eq!(told(&look), ["web/a ready", "api/a ready"]);
        assert!(!drains.is_idle(), "until it is seen to be done");
        obey(&mut servers, &look);
        assert_eq!(drains.look(&servers), Look::default());
        assert!(drains.is_idle());
    }

    #[test]
    fn the_last_one_that_is_well_is_used_though_its_node_is_drained() {
        let mut drains = Drains::default();
        drains.want(&nodes(&["a", "b"]));
        let both = [server("web", "a", 0), server("web", "b", 0)];
        let look = drains.look(&both);
        assert_eq!((told(&look), look.kept.len()), (vec![], 2));
        let mut servers = vec![server("web", "a", 8), server("web", "b", 8)];
        servers.push(server("web", "c", 0));
        assert_eq!(told(&drains.look(&servers)), [""; 0]);
        let spoils: [fn(&mut Server); 3] = [
            |it| it.up = false,
            // It counts as up: right after a reload, or one check failed.
            |it| it.passed = false,
            |it| it.admin = Admin(1),
        ];
        for spoil in spoils {
            let mut servers = servers.clone();
            spoil(&mut servers[2]);
            servers[2].up &= servers[2].admin == Admin(0);
            let look = drains.look(&servers);
            assert_eq!(told(&look), ["web/a ready", "web/b ready"]);
        }
        // One that is not looked at counts as well.
        servers[2].checked = false;
        servers[2].passed = false;
        assert_eq!(told(&drains.look(&servers)), [""; 0]);
    }

    #[test]
    fn maintenance_the_databases_leader_and_what_others_drained_are_left_alone() {
        let mut drains = Drains::default();
        drains.want(&nodes(&["a"]));
        let servers = [
            server("web", "a", 1),
            server("web", "b", 0),
            server("web", "c", 8),
            server(LEADER_BACKEND, "a", 0),
            server(LEADER_BACKEND, "b", 0),
            server("api", "a", 9),
            server("api", "b", 0),
        ];
        assert_eq!(told(&drains.look(&servers)), [""; 0]);
        drains.want(&nodes(&[]));
        assert_eq!(told(&drains.look(&servers)), [""; 0]);
        assert!(drains.is_idle());
    }

    #[test]
    fn who_is_drained_again_at_once_stays_drained() {
        let mut drains = Drains::default();
        for wanted in [&["a"][..], &[], &["a"]] {
            drains.want(&nodes(wanted));
        }
        let servers = [server("web", "a", 8), server("web", "b", 0)];
        let look = drains.look(&servers);
        assert_eq!((told(&look), look.drained), (vec![], 1));
    }

    #[test]
    fn invariant_a_backend_with_a_server_that_is_well_keeps_one_and_comes_to_rest() {
        let ids = ["a", "b", "c"];
        for case in 0..1_u32 << 12 {
            let bit = |n: usize| case & (1 << n) != 0;
            let well = |n: usize| bit(n);
            let mut servers: Vec<_> = (0..3)
                .map(|n| server("web", ids[n], if bit(3 + n) { 8 } else { 0 }))
                .collect();
            for (n, it) in servers.iter_mut().enumerate() {
                it.passed = well(n);
                it.up &= well(n);
            }
            let set = |from: usize| {
                let ids = (0..3).filter(|n| bit(from + n)).map(|n| ids[n]);
                nodes(&ids.collect::<Vec<_>>())
            };
            let mut drains = Drains::default();
            drains.want(&set(6));
            drains.want(&set(9));
            let foreign = |it: &Server| {
                let known = set(6).into_iter().chain(set(9));
                known.into_iter().all(|node| node.as_str() != it.name)
            };
            let untouched: Vec<_> = servers.iter().filter(|it| foreign(it)).cloned().collect();
            // Who is used again in the first look lets others be drained in the second.
            for _ in 0..2 {
                let look = drains.look(&servers);
                obey(&mut servers, &look);
                for (n, it) in servers.iter_mut().enumerate() {
                    it.up &= well(n);
                }
            }
            let left: Vec<_> = servers.iter().filter(|it| foreign(it)).cloned().collect();
            assert_eq!(left, untouched, "case {case}");
            // Of those whose drain is not somebody else's.
            let could = (0..3).any(|n| well(n) && !(foreign(&servers[n]) && bit(3 + n)));
            assert!(!could || servers.iter().any(|it| it.up), "case {case}");
            assert_eq!(told(&drains.look(&servers)), [""; 0], "case {case}");
        }
    }
}
