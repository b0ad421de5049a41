//! The other ends of lease datagrams: each node's key, and where it was heard last.
//!
//! Guarantees: only what opens under a node's own key is that node's word; the key of a node that
//! was removed, or enrolled anew, opens nothing; and a key survives the session that brought it
//! until the node's next session brings another, so that a broken TCP connection costs no lease.
//!
//! Two machines with one identity (a cloned VM) are told apart by their lives: the key of the
//! earlier one dies at once, and the later one is not listened to before every lease and promise
//! that the earlier one may live on has run out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hamesh_claims::ids::NodeName;
use hamesh_claims::{Moment, Rules, lease};
use hamesh_proto::ids::NodeId;
use hamesh_proto::leases::{Channel, Content, OpenError, key_id};
use hamesh_proto::spiffe::Principal;

use super::keys::SessionKey;
use super::wanted::{Wishes, name_of};
use crate::store::Revision;

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// Not sealed in a form that this release knows.
    Form,
    /// Under no key that is good now.
    UnknownKey,
    /// Changed, or sealed by someone without the key.
    Broken,
    /// Opened before, or of an earlier run.
    Replayed,
    /// Sealed well, with a content that this release does not understand.
    NotUnderstood,
    /// It speaks for another node than the one that sealed it.
    OtherSender,
    /// Another machine with this node's identity may still hold.
    Waiting,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Form,
        Self::UnknownKey,
        Self::Broken,
        Self::Replayed,
        Self::NotUnderstood,
        Self::OtherSender,
        Self::Waiting,
    ];

    /// The name, as metrics show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::UnknownKey => "unknown_key",
            Self::Broken => "broken",
            Self::Replayed => "replayed",
            Self::NotUnderstood => "not_understood",
            Self::OtherSender => "other_sender",
            Self::Waiting => "waiting",
        }
    }
}

impl From<OpenError> for Dropped {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Short | OpenError::Version(_) => Self::Form,
            OpenError::OtherKey(_) => Self::UnknownKey,
            OpenError::Broken => Self::Broken,
            OpenError::Replayed => Self::Replayed,
        }
    }
}

/// All nodes' ends.
#[derive(Debug)]
pub struct Ends {
    own: Principal,
    run: u64,
    nodes: BTreeMap<NodeName, End>,
    /// Which node each key belongs to.
    owners: BTreeMap<u64, NodeName>,
}

#[derive(Debug)]
struct End {
    node: NodeId,
    address: Option<SocketAddr>,
    boot: String,
    enrolled_unix_ms: u64,
    revision: Revision,
    newest: Keyed,
    /// The key before, until the agent is heard under the new one.
    older: Option<Keyed>,
    heard: Option<Moment>,
    deaf_until: Moment,
}

#[derive(Debug)]
struct Keyed {
    id: u64,
    channel: Channel,
    /// Whether anything was opened under it.
    heard: bool,
}

impl Ends {
    /// Of the coordinator `own`, whose start has the number `run`.
    pub fn new(own: Principal, run: u64) -> Self {
        Self {
            own,
            run,
            nodes: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Takes the key of a new session. `longest` is what a lease given under the old key may last,
    /// or a promise of another member.
    pub fn key(&mut self, key: SessionKey, longest: Duration) {
        let name = name_of(&key.node);
        let other = Principal::Agent(key.node.clone());
        let newest = Keyed {
            id: key.id,
            channel: Channel::new(key.id, &key.secret, &self.own, &other, self.run),
            heard: false,
        };
        let before = self.nodes.remove(&name);
        let mut end = End {
            node: key.node,
            address: before.as_ref().and_then(|end| end.address),
            boot: key.boot,
            enrolled_unix_ms: key.enrolled_unix_ms,
            revision: key.revision,
            newest,
            older: None,
            heard: before.as_ref().and_then(|end| end.heard),
            deaf_until: before.as_ref().map_or(Moment::ZERO, |end| end.deaf_until),
        };
        if let Some(before) = before {
            self.forget(&before);
            let same_machine = before.boot == end.boot;
            if same_machine && before.enrolled_unix_ms == end.enrolled_unix_ms {
                // Of two keys that were never heard the agent knows the later at most.
                end.older = if before.newest.heard {
                    Some(before.newest)
                } else {
                    before.older
                };
            } else if let Some(heard) = before.heard {
                let clear = lease::grantor_deadline(heard, longest, Rules::all());
                end.deaf_until = end.deaf_until.max(clear);
            }
        }
        for keyed in [Some(&end.newest), end.older.as_ref()]
            .into_iter()
            .flatten()
        {
            self.owners.insert(keyed.id, name.clone());
        }
        self.nodes.insert(name, end);
    }

    /// Forgets the nodes that lost their identity, and learns where the others are.
    pub fn settle(&mut self, wishes: &Wishes) {
        let gone = |end: &End| {
            let place = wishes.nodes.get(&end.node);
            let same = place.is_some_and(|it| it.enrolled_unix_ms == end.enrolled_unix_ms);
            // A node may have enrolled after these wishes were read.
            !same && wishes.revision >= end.revision
        };
        let gone: Vec<NodeName> = self
            .nodes
            .iter()
            .filter(|(_, end)| gone(end))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(end) = self.nodes.remove(&name) {
                self.forget(&end);
            }
        }
        for end in self.nodes.values_mut() {
            let place = wishes.nodes.get(&end.node);
            end.address = end.address.or(place.map(|place| place.leases));
        }
    }

    /// Opens a datagram that came from `from` at `now`: whose word it is, and what it says.
    pub fn open(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Moment,
    ) -> Result<(NodeName, Content), Dropped> {
        let id = key_id(datagram)?;
        let name = self.owners.get(&id).ok_or(Dropped::UnknownKey)?;
        let end = self.nodes.get_mut(name).ok_or(Dropped::UnknownKey)?;
        if now < end.deaf_until {
            return Err(Dropped::Waiting);
        }
        let under_newest = end.newest.id == id;
        let keyed = if under_newest {
            &mut end.newest
        } else {
            end.older.as_mut().ok_or(Dropped::UnknownKey)?
        };
        let opened = keyed.channel.open(datagram)?;
        keyed.heard = true;
        end.heard = Some(now);
        // Where it spoke from last is where it listens.
        end.address = Some(from);
        let retired = end.older.take_if(|_| under_newest);
        let content = Content::decode(&opened).map_err(|_| Dropped::NotUnderstood)?;
        let speaks = content.speaks_for(&end.node);
        let name = name.clone();
        if let Some(retired) = retired {
            self.owners.remove(&retired.id);
        }
        match content {
            Content::ToCoordinator(_) if speaks => Ok((name, content)),
            // A coordinator is told nothing that is meant for members.
            Content::ToCoordinator(_) | Content::ToMember(_) | Content::ToPeer(_) => {
                Err(Dropped::OtherSender)
            }
        }
    }

    /// Seals what `to` is to be told; `None`: it has no key yet, or nobody knows where it is.
    pub fn seal(&mut self, to: &NodeName, content: &Content) -> Option<(SocketAddr, Vec<u8>)> {
        let end = self.nodes.get_mut(to)?;
        let address = end.address?;
        // Until it is heard under the new key, the agent is known to have the old one only.
        let keyed = end.older.as_mut().unwrap_or(&mut end.newest);
        Some((address, keyed.channel.seal(&content.encode())))
    }

    fn forget(&mut self, end: &End) {
        for keyed in [Some(&end.newest), end.older.as_ref()]
            .into_iter()
            .flatten()
        {
            self.owners.remove(&keyed.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use hamesh_claims::ids::{GroupVersion, RequestId, Session};
    use hamesh_claims::message::{Health, Request, ToCoordinator, Want};
    use hamesh_claims::reason::Declines;
    use zeroize::Zeroizing;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn coordinator() -> Principal {
        Principal::Coordinator("c".parse().expect("a name"))
    }

    fn key(boot: &str, id: u64) -> SessionKey {
        SessionKey {
            node: "a".parse().expect("a name"),
            boot: boot.to_owned(),
            id,
            secret: Zeroizing::new([7; 32]),
            enrolled_unix_ms: 1,
            revision: Revision(1),
        }
    }

    /// A datagram of node `a` under this key.
    fn said(id: u64) -> Vec<u8> {
        let own = Principal::Agent("a".parse().expect("a name"));
        let request = Request {
            from: NodeName::new("a"),
            id: RequestId {
                session: Session(1),
                number: 1,
            },
            seen: hamesh_claims::ids::Epoch::default(),
            group: GroupVersion(1),
            health: Health::Healthy,
            want: Want::Nothing(Declines::Unable),
        };
        let claim = "vip/edge".parse().expect("a claim");
        let content = Content::ToCoordinator(vec![(claim, ToCoordinator::Request(request))]);
        Channel::new(id, &[7; 32], &own, &coordinator(), 1).seal(&content.encode())
    }

    fn heard(ends: &mut Ends, id: u64, at: Duration) -> Result<(), Dropped> {
        let from = ([10, 0, 0, 1], 7450).into();
        let now = Moment::ZERO.plus(at);
        ends.open(&said(id), from, now).map(drop)
    }

    #[test]
    fn another_life_of_a_machine_is_heard_once_what_the_first_lived_on_has_run_out() {
        let mut ends = Ends::new(coordinator(), 1);
        ends.key(key("boot/one", 1), LONGEST);
        let at = Duration::from_secs(5);
        heard(&mut ends, 1, at).expect("the only machine");
        ends.key(key("boot/two", 2), LONGEST);
        assert_eq!(heard(&mut ends, 1, at), Err(Dropped::UnknownKey));
        assert_eq!(heard(&mut ends, 2, at + LONGEST), Err(Dropped::Waiting));
        heard(&mut ends, 2, at + LONGEST.mul_f64(1.04)).expect("time has passed");
    }

    #[test]
    fn the_next_run_on_the_same_machine_is_heard_at_once() {
        let mut ends = Ends::new(coordinator(), 1);
        ends.key(key("boot/one", 1), LONGEST);
        let at = Duration::from_secs(5);
        heard(&mut ends, 1, at).expect("the first run");
        ends.key(key("boot/one", 2), LONGEST);
        heard(&mut ends, 2, at).expect("the next run");
    }
}
