//! A member of `vip/edge` that says what a test has it say, or plays its part by itself.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::message::{
    Answer, Health, HintKind, Request, Ruling, ToCoordinator, ToMember, Want,
};
use hamesh_proto::leases::{Channel, Content};
use hamesh_proto::spiffe::Principal;

use super::{claim, node};
use crate::testing::GENEROUS;

/// How long one try may take; what is waited for is tried again.
const TRY: Duration = Duration::from_millis(500);
/// How often a member that plays its part asks.
const EVERY: Duration = Duration::from_millis(100);

pub struct Scripted {
    pub name: NodeName,
    socket: UdpSocket,
    pub channel: Channel,
    session: Session,
    pub number: u64,
    group: GroupVersion,
    /// What it holds under, when it plays its part.
    pub grant: Option<GrantId>,
}

/// A member that plays its part until it is stopped.
pub struct Player {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Scripted>,
}

impl Scripted {
    pub fn new(
        name: &str,
        (id, secret): (u64, &[u8; 32]),
        session: u64,
        coordinator: SocketAddr,
    ) -> Self {
        let own = Principal::Agent(node(name));
        let other = Principal::Coordinator(node("control-1"));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(TRY)).expect("a timeout");
        socket.connect(coordinator).expect("an address");
        Self {
            name: NodeName::new(name),
            socket,
            channel: Channel::new(id, secret, &own, &other, 1),
            session: Session(session),
            number: 0,
            group: GroupVersion(1),
            grant: None,
        }
    }

    pub fn request(&mut self, want: Want) -> Content {
        self.number += 1;
        let request = Request {
            from: self.name.clone(),
            id: RequestId {
                session: self.session,
                number: self.number,
            },
            seen: Epoch::default(),
            group: self.group,
            health: Health::Healthy,
            want,
        };
        Content::ToCoordinator(vec![(claim(), ToCoordinator::Request(request))])
    }

    pub fn sealed(&mut self, want: Want) -> Vec<u8> {
        let content = self.request(want);
        self.channel.seal(&content.encode())
    }

    pub fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).expect("sent");
    }

    /// The next message, if one comes in time. A group that it brings is learnt.
    pub fn hear(&mut self) -> Option<ToMember> {
        let mut buffer = [0; 9000];
        let length = self.socket.recv(&mut buffer).ok()?;
        let opened = self.channel.open(&buffer[..length]);
        let opened = opened.expect("sealed for this member");
        let Content::ToMember(mut messages) = Content::decode(&opened).expect("understood") else {
            panic!("a coordinator speaks to members");
        };
        let (_, message) = messages.pop()?;
        if let ToMember::Answer(Answer {
            group: Some(group), ..
        }) = &message
        {
            self.group = group.version;
        }
        Some(message)
    }

    /// The answer to this request, whatever else comes before it.
    pub fn ask(&mut self, want: Want) -> Option<Answer> {
        let datagram = self.sealed(want);
        self.send(&datagram);
        loop {
            if let ToMember::Answer(answer) = self.hear()?
                && answer.id.number == self.number
            {
                return Some(answer);
            }
        }
    }

    /// Asks until it is granted.
    pub fn granted(&mut self, want: &Want) -> GrantId {
        let deadline = Instant::now() + GENEROUS;
        loop {
            let answer = self.ask(want.clone());
            if let Some(Ruling::Granted { grant, .. }) = answer.as_ref().map(|it| &it.ruling) {
                return *grant;
            }
            assert!(Instant::now() < deadline, "the last answer: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Plays its part: asks for the claim, renews it, gives it back when that is wanted.
    pub fn play(mut self) -> Player {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        self.socket
            .set_read_timeout(Some(EVERY))
            .expect("a timeout");
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                self.turn();
                std::thread::sleep(EVERY.saturating_sub(began.elapsed()));
            }
            self
        });
        Player { stop, thread }
    }

    fn turn(&mut self) {
        let want = self.grant.map_or(Want::Acquire, Want::Renew);
        let datagram = self.sealed(want);
        self.send(&datagram);
        let deadline = Instant::now() + EVERY;
        while Instant::now() < deadline {
            let Some(message) = self.hear() else { return };
            let wanted_back = match message {
                ToMember::Answer(answer) => match answer.ruling {
                    Ruling::Granted { grant, yields, .. } => {
                        self.grant = Some(grant);
                        yields.map(|_| grant)
                    }
                    Ruling::Freed(_) | Ruling::Refused(_) => {
                        self.grant = None;
                        None
                    }
                    Ruling::Noted => None,
                },
                ToMember::Hint(hint) => match hint.what {
                    HintKind::GiveBack(grant, _) => Some(grant),
                    HintKind::Ask | HintKind::Learn(_) => return,
                },
                ToMember::ConsentAsk(_) => None,
            };
            if let Some(grant) = wanted_back.filter(|grant| self.grant == Some(*grant)) {
                let datagram = self.sealed(Want::GiveBack(grant));
                self.send(&datagram);
            }
        }
    }
}

impl Player {
    /// Stops playing; what it held it goes on holding.
    pub fn stop(self) -> Scripted {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it plays by the rules")
    }
}
