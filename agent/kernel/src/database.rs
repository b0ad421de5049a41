//! The fence of the databases: which of their ports are open on this node, and for how long.
//!
//! Guarantees, by means of the kernel alone:
//! - PostgreSQL is reached from other machines only while this node holds the claim on leading
//!   (`primary`), or was seen to only read a moment ago (`replica`);
//! - PostgreSQL's user, and so Patroni, reaches etcd, and others reach Patroni, only while the
//!   node is in good standing (`standing`): under a live lease, or since it was seen to lead no
//!   more. A leader whose lease ran out can neither serve nor tell anyone that it leads.
//!
//! ```text
//!                take                      renew (delete + add)
//!   standing by ------> primary, standing ---------------------> the same, later
//!        ^                    |
//!        | stand_by           | close, or the deadline, in the kernel
//!        +------------------- nothing
//! ```
//! A set holds the ports that are open. Local connections are let be: what is fenced is what the
//! node is to others. Absent on purpose: any decision.

use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;

use crate::changes::PortChange;
use crate::fence::{FenceError, Written, look, milliseconds_left};
use crate::netlink::Netlink;
use crate::nf::{self, Family};
use crate::rules::PRIORITY;

/// The table's name.
pub(crate) const DATABASE_TABLE: &str = "hamesh_database";

const POSTGRESQL: u16 = 5432;
const PATRONI: u16 = 8008;
const ETCD: u16 = 2379;
/// What a node in good standing has open.
const STANDING: [u16; 2] = [ETCD, PATRONI];
/// Who PostgreSQL and Patroni are.
const USER: &str = "postgres";
/// Where users are listed.
const USERS: &str = "/etc/passwd";
/// Changes of one transaction, each below 128 bytes.
const BATCH: usize = 16 * 128;

/// The sets of open ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    Primary,
    Replica,
    Standing,
}

impl Ports {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Standing => "standing",
        }
    }
}

/// The fence in the network namespace in which it was opened.
#[derive(Debug)]
pub struct DatabaseFence {
    netlink: Netlink,
    request: Vec<u8>,
}

impl DatabaseFence {
    /// Opens the way to the kernel. Needs CAP_NET_ADMIN for every later call.
    pub fn open() -> Result<Self, FenceError> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_NETFILTER)?,
            request: Vec::with_capacity(BATCH),
        })
    }

    /// Opens all until the deadline, whatever was there. On any other outcome than
    /// [`Written::Live`] all is closed.
    pub fn take(&mut self, deadline: Instant) -> Result<Written, FenceError> {
        let Some(ms) = milliseconds_left(deadline) else {
            self.close()?;
            return Ok(Written::TooLate);
        };
        let taken = held().flat_map(|(set, port)| anew(set, port, Some(ms)));
        let closed = emptied(Ports::Replica, POSTGRESQL);
        self.commit(taken.chain(closed))?;
        self.settle(deadline)
    }

    /// Moves the deadline of what is all still open; all of it or nothing.
    pub fn renew(&mut self, deadline: Instant) -> Result<Written, FenceError> {
        let Some(ms) = milliseconds_left(deadline) else {
            self.close()?;
            return Ok(Written::TooLate);
        };
        let renewed = held().flat_map(|(set, port)| {
            let timeout_ms = Some(ms);
            [
                PortChange::Delete { set, port },
                PortChange::Add {
                    set,
                    port,
                    timeout_ms,
                },
            ]
        });
        match self.commit(renewed) {
            Ok(()) => self.settle(deadline),
            // An element ran out, or the table is gone: closing tells which.
            Err(FenceError::NoDatabase) => {
                self.close()?;
                Ok(Written::Lapsed)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes all that a lease opens. Closing what is closed is no error.
    pub fn close(&mut self) -> Result<(), FenceError> {
        self.commit(held().flat_map(|(set, port)| emptied(set, port)))
    }

    /// Lets Patroni take part, for as long as nothing is held: not while a lease is live.
    pub fn stand_by(&mut self) -> Result<(), FenceError> {
        let standing = STANDING.into_iter();
        self.commit(standing.flat_map(|port| anew(Ports::Standing, port, None)))
    }

    /// Lets others read here for so long.
    pub fn let_read(&mut self, during: Duration) -> Result<(), FenceError> {
        let ms = u64::try_from(during.as_millis()).unwrap_or(u64::MAX);
        self.commit(anew(Ports::Replica, POSTGRESQL, Some(ms)).into_iter())
    }

    /// For how long the node serves as the leader yet; `None`: it does not.
    pub fn live(&mut self) -> Result<Option<Duration>, FenceError> {
        let open = self.open_in(Ports::Primary)?;
        Ok(open.into_iter().find_map(|(_, remaining)| remaining))
    }

    /// Whether Patroni may take part without a lease.
    pub fn stands_by(&mut self) -> Result<bool, FenceError> {
        let open = self.open_in(Ports::Standing)?;
        let without_end = |port| open.contains(&(port, None));
        Ok(STANDING.into_iter().all(without_end))
    }

    /// The rules in each chain of the table that is in the kernel; none: it is not.
    pub(crate) fn chains(&mut self) -> Result<Vec<(String, u32)>, FenceError> {
        let ask = |request: &mut Vec<u8>, number| nf::get_chains(request, number, Family::Inet);
        let read = |kind, payload: &[u8]| nf::chain(kind, payload, DATABASE_TABLE);
        let found = look(&mut self.netlink, &mut self.request, ask, read)?;
        let mut chains: Vec<_> = found.into_iter().flatten().collect();
        chains.sort();
        Ok(chains)
    }

    fn open_in(&mut self, set: Ports) -> Result<Vec<nf::OpenPort>, FenceError> {
        let place = (DATABASE_TABLE, set.name());
        let ask = |request: &mut Vec<u8>, number| {
            nf::get_elements(request, number, Family::Inet, place);
        };
        match look(&mut self.netlink, &mut self.request, ask, nf::open_ports) {
            Ok(found) => Ok(found.into_iter().flatten().collect()),
            Err(e) if e.refusal() == Some(libc::ENOENT) => Err(FenceError::NoDatabase),
            Err(e) => Err(e.into()),
        }
    }

    /// The second look at the clock: the deadline may have passed while the kernel was busy.
    fn settle(&mut self, deadline: Instant) -> Result<Written, FenceError> {
        if Instant::now() < deadline {
            return Ok(Written::Live);
        }
        self.close()?;
        Ok(Written::TooLate)
    }

    fn commit(&mut self, changes: impl Iterator<Item = PortChange>) -> Result<(), FenceError> {
        let changes: Vec<PortChange> = changes.collect();
        let room = u32::try_from(changes.len() + 2).expect("a dozen");
        let first = self.netlink.number(room);
        let last = nf::ports(&mut self.request, first, changes.into_iter());
        let done = self.netlink.commit(&self.request, first, last);
        done.map_err(|error| match error.refusal() {
            Some(libc::ENOENT) => FenceError::NoDatabase,
            _ => error.into(),
        })
    }
}

/// What a lease opens.
fn held() -> impl Iterator<Item = (Ports, u16)> {
    let standing = STANDING.into_iter().map(|port| (Ports::Standing, port));
    std::iter::once((Ports::Primary, POSTGRESQL)).chain(standing)
}

/// Afterwards there is exactly this, whatever was there. The first add is what makes the delete
/// succeed where nothing was.
fn anew(set: Ports, port: u16, timeout_ms: Option<u64>) -> [PortChange; 3] {
    let add = PortChange::Add {
        set,
        port,
        timeout_ms,
    };
    [add, PortChange::Delete { set, port }, add]
}

fn emptied(set: Ports, port: u16) -> [PortChange; 2] {
    let timeout_ms = Some(1);
    let add = PortChange::Add {
        set,
        port,
        timeout_ms,
    };
    [add, PortChange::Delete { set, port }]
}

/// The rules of the table, by chain. Without the user there is no PostgreSQL to be kept from
/// anything.
fn rules(has_user: bool) -> [(&'static str, Vec<String>); 2] {
    let input = vec![
        "iif lo accept".to_owned(),
        format!("tcp dport {POSTGRESQL} tcp dport != @primary tcp dport != @replica drop"),
        format!("tcp dport {PATRONI} tcp dport != @standing drop"),
    ];
    let output = format!("meta skuid {USER} tcp dport {ETCD} tcp dport != @standing drop");
    let output = has_user.then_some(output).into_iter().collect();
    [("input", input), ("output", output)]
}

/// The chains as they are to be, with their numbers of rules.
pub(crate) fn expected(has_user: bool) -> Vec<(String, u32)> {
    let count = |rules: &Vec<String>| u32::try_from(rules.len()).expect("a handful");
    let chains = rules(has_user);
    chains
        .iter()
        .map(|(name, rules)| ((*name).to_owned(), count(rules)))
        .collect()
}

/// The text that loads it in one transaction; what is open stays open.
pub(crate) fn text(has_user: bool) -> String {
    let table = format!("table inet {DATABASE_TABLE}");
    let mut text = format!("# The fence of hamesh: see hamesh-agent(8).\n{table} {{\n");
    for set in [Ports::Primary, Ports::Replica, Ports::Standing] {
        let name = set.name();
        text += &format!("\tset {name} {{\n\t\ttype inet_service\n\t\tflags timeout\n\t}}\n");
    }
    text += &format!("}}\nflush {table}\n{table} {{\n");
    for (name, rules) in rules(has_user) {
        let hook = format!("type filter hook {name} priority {PRIORITY}; policy accept;");
        text += &format!("\tchain {name} {{\n\t\t{hook}\n");
        for rule in rules {
            text += &format!("\t\t{rule}\n");
        }
        text += "\t}\n";
    }
    text + "}\n"
}

/// The text that takes it away. Declared first: deleting what is not there would be an error.
pub(crate) fn removal() -> String {
    format!("table inet {DATABASE_TABLE}\ndelete table inet {DATABASE_TABLE}\n")
}

/// Whether the machine knows PostgreSQL's user, as whom `nft` would look it up.
pub(crate) fn has_user() -> bool {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    users
        .lines()
        .any(|line| line.split(':').next() == Some(USER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_golden_one() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/database.nft");
        if std::env::var_os("HAMESH_GOLDEN").is_some() {
            std::fs::write(golden, text(true)).unwrap();
        }
        assert_eq!(text(true), std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn a_lease_opens_the_leaders_port_and_the_good_standing() {
        let ports: Vec<_> = held().collect();
        let standing = |port| (Ports::Standing, port);
        assert_eq!(
            ports,
            [(Ports::Primary, 5432), standing(2379), standing(8008)]
        );
    }

    #[test]
    fn without_the_user_nothing_is_kept_from_leaving() {
        let count = |has_user| expected(has_user)[1].clone();
        assert_eq!(count(true), ("output".to_owned(), 1));
        assert_eq!(count(false), ("output".to_owned(), 0));
        assert!(!text(false).contains("skuid"));
    }
}
