//! Looks out for a leader other than the one this agent talks to.
//!
//! A leader that was lost with its machine closes no connection: HTTP/2 tells after seconds only.
//! Two things tell sooner. The facts of other nodes name the leadership that each of them talks
//! to; and a node whose lease requests stay unanswered asks the other coordinators itself.
//!
//! Guarantees: nothing that is told ends a session unless it names another leadership, and each is
//! followed once. A wrong word costs a connection: the leader proves by its certificate what it is.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::NodeId;
use hamesh_proto::leader::{ASK_AGAIN, ELECTION, Elsewhere};
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::v1;
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::assignment::{self, Coordinator, Refusal};
use crate::claims::Report;
use crate::gossip::PeersView;
use crate::held::Held;

/// How long a coordinator may take to say who leads.
const ANSWER: Duration = Duration::from_secs(1);
/// Before one is asked again when an election would long be over.
const SELDOM: Duration = Duration::from_secs(2);

/// Orders leaderships: a restored site's come after all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    incarnation: u64,
    epoch: u64,
}

impl Term {
    /// Whether it is news to one that follows the other. A leader of an older incarnation may still
    /// grant leases to those that stay with it, so nobody leaves it for hearsay: its agents are to
    /// go on together, when it was shown that it is outdated and ended.
    fn succeeds(self, followed: Self) -> bool {
        let none = followed == Self::default();
        self > followed && (none || self.incarnation == followed.incarnation)
    }
}

/// Who leads, and since which term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Rises with each change of leader.
    pub term: Term,
    /// Where the leader answers.
    pub at: Coordinator,
}

impl TryFrom<v1::Leadership> for Leadership {
    type Error = Refusal;

    fn try_from(wire: v1::Leadership) -> Result<Self, Refusal> {
        let at = assignment::coordinators(wire.at.into_iter().collect())?;
        let nobody = || Refusal::Invalid {
            field: "the leader",
            value: String::new(),
        };
        Ok(Self {
            term: Term {
                incarnation: wire.incarnation,
                epoch: wire.epoch,
            },
            at: at.into_iter().next().ok_or_else(nobody)?,
        })
    }
}

impl From<&Leadership> for v1::Leadership {
    fn from(leadership: &Leadership) -> Self {
        Self {
            at: Some((&leadership.at).into()),
            incarnation: leadership.term.incarnation,
            epoch: leadership.term.epoch,
        }
    }
}

/// What tells of leaders.
#[derive(Clone, Debug)]
pub struct Lookout {
    /// Whom the agent is.
    pub credentials: LiveCredentials,
    /// Which coordinators there are.
    pub held: Held,
    /// What gossip says of the others.
    pub peers: watch::Receiver<Arc<PeersView>>,
    /// Whether coordinators answer for this node's claims.
    pub claims: watch::Receiver<Report>,
    /// The latest term that was followed.
    pub followed: Term,
}

impl Lookout {
    /// Notes that a leadership is known: no word of it or of an earlier one is news.
    pub fn follow(&mut self, term: Term) {
        self.followed = self.followed.max(term);
    }

    /// Waits until there is word of another leader than this one.
    pub async fn another(self, present: NodeId) -> Coordinator {
        let asking = self.clone();
        tokio::select! {
            leadership = self.told() => leadership.at,
            leader = asking.found(present) => leader,
        }
    }

    /// Waits until the facts of others tell of a leadership that was not followed yet.
    pub async fn told(mut self) -> Leadership {
        loop {
            let view = Arc::clone(&self.peers.borrow_and_update());
            let alive = view.values().filter(|peer| peer.alive);
            let facts = alive.filter_map(|peer| peer.facts.as_ref()?.leadership.clone());
            let known = facts.filter_map(|wire| Leadership::try_from(wire).ok());
            let news = known.filter(|leadership| leadership.term.succeeds(self.followed));
            if let Some(newest) = news.max_by_key(|leadership| leadership.term) {
                return newest;
            }
            if self.peers.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Asks the others for as long as no coordinator answers for this node's claims, and waits
    /// until they name another leader.
    async fn found(mut self, present: NodeId) -> Coordinator {
        loop {
            self.until_unanswered(true).await;
            let asked = self.ask_others(&present);
            tokio::select! {
                Some(leader) = asked => return leader,
                // The one that was silent is back.
                () = self.until_unanswered(false) => {}
            }
        }
    }

    /// Waits until requests are unanswered, or answered again.
    async fn until_unanswered(&mut self, wanted: bool) {
        let reached = self.claims.wait_for(|it| it.unanswered == wanted);
        if reached.await.map(drop).is_err() {
            // The agent ends.
            pending().await
        }
    }

    /// The first to answer that another leads ends it.
    fn ask_others(&self, present: &NodeId) -> impl Future<Output = Option<Coordinator>> + use<> {
        let mut asked = JoinSet::new();
        for other in self.held.coordinators() {
            if other.node != *present {
                let channel = channel(other.api, &self.credentials, Expect::Coordinator);
                asked.spawn(ask_on(other, channel, present.clone()));
            }
        }
        async move {
            loop {
                // A panic of ours: one less is asked.
                if let Ok(leader) = asked.join_next().await? {
                    return Some(leader);
                }
            }
        }
    }
}

/// Asks one coordinator until it says that another one leads than it was.
async fn ask_on(at: Coordinator, channel: Channel, present: NodeId) -> Coordinator {
    let mut client = CoordinatorsClient::new(channel);
    let begun = Instant::now();
    loop {
        let answer = timeout(ANSWER, client.leader(v1::LeaderRequest {})).await;
        let leader = match answer {
            Ok(Ok(_)) => Some(at.clone()),
            Ok(Err(status)) => match Elsewhere::of(&status) {
                Some(Elsewhere::At(leader)) => Some(leader.into()),
                Some(Elsewhere::Nowhere) | None => None,
            },
            Err(_) => None,
        };
        if let Some(leader) = leader.filter(|leader| leader.node != present) {
            return leader;
        }
        sleep(if begun.elapsed() < ELECTION {
            ASK_AGAIN
        } else {
            SELDOM
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn term(incarnation: u64, epoch: u64) -> Term {
        Term { incarnation, epoch }
    }

    #[test]
    fn hearsay_of_a_later_term_is_followed_and_of_a_restored_site_is_not() {
        assert!(term(1, 3).succeeds(term(1, 2)));
        assert!(!term(1, 2).succeeds(term(1, 2)));
        assert!(!term(1, 1).succeeds(term(1, 2)));
        assert!(!term(7, 1).succeeds(term(1, 2)));
        assert!(term(7, 1).succeeds(Term::default()));
    }
}
