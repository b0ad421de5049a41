//! The keys under which this node's lease datagrams travel, and what opens under them.
//!
//! Guarantees: a message is handed on only with the name of the one who proved to have sent it, as
//! what that one may say (a member cannot speak as a coordinator), and once. A key that comes again
//! goes on where it was: its datagrams are never numbered anew.

use hamesh_claims::message::{ToMember, ToPeer};
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::leases::{Channel, Content, OpenError, key_id};
use hamesh_proto::spiffe::Principal;

use super::keys::LeaseKey;

/// What a datagram held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A coordinator's words.
    FromCoordinator(Vec<(ClaimId, ToMember)>),
    /// Another member's words.
    FromPeer(NodeId, Vec<(ClaimId, ToPeer)>),
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// It is no lease datagram of this release.
    Form,
    /// Sealed under a key that this node does not hold (any more).
    Key,
    /// The seal is broken.
    Seal,
    /// Opened before, or of an earlier run.
    Replayed,
    /// What was sealed is not understood.
    Content,
    /// It speaks for another node, or as what its sender is not.
    Sender,
}

impl Refused {
    /// Each of them, for those who count.
    pub const ALL: [Self; 6] = [
        Self::Form,
        Self::Key,
        Self::Seal,
        Self::Replayed,
        Self::Content,
        Self::Sender,
    ];

    /// In one word, for a label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Key => "key",
            Self::Seal => "seal",
            Self::Replayed => "replayed",
            Self::Content => "content",
            Self::Sender => "sender",
        }
    }
}

#[derive(Debug)]
struct End {
    key: LeaseKey,
    /// The incarnation, if it is a coordinator's.
    coordinator: Option<u64>,
    channel: Channel,
}

/// Every key that this node holds.
#[derive(Debug)]
pub struct Channels {
    me: Principal,
    run: u64,
    ends: Vec<End>,
}

impl Channels {
    /// No keys yet. `run` is the number of the agent's start: no two starts have the same.
    pub fn new(me: NodeId, run: u64) -> Self {
        Self {
            me: Principal::Agent(me),
            run,
            ends: Vec::new(),
        }
    }

    /// The key of a new session with a coordinator: the one before it is gone, and so are those
    /// with coordinators of earlier incarnations. They would take this member's word for it that
    /// they are outdated, and grant nothing more to a holder that has yet to learn of the restore.
    pub fn use_session_key(&mut self, key: LeaseKey, incarnation: u64) {
        let node = key.node.clone();
        self.replace(vec![key], Some(incarnation), |end| {
            let earlier = end.coordinator.is_some_and(|of| of < incarnation);
            earlier || (end.coordinator.is_some() && end.key.node == node)
        });
    }

    /// The keys with all other members: others are gone.
    pub fn use_peer_keys(&mut self, keys: Vec<LeaseKey>) {
        self.replace(keys, None, |end| end.coordinator.is_none());
    }

    /// Another member has started anew under this number: what an earlier run of it says is
    /// another machine's.
    pub fn expect_run(&mut self, node: &NodeId, run: u64) {
        let of_node = |end: &&mut End| end.coordinator.is_none() && end.key.node == *node;
        for end in self.ends.iter_mut().filter(of_node) {
            end.channel.expect_run(run);
        }
    }

    /// Opens a datagram.
    ///
    /// # Errors
    /// [`Refused`]: count and drop.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Opened, Refused> {
        let id = key_id(datagram).map_err(refused)?;
        let end = self.ends.iter_mut().find(|end| end.key.id == id);
        let end = end.ok_or(Refused::Key)?;
        let content = end.channel.open(datagram).map_err(refused)?;
        let content = Content::decode(&content).map_err(|_| Refused::Content)?;
        match content {
            Content::ToMember(messages) if end.coordinator.is_some() => {
                Ok(Opened::FromCoordinator(messages))
            }
            Content::ToPeer(_)
                if end.coordinator.is_none() && !content.speaks_for(&end.key.node) =>
            {
                Err(Refused::Sender)
            }
            Content::ToPeer(messages) if end.coordinator.is_none() => {
                Ok(Opened::FromPeer(end.key.node.clone(), messages))
            }
            Content::ToMember(_) | Content::ToPeer(_) | Content::ToCoordinator(_) => {
                Err(Refused::Sender)
            }
        }
    }

    /// Seals a content for every coordinator with a key.
    pub fn seal_for_coordinators(&mut self, content: &[u8], mut send: impl FnMut(&NodeId, &[u8])) {
        for end in self.ends.iter_mut().filter(|end| end.coordinator.is_some()) {
            send(&end.key.node, &end.channel.seal(content));
        }
    }

    /// Seals a content for another member; `None` without a key for it.
    pub fn seal_for_peer(&mut self, node: &str, content: &[u8]) -> Option<(NodeId, Vec<u8>)> {
        let is = |end: &&mut End| end.coordinator.is_none() && end.key.node.as_str() == node;
        let end = self.ends.iter_mut().find(is)?;
        Some((end.key.node.clone(), end.channel.seal(content)))
    }

    fn replace(
        &mut self,
        keys: Vec<LeaseKey>,
        coordinator: Option<u64>,
        old: impl Fn(&End) -> bool,
    ) {
        self.ends.retain(|end| !old(end) || keys.contains(&end.key));
        for key in keys {
            // One key under two numberings would seal two datagrams with one nonce.
            if self.ends.iter().any(|end| end.key.id == key.id) {
                continue;
            }
            let other = if coordinator.is_some() {
                Principal::Coordinator(key.node.clone())
            } else {
                Principal::Agent(key.node.clone())
            };
            let channel = Channel::new(key.id, &key.secret, &self.me, &other, self.run);
            self.ends.push(End {
                key,
                coordinator,
                channel,
            });
        }
    }
}

fn refused(error: OpenError) -> Refused {
    match error {
        OpenError::Short | OpenError::Version(_) => Refused::Form,
        OpenError::OtherKey(_) => Refused::Key,
        OpenError::Broken => Refused::Seal,
        OpenError::Replayed => Refused::Replayed,
    }
}

#[cfg(test)]
mod tests {
    use hamesh_claims::ids::{NodeName, RequestId, Session};
    use hamesh_claims::message::Release;
    use zeroize::Zeroizing;

    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    fn key(node_at_the_end: &str, id: u64) -> LeaseKey {
        LeaseKey {
            node: node(node_at_the_end),
            id,
            secret: Zeroizing::new([9; 32]),
        }
    }

    fn release(from: &str) -> Content {
        let id = RequestId {
            session: Session(1),
            number: 1,
        };
        let release = Release {
            from: NodeName::new(from),
            upto: id,
        };
        let claim = "vip/edge".parse().expect("a claim");
        Content::ToPeer(vec![(claim, ToPeer::Release(release))])
    }

    fn pair() -> (Channels, Channels) {
        let (mut a, mut b) = (Channels::new(node("a"), 1), Channels::new(node("b"), 1));
        a.use_peer_keys(vec![key("b", 5)]);
        b.use_peer_keys(vec![key("a", 5)]);
        (a, b)
    }

    fn sealed(by: &mut Channels, content: &Content) -> Vec<u8> {
        by.seal_for_peer("b", &content.encode()).expect("a key").1
    }

    #[test]
    fn a_member_hears_another_once_and_by_its_own_name_only() {
        let (mut a, mut b) = pair();
        let datagram = sealed(&mut a, &release("a"));
        assert!(matches!(b.open(&datagram), Ok(Opened::FromPeer(from, _)) if from == node("a")));
        assert_eq!(b.open(&datagram), Err(Refused::Replayed));
        let forged = sealed(&mut a, &release("c"));
        assert_eq!(b.open(&forged), Err(Refused::Sender));
    }

    #[test]
    fn of_two_machines_with_one_name_the_one_that_started_later_is_heard() {
        let (mut a, mut b) = pair();
        assert!(b.open(&sealed(&mut a, &release("a"))).is_ok());
        b.expect_run(&node("c"), 2);
        assert!(b.open(&sealed(&mut a, &release("a"))).is_ok());
        b.expect_run(&node("a"), 2);
        let refused = b.open(&sealed(&mut a, &release("a")));
        assert_eq!(refused, Err(Refused::Replayed));
        let mut later = Channels::new(node("a"), 2);
        later.use_peer_keys(vec![key("b", 5)]);
        assert!(b.open(&sealed(&mut later, &release("a"))).is_ok());
    }

    #[test]
    fn a_member_cannot_speak_as_a_coordinator() {
        let (mut a, mut b) = pair();
        let datagram = sealed(&mut a, &Content::ToMember(vec![]));
        assert_eq!(b.open(&datagram), Err(Refused::Sender));
    }

    #[test]
    fn a_key_that_comes_again_goes_on_counting_and_one_that_does_not_is_gone() {
        let (mut a, mut b) = pair();
        assert!(b.open(&sealed(&mut a, &release("a"))).is_ok());
        a.use_peer_keys(vec![key("b", 5)]);
        b.use_peer_keys(vec![key("a", 5)]);
        assert!(b.open(&sealed(&mut a, &release("a"))).is_ok());
        b.use_peer_keys(vec![]);
        assert_eq!(b.open(&sealed(&mut a, &release("a"))), Err(Refused::Key));
    }

    fn told(agent: &mut Channels) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        agent.seal_for_coordinators(b"x", |node, datagram| {
            told.push((node.to_string(), key_id(datagram).expect("sealed")));
        });
        told.sort();
        told
    }

    #[test]
    fn a_new_session_replaces_its_own_coordinators_key_alone() {
        let mut agent = Channels::new(node("a"), 1);
        agent.use_session_key(key("control-1", 1), 1);
        agent.use_session_key(key("control-2", 2), 1);
        agent.use_session_key(key("control-1", 3), 1);
        let expected = [("control-1".to_owned(), 3), ("control-2".to_owned(), 2)];
        assert_eq!(told(&mut agent), expected);
    }

    #[test]
    fn coordinators_of_before_a_restore_are_told_nothing_more() {
        let mut agent = Channels::new(node("a"), 1);
        agent.use_session_key(key("control-1", 1), 1);
        agent.use_session_key(key("control-2", 2), 1);
        agent.use_session_key(key("control-3", 3), 1_700_000_000);
        assert_eq!(told(&mut agent), [("control-3".to_owned(), 3)]);
    }
}
