//! The databases: how their cluster is, and what operators have done with it.
//!
//! ```text
//! operator --> plan (pure) --> act --question--> session --> agent --> Patroni
//!                ^                                                       |
//!                +---- picture (pure) <---- what each node's agent saw <-+
//! ```
//! Guarantees: nothing is kept between two looks; Patroni alone decides who leads, this only asks
//! it; one change at a time; what changes something is sent to an agent once, and what came of it
//! is told as unknown when it is not known.
//!
//! Absent: acting by itself. What is done without an operator, Patroni does.
//!
//! | module | does |
//! |---|---|
//! | [`picture`] | pure: one picture of what the nodes' agents saw |
//! | [`plan`] | pure: what may be done, and why not |
//! | [`act`] | has it done, and waits for it |

pub mod act;
pub mod picture;
pub mod plan;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_proto::v1::database_answer::Kind as Answer;
use hamesh_proto::v1::database_question::Kind;
use hamesh_roles::Role;
use hamesh_roles::site::Durability;
use tokio::sync::Mutex;

use crate::core::Core;
use crate::harmless::clipped;
use crate::questions::{Questions, Unanswered};

use picture::Seen;

/// How long a look may take: longer than agents wait for Patroni.
const LOOK: Duration = Duration::from_secs(8);
/// The longest text that is kept of what an agent says.
const LINE: usize = 400;
/// Members of the cluster that an agent may tell of.
const MEMBERS: usize = 64;

/// What an agent is asked.
#[derive(Debug)]
pub struct Ask {
    kind: Kind,
    taken: AtomicBool,
}

/// Between the operators' calls and the sessions.
#[derive(Debug, Default)]
pub struct Databases {
    /// What agents are asked.
    pub questions: Questions<Ask, Answer>,
    /// Held by the change that is under way.
    pub acting: Mutex<()>,
}

impl Ask {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            taken: AtomicBool::new(false),
        }
    }

    /// The question, for an agent that has not been sent it on this session. What changes
    /// something is given out once: a session that takes another's place does not send it again.
    pub fn take(&self) -> Option<Kind> {
        let taken = self.taken.swap(true, Ordering::Relaxed);
        match &self.kind {
            Kind::Look(_) => Some(self.kind.clone()),
            Kind::Switchover(_) | Kind::Restart(_) | Kind::Reinit(_) if taken => None,
            Kind::Switchover(_) | Kind::Restart(_) | Kind::Reinit(_) => Some(self.kind.clone()),
        }
    }

    /// What is answered in the place of an agent that does not know such questions.
    pub fn too_old(&self) -> Answer {
        let why = "its agent is too old for that: upgrade hamesh on it".to_owned();
        match self.kind {
            Kind::Look(_) => Answer::Sight(v1::DatabaseSight {
                problem: why,
                ..v1::DatabaseSight::default()
            }),
            Kind::Switchover(_) | Kind::Restart(_) | Kind::Reinit(_) => {
                Answer::Outcome(v1::DatabaseOutcome {
                    end: v1::DatabaseEnd::Refused.into(),
                    text: why,
                })
            }
        }
    }
}

impl Databases {
    /// An agent answers. It may say anything: what is kept is bounded, and harmless on a terminal.
    pub fn answered(&self, node: &NodeId, answer: v1::DatabaseAnswer) {
        if let Some(kind) = answer.kind {
            self.questions.answered(node, &answer.id, bounded(kind));
        }
    }

    /// A node's session is gone: it answers nothing any more.
    pub fn gone(&self, node: &NodeId) {
        self.questions.gone(node);
    }

    /// What each of these nodes sees now.
    async fn look(&self, nodes: impl IntoIterator<Item = NodeId>) -> BTreeMap<NodeId, Seen> {
        let look = |node| (node, Ask::new(Kind::Look(v1::DatabaseLook {})));
        let asked = nodes.into_iter().map(look).collect();
        let answers = self.questions.ask(asked, LOOK).await.into_iter();
        answers.map(|(node, answer)| (node, seen(answer))).collect()
    }

    /// What came of a question that changes something.
    async fn outcome(&self, node: &NodeId, kind: Kind, patience: Duration) -> v1::DatabaseOutcome {
        let asked = BTreeMap::from([(node.clone(), Ask::new(kind))]);
        let mut answers = self.questions.ask(asked, patience).await;
        match answers.remove(node) {
            Some(Ok(Answer::Outcome(outcome))) => outcome,
            Some(Ok(Answer::Sight(_))) | None => unknown("its agent answered something else"),
            Some(Err(unanswered)) => unknown(&why(unanswered)),
        }
    }
}

/// How the cluster is, as the agents of all its nodes see it now.
pub async fn status(core: &Core) -> v1::DatabaseStatus {
    let world = core.world();
    let site = &world.desired.site;
    let nodes = site.with_role(Role::Database).cloned();
    let (here, away): (Vec<_>, Vec<_>) = nodes.partition(|node| core.sessions.is_live(node));
    let mut seen = core.databases.look(here).await;
    let nothing = || Seen::Nothing("its agent has no session with the coordinator".to_owned());
    seen.extend(away.into_iter().map(|node| (node, nothing())));
    let durability = site.database.as_ref().map(|it| it.durability);
    picture::of(&seen, durability == Some(Durability::ZeroLoss))
}

fn seen(answer: Result<Answer, Unanswered>) -> Seen {
    match answer {
        Ok(Answer::Sight(sight)) => Seen::Sight(sight),
        Ok(Answer::Outcome(outcome)) => Seen::Nothing(outcome.text),
        Err(unanswered) => Seen::Nothing(why(unanswered)),
    }
}

fn why(unanswered: Unanswered) -> String {
    match unanswered {
        Unanswered::Gone => "its agent's session ended before it had answered".to_owned(),
        Unanswered::Late(patience) => {
            format!("its agent did not answer within {} s", patience.as_secs())
        }
    }
}

fn unknown(text: &str) -> v1::DatabaseOutcome {
    v1::DatabaseOutcome {
        end: v1::DatabaseEnd::Unknown.into(),
        text: text.to_owned(),
    }
}

fn bounded(answer: Answer) -> Answer {
    let clean = |text: String| clipped(&text, LINE);
    match answer {
        Answer::Outcome(outcome) => Answer::Outcome(v1::DatabaseOutcome {
            text: clean(outcome.text),
            ..outcome
        }),
        Answer::Sight(sight) => Answer::Sight(v1::DatabaseSight {
            own: sight.own.map(|own| v1::PatroniSelf {
                state: clean(own.state),
                started: clean(own.started),
                ..own
            }),
            cluster: sight.cluster.map(|cluster| v1::PatroniCluster {
                scheduled_switchover: clean(cluster.scheduled_switchover),
                members: cluster
                    .members
                    .into_iter()
                    .take(MEMBERS)
                    .map(|member| v1::PatroniMember {
                        name: clean(member.name),
                        state: clean(member.state),
                        ..member
                    })
                    .collect(),
                ..cluster
            }),
            problem: clean(sight.problem),
            etcd_problem: clean(sight.etcd_problem),
            ..sight
        }),
    }
}

#[cfg(test)]
mod tests;
