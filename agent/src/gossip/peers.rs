//! What this node knows of its peers: who is alive, and what each proved to have said of itself.
//!
//! Guarantees: facts count only when they carry their own node's signature under the site's CA,
//! belong to the run (start number) under which they are gossiped, and are not older than facts
//! seen before; so no member can speak for another. Only members of the assignment are peers.
//!
//! Idea: recomputed from a snapshot of chitchat's state at every round; a version of a text is
//! verified once. A peer is dead only after [`ROUNDS_TO_DIE`] rounds in a row without life, so
//! that one late tick of a starved machine kills nobody.
//!
//! Absent: the clock and chitchat itself. Liveness is advisory: heartbeats are relayed unsigned.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;

/// Rounds without life before a peer that was alive is called dead.
pub const ROUNDS_TO_DIE: u32 = 2;

/// One chitchat identity as one round saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The name it goes by.
    pub node: String,
    /// The start number it goes by.
    pub start: u64,
    /// Where it wants to be gossiped with.
    pub address: SocketAddr,
    /// Whether chitchat holds it to be alive.
    pub alive: bool,
    /// The version of its facts' text, and the text when that version is new here.
    pub facts: Option<(u64, Option<String>)>,
}

/// Why facts of a peer were ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// Not base64 of signed facts.
    Encoding,
    /// The signature, its certificate or the name in it does not hold.
    Unverified,
    /// The certificate was revoked.
    Revoked,
    /// Gossiped under another start number than the facts' own.
    OtherStart,
    /// Older than, or different from, what the same node signed before.
    WentBack,
}

impl Ignored {
    /// Every reason.
    pub const ALL: [Ignored; 5] = [
        Ignored::Encoding,
        Ignored::Unverified,
        Ignored::Revoked,
        Ignored::OtherStart,
        Ignored::WentBack,
    ];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Ignored::Encoding => "encoding",
            Ignored::Unverified => "unverified",
            Ignored::Revoked => "revoked",
            Ignored::OtherStart => "other_start",
            Ignored::WentBack => "went_back",
        }
    }
}

/// A peer as this node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peer {
    /// Heard lately, under the run that its newest facts are of.
    pub alive: bool,
    /// The newest facts that it proved to have said.
    pub facts: Option<v1::Facts>,
}

/// The peers of this node.
#[derive(Debug)]
pub struct PeerBook {
    own: NodeId,
    members: BTreeMap<NodeId, SocketAddr>,
    peers: BTreeMap<NodeId, Record>,
}

#[derive(Debug, Default)]
struct Record {
    peer: Peer,
    lifeless_rounds: u32,
    /// (start, sequence) below which nothing counts, also while the facts are verified anew.
    floor: (u64, u64),
    /// Newest version of the text judged, by start number; whatever came of it.
    judged: BTreeMap<u64, u64>,
}

/// What a round brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Peers that came to life.
    pub came: Vec<NodeId>,
    /// Peers that died.
    pub went: Vec<NodeId>,
    /// Peers with newer facts.
    pub newer_facts: Vec<NodeId>,
    /// Facts that were ignored, by the name they were gossiped under.
    pub ignored: Vec<(NodeId, Ignored)>,
}

impl PeerBook {
    /// Nobody is known yet.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            members: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Takes over who the members are. What was verified is forgotten and verified again by the
    /// next rounds, since a certificate may have been revoked meanwhile; liveness stays.
    pub fn set_members(&mut self, mut members: BTreeMap<NodeId, SocketAddr>) {
        members.remove(&self.own);
        self.peers.retain(|node, _| members.contains_key(node));
        for node in members.keys() {
            let record = self.peers.entry(node.clone()).or_default();
            record.judged.clear();
            record.peer.facts = None;
        }
        self.members = members;
    }

    /// The newest version of the facts' text judged for an identity.
    pub fn judged(&self, node: &str, start: u64) -> Option<u64> {
        self.peers.get(node)?.judged.get(&start).copied()
    }

    /// Where a member gossips.
    pub fn address(&self, node: &NodeId) -> Option<SocketAddr> {
        self.members.get(node).copied()
    }

    /// Takes in what one round saw. `verify` proves that a text was signed by the node named.
    pub fn observe(
        &mut self,
        sightings: &[Sighting],
        mut verify: impl FnMut(&str, &NodeId) -> Result<v1::Facts, Ignored>,
    ) -> Round {
        let mut round = Round::default();
        for (node, record) in &mut self.peers {
            let address = self.members.get(node);
            let mine: Vec<&Sighting> = sightings
                .iter()
                .filter(|seen| seen.node == node.as_str() && Some(&seen.address) == address)
                .collect();
            for seen in &mine {
                match record.judge(seen, node, &mut verify) {
                    None => {}
                    Some(Ok(())) => round.newer_facts.push(node.clone()),
                    Some(Err(why)) => round.ignored.push((node.clone(), why)),
                }
            }
            record
                .judged
                .retain(|start, _| mine.iter().any(|seen| seen.start == *start));
            match record.live(&mine) {
                None => {}
                Some(true) => round.came.push(node.clone()),
                Some(false) => round.went.push(node.clone()),
            }
        }
        round
    }

    /// Nobody is heard any more: gossip itself has stopped.
    pub fn silence(&mut self) -> Round {
        let mut round = Round::default();
        for (node, record) in &mut self.peers {
            if std::mem::take(&mut record.peer.alive) {
                round.went.push(node.clone());
            }
        }
        round
    }

    /// Every peer, in the order of names.
    pub fn peers(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter().map(|(node, record)| (node, &record.peer))
    }
}

impl Record {
    fn judge(
        &mut self,
        seen: &Sighting,
        node: &NodeId,
        verify: &mut impl FnMut(&str, &NodeId) -> Result<v1::Facts, Ignored>,
    ) -> Option<Result<(), Ignored>> {
        let (version, Some(text)) = seen.facts.as_ref()? else {
            return None;
        };
        if self
            .judged
            .get(&seen.start)
            .is_some_and(|judged| judged >= version)
        {
            return None;
        }
        self.judged.insert(seen.start, *version);
        let facts = match verify(text, node) {
            Ok(facts) if facts.started_unix_ms != seen.start => Err(Ignored::OtherStart),
            verified => verified,
        };
        let facts = match facts {
            Ok(facts) => facts,
            Err(why) => return Some(Err(why)),
        };
        let order = (facts.started_unix_ms, facts.sequence);
        let known = self.peer.facts.as_ref();
        if known == Some(&facts) || facts.started_unix_ms < self.floor.0 {
            // Another member still relays it, or the run before.
            return None;
        }
        if order < self.floor || (order == self.floor && known.is_some()) {
            return Some(Err(Ignored::WentBack));
        }
        self.floor = order;
        self.peer.facts = Some(facts);
        Some(Ok(()))
    }

    /// Judges life; `Some(_)` when it changed.
    fn live(&mut self, sightings: &[&Sighting]) -> Option<bool> {
        let run = self.peer.facts.as_ref().map(|facts| facts.started_unix_ms);
        let heard = sightings
            .iter()
            .any(|seen| seen.alive && Some(seen.start) == run);
        self.lifeless_rounds = if heard {
            0
        } else {
            self.lifeless_rounds.saturating_add(1)
        };
        let alive = heard || (self.peer.alive && self.lifeless_rounds < ROUNDS_TO_DIE);
        let changed = alive != self.peer.alive;
        self.peer.alive = alive;
        changed.then_some(alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "192.168.56.41:7445";

    fn node(name: &str) -> NodeId {
        name.parse().expect("a node name")
    }

    fn book() -> PeerBook {
        let mut book = PeerBook::new(node("node-1"));
        let address = |text: &str| text.parse().expect("an address");
        book.set_members(BTreeMap::from([
            (node("node-1"), address("192.168.56.40:7445")),
            (node("node-2"), address(ADDRESS)),
        ]));
        book
    }

    fn sighting(start: u64, alive: bool, facts: Option<(u64, &str)>) -> Sighting {
        Sighting {
            node: "node-2".to_owned(),
            start,
            address: ADDRESS.parse().expect("an address"),
            alive,
            facts: facts.map(|(version, text)| (version, Some(text.to_owned()))),
        }
    }

    /// Texts are "start/sequence"; anything else does not verify.
    fn verify(text: &str, node: &NodeId) -> Result<v1::Facts, Ignored> {
        let (start, sequence) = text.split_once('/').ok_or(Ignored::Unverified)?;
        Ok(v1::Facts {
            node: node.to_string(),
            started_unix_ms: start.parse().expect("a number"),
            sequence: sequence.parse().expect("a number"),
            ..v1::Facts::default()
        })
    }

    fn only(book: &PeerBook) -> Peer {
        let peers: Vec<_> = book.peers().collect();
        assert_eq!(peers.len(), 1, "this node is no peer of itself: {peers:?}");
        peers[0].1.clone()
    }

    #[test]
    fn a_peer_lives_once_its_facts_are_proven_and_dies_after_some_rounds() {
        let mut book = book();
        let unproven = book.observe(&[sighting(7, true, None)], verify);
        assert_eq!(
            unproven,
            Round::default(),
            "a heartbeat alone proves no one"
        );
        let round = book.observe(&[sighting(7, true, Some((1, "7/1")))], verify);
        assert_eq!(
            (round.came, round.newer_facts),
            (vec![node("node-2")], vec![node("node-2")])
        );
        assert_eq!(book.judged("node-2", 7), Some(1));

        assert_eq!(
            book.observe(&[sighting(7, false, None)], verify),
            Round::default()
        );
        assert!(only(&book).alive, "one round without life kills nobody");
        assert_eq!(
            book.observe(&[sighting(7, false, None)], verify).went,
            [node("node-2")]
        );
        assert!(!only(&book).alive);
        assert!(
            only(&book).facts.is_some(),
            "what it said last is still known"
        );
        assert_eq!(
            book.observe(&[sighting(7, true, None)], verify).came,
            [node("node-2")]
        );
    }

    #[test]
    fn a_restarted_peer_is_alive_only_under_its_new_run() {
        let mut book = book();
        book.observe(&[sighting(7, true, Some((1, "7/1")))], verify);
        let both = [
            sighting(7, true, None),
            sighting(8, false, Some((1, "8/1"))),
        ];
        assert_eq!(book.observe(&both, verify).newer_facts, [node("node-2")]);
        assert_eq!(
            book.observe(&both, verify).went,
            [node("node-2")],
            "the old run counts no more"
        );
        let old = book.observe(&[sighting(7, true, Some((2, "7/9")))], verify);
        assert_eq!(
            old,
            Round::default(),
            "what is relayed of the old run is passed over"
        );
        assert_eq!(
            only(&book).facts.map(|facts| facts.started_unix_ms),
            Some(8)
        );
    }

    #[test]
    fn facts_that_do_not_hold_are_told_once_and_change_nothing() {
        let mut book = book();
        book.observe(&[sighting(7, true, Some((3, "7/3")))], verify);
        for (version, text, why) in [
            (4, "forged", Ignored::Unverified),
            (5, "7/2", Ignored::WentBack),
            (6, "9/9", Ignored::OtherStart),
        ] {
            let seen = [sighting(7, true, Some((version, text)))];
            assert_eq!(book.observe(&seen, verify).ignored, [(node("node-2"), why)]);
            assert_eq!(book.observe(&seen, verify), Round::default(), "judged once");
            assert_eq!(
                only(&book).facts.map(|facts| facts.sequence),
                Some(3),
                "{text}"
            );
        }
        let next = book.observe(&[sighting(7, true, Some((7, "7/4")))], verify);
        assert_eq!(next.newer_facts, [node("node-2")]);
    }

    #[test]
    fn who_goes_by_a_members_name_at_another_address_is_nobody() {
        let mut book = book();
        let mut seen = sighting(7, true, Some((1, "7/1")));
        seen.address = "192.168.56.99:7445".parse().expect("an address");
        assert_eq!(book.observe(&[seen], verify), Round::default());
    }

    #[test]
    fn a_revoked_certificate_unsays_what_was_said() {
        let mut book = book();
        let seen = [sighting(7, true, Some((1, "7/1")))];
        book.observe(&seen, verify);
        book.set_members(book.members.clone());
        let round = book.observe(&seen, |_, _| Err(Ignored::Revoked));
        assert_eq!(round.ignored, [(node("node-2"), Ignored::Revoked)]);
        assert_eq!(only(&book).facts, None);
        assert_eq!(book.observe(&seen, verify).went, [node("node-2")]);
    }

    #[test]
    fn an_assignment_that_revokes_nothing_of_a_peer_does_not_touch_its_life() {
        let mut book = book();
        let seen = [sighting(7, true, Some((1, "7/1")))];
        book.observe(&seen, verify);
        book.set_members(book.members.clone());
        let round = book.observe(&seen, verify);
        assert_eq!((round.came, round.went), (vec![], vec![]));
        assert!(only(&book).alive);
    }
}
