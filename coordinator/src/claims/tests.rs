//! The real thread on 127.0.0.1, and members that say what a test has them say.

mod scripted;
mod whole;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hamesh_claims::grantor::Spec;
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName};
use hamesh_claims::lease::Timing;
use hamesh_claims::message::{HintKind, Ruling, ToMember, Want};
use hamesh_claims::reason::Refusal;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::leases::Channel;
use hamesh_proto::spiffe::Principal;
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use scripted::Scripted;

use super::keys::SessionKey;
use super::moves::{MoveAsked, MoveError};
use super::thread::{Command, Grantors, Told, Waker};
use super::wanted::{Place, Wanted, Wishes};
use crate::clock::Clock;
use crate::leadership::Standing;
use crate::metrics::Metrics;
use crate::store::Revision;
use crate::testing::GENEROUS;

/// Long enough that no pause of a loaded machine is an expiry, short enough to wait for one.
const TTL: Duration = Duration::from_secs(2);

fn claim() -> ClaimId {
    "vip/edge".parse().expect("a claim")
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn names(members: &[&str]) -> BTreeSet<NodeName> {
    members.iter().map(|name| NodeName::new(name)).collect()
}

/// The thread, and the asynchronous side's ends of it.
struct Bench {
    address: SocketAddr,
    commands: mpsc::Sender<Command>,
    waker: Waker,
    records: mpsc::Receiver<(ClaimId, Record)>,
    _told: mpsc::Receiver<Told>,
    standing: watch::Sender<Standing>,
    metrics: Metrics,
    revision: i64,
}

/// A leadership without an end.
fn leading(term: u64) -> watch::Sender<Standing> {
    let until = tokio::time::Instant::now() + Duration::from_secs(24 * 3600);
    watch::channel(Standing::Leads { term, until }).0
}

impl Bench {
    /// The leadership `term`, with a record in which `members` may hold the claim.
    fn start(term: u64, members: &[&str]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let (commands, for_thread) = mpsc::channel(64);
        let (to_write, records) = mpsc::channel(64);
        let (tell, told) = mpsc::channel(64);
        let bench = Self {
            address: socket.local_addr().expect("an address"),
            commands,
            waker: Waker::new().expect("a descriptor"),
            records,
            _told: told,
            standing: leading(term),
            metrics: Metrics::new(),
            revision: 1,
        };
        let grantors = Grantors {
            socket,
            own: Principal::Coordinator(node("control-1")),
            epoch: Epoch {
                incarnation: 1,
                term,
            },
            standing: bench.standing.subscribe(),
            clock: Clock::system(),
            metrics: bench.metrics.leases.clone(),
            waker: bench.waker.clone(),
            commands: for_thread,
            records: to_write,
            told: tell,
        };
        std::thread::spawn(move || grantors.run().expect("the thread runs"));
        bench.wish(members, members);
        let group = Group::exclusive(GroupVersion(1), names(members));
        bench.say(Command::Lead(claim(), Record::new(group, TTL)));
        bench
    }

    fn say(&self, command: Command) {
        self.commands.try_send(command).expect("room");
        self.waker.wake();
    }

    fn wish(&self, enrolled: &[&str], members: &[&str]) {
        let place = |name: &&str| {
            let place = Place {
                leases: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
                enrolled_unix_ms: 1,
            };
            (node(name), place)
        };
        let wanted = Wanted {
            addresses: Vec::new(),
            members: names(members),
            missing: BTreeSet::new(),
            spec: Spec::new(Timing::new(TTL)),
        };
        self.say(Command::Wish(Arc::new(Wishes {
            revision: Revision(self.revision),
            nodes: enrolled.iter().map(place).collect(),
            claims: [(claim(), wanted)].into(),
        })));
    }

    /// Returns when everything that was said is done.
    fn settle(&self) {
        let (reply, done) = oneshot::channel();
        self.say(Command::Look(reply));
        done.blocking_recv().expect("the thread runs");
    }

    /// A member with a fresh session.
    fn member(&self, name: &str, boot: &str, session: u64) -> Scripted {
        let (id, secret) = (hamesh_proto::random::bytes(), hamesh_proto::random::bytes());
        let id = u64::from_be_bytes(id);
        self.say(Command::Key(SessionKey {
            node: node(name),
            boot: boot.to_owned(),
            id,
            secret: Zeroizing::new(secret),
            enrolled_unix_ms: 1,
            revision: Revision(1),
        }));
        self.settle();
        Scripted::new(name, (id, &secret), session, self.address)
    }

    fn counted(&self, result: &str) -> u64 {
        let line = format!("hamesh_coordinator_lease_datagrams_total{{result=\"{result}\"}} ");
        let text = self.metrics.text();
        let count = text.lines().find_map(|it| it.strip_prefix(&line));
        count
            .expect("every result is shown")
            .parse()
            .expect("a number")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.say(Command::Stop);
    }
}

#[test]
fn a_claim_is_acquired_renewed_given_back_and_acquired_by_another() {
    let bench = Bench::start(7, &["a", "b"]);
    let (mut a, mut b) = (
        bench.member("a", "boot-a", 1),
        bench.member("b", "boot-b", 2),
    );
    let grant = a.granted(&Want::Acquire);
    assert_eq!(grant.epoch.term, 7);
    assert_eq!(a.granted(&Want::Renew(grant)), grant);
    let held = b.ask(Want::Acquire).expect("answered").ruling;
    assert_eq!(held, Ruling::Refused(Refusal::HeldBy(NodeName::new("a"))));
    assert_eq!(
        a.ask(Want::GiveBack(grant)).expect("answered").ruling,
        Ruling::Freed(grant)
    );
    let next = b.granted(&Want::Acquire);
    assert!(next > grant);
}

#[test]
fn a_restarted_coordinator_adopts_what_it_is_shown_and_grants_it_to_nobody_else() {
    let shown = GrantId {
        epoch: Epoch {
            incarnation: 1,
            term: 6,
        },
        number: 3,
    };
    let bench = Bench::start(7, &["a", "b"]);
    let (mut a, mut b) = (
        bench.member("a", "boot-a", 1),
        bench.member("b", "boot-b", 2),
    );
    assert_eq!(
        b.ask(Want::Acquire).expect("answered").ruling,
        Ruling::Refused(Refusal::StartingUp)
    );
    let grant = a.granted(&Want::Renew(shown));
    assert_eq!(grant.epoch.term, 7);
    assert_eq!(a.granted(&Want::Renew(grant)), grant);
    let ruling = b.ask(Want::Acquire).expect("answered").ruling;
    assert_eq!(ruling, Ruling::Refused(Refusal::HeldBy(NodeName::new("a"))));
}

#[test]
fn what_was_not_sealed_by_the_sender_now_is_counted_and_not_answered() {
    let bench = Bench::start(7, &["a", "b"]);
    let (mut a, mut b) = (
        bench.member("a", "boot-a", 1),
        bench.member("b", "boot-b", 2),
    );
    let good = a.sealed(Want::Acquire);
    let mut broken = a.sealed(Want::Acquire);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let stranger = Principal::Agent(node("c"));
    let own = Principal::Coordinator(node("control-1"));
    let unknown = Channel::new(1, &[9; 32], &stranger, &own, 1).seal(b"{}");
    let senseless = a.channel.seal(b"senseless");
    // Sealed by b, in a's name.
    let forged = a.request(Want::Acquire);
    let forged = b.channel.seal(&forged.encode());
    for bad in [&b"garbage"[..], &broken, &unknown, &senseless] {
        a.send(bad);
    }
    a.send(&forged);
    a.send(&good);
    assert!(
        matches!(a.hear(), Some(ToMember::Answer(_))),
        "only the good one is answered"
    );
    a.send(&good);
    assert!(a.ask(Want::Acquire).is_some());
    for (result, count) in [
        ("form", 1),
        ("broken", 1),
        ("unknown_key", 1),
        ("not_understood", 1),
        ("other_sender", 1),
        ("replayed", 1),
    ] {
        assert_eq!(bench.counted(result), count, "{result}");
    }
}

#[test]
fn the_key_of_a_removed_node_opens_nothing_from_then_on() {
    let mut bench = Bench::start(7, &["a", "b"]);
    let mut a = bench.member("a", "boot-a", 1);
    let mut b = bench.member("b", "boot-b", 2);
    a.granted(&Want::Acquire);
    bench.revision = 2;
    bench.wish(&["b"], &["b"]);
    bench.settle();
    let known = bench.counted("unknown_key");
    assert_eq!(a.ask(Want::Acquire), None);
    assert!(b.ask(Want::Acquire).is_some());
    assert!(bench.counted("unknown_key") > known);
}

#[test]
fn a_key_is_good_until_the_next_session_of_its_node_is_heard() {
    let bench = Bench::start(7, &["a"]);
    let mut old = bench.member("a", "boot-a", 1);
    let grant = old.granted(&Want::Acquire);
    // The session broke: nothing else happened. Then the agent dialled again.
    let mut new = bench.member("a", "boot-a", 1);
    assert_eq!(old.granted(&Want::Renew(grant)), grant);
    new.number = old.number;
    assert_eq!(new.granted(&Want::Renew(grant)), grant);
    assert_eq!(
        old.ask(Want::Renew(grant)),
        None,
        "the old key is worth nothing now"
    );
}

#[test]
fn another_machine_under_the_same_name_waits_until_the_first_ones_lease_ran_out() {
    let bench = Bench::start(7, &["a"]);
    let mut first = bench.member("a", "boot-1", 1);
    let grant = first.granted(&Want::Acquire);
    let before = Instant::now();
    first.granted(&Want::Renew(grant));
    let mut clone = bench.member("a", "boot-2", 2);
    clone.granted(&Want::Acquire);
    // The first one's lease began after `before`.
    assert!(
        before.elapsed() > TTL,
        "granted within {:?}",
        before.elapsed()
    );
    assert!(bench.counted("waiting") > 0);
    assert_eq!(first.ask(Want::Renew(grant)), None);
}

#[test]
fn a_changed_group_is_persisted_before_members_learn_it() {
    let mut bench = Bench::start(7, &["a"]);
    let mut a = bench.member("a", "boot-a", 1);
    a.granted(&Want::Acquire);
    bench.revision = 2;
    bench.wish(&["a", "b"], &["a", "b"]);
    let (_, record) = bench.records.blocking_recv().expect("a record");
    let change = record.change.clone().expect("a change");
    assert_eq!(
        (change.next.version, &change.next.candidates),
        (GroupVersion(2), &names(&["a", "b"]))
    );
    let answer = a.ask(Want::Acquire).expect("answered");
    assert_eq!(answer.group, None, "not persisted yet");
    bench.say(Command::Persisted(claim(), record));
    let deadline = Instant::now() + GENEROUS;
    while a.ask(Want::Acquire).and_then(|answer| answer.group) != Some(change.next.clone()) {
        assert!(Instant::now() < deadline, "the group is not told");
    }
}

#[test]
fn a_planned_move_is_answered_when_the_other_has_it_and_refused_when_it_cannot() {
    let bench = Bench::start(7, &["a", "b"]);
    let (mut a, mut b) = (
        bench.member("a", "boot-a", 1),
        bench.member("b", "boot-b", 2),
    );
    let grant = a.granted(&Want::Acquire);
    let asked = |to: Option<&str>| {
        let (reply, outcome) = oneshot::channel();
        let to = to.map(NodeName::new);
        bench.say(Command::Move(MoveAsked {
            claim: claim(),
            to,
            reply,
        }));
        outcome
    };
    let unable = asked(Some("b")).blocking_recv().expect("answered");
    assert!(
        matches!(unable, Err(MoveError::Unable { .. })),
        "{unable:?}"
    );
    let stays = asked(Some("a"))
        .blocking_recv()
        .expect("answered")
        .expect("is there");
    assert_eq!(stays.took, Duration::ZERO);

    b.ask(Want::Acquire).expect("answered");
    let outcome = asked(None);
    let deadline = Instant::now() + GENEROUS;
    let mut told = None;
    while told.is_none() {
        assert!(
            Instant::now() < deadline,
            "the holder is not told to give it back"
        );
        let _ = b.ask(Want::Acquire);
        let datagram = a.sealed(Want::Renew(grant));
        a.send(&datagram);
        told = match a.hear() {
            Some(ToMember::Hint(hint)) => match hint.what {
                HintKind::GiveBack(grant, why) => Some((grant, why.to_string())),
                HintKind::Ask | HintKind::Learn(_) => None,
            },
            Some(ToMember::Answer(_) | ToMember::ConsentAsk(_)) | None => None,
        };
    }
    assert_eq!(told, Some((grant, "an operator asked for b".to_owned())));
    a.ask(Want::GiveBack(grant)).expect("answered");
    b.granted(&Want::Acquire);
    let moved = outcome.blocking_recv().expect("answered").expect("moved");
    assert_eq!(moved.to, NodeName::new("b"));
}
