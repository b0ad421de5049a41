//! Asks nodes what they would have to do.
//!
//! Guarantees: a question changes nothing on the node; what a node says is bounded, and harmless
//! on a terminal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tokio::sync::watch;

use crate::questions::{self, Unanswered};

/// How long nodes may think: looking at a machine takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The questions that stand for each node, by their names.
pub type Asked = questions::Asked<Question>;

/// What a node would have to do.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// To have what this names.
    pub order: v1::RoleOrder,
    /// The addresses that what served before still holds, on this node or another of its role.
    pub outside: Vec<String>,
}

/// Between the operators' calls and the sessions.
#[derive(Debug, Default)]
pub struct Questions(questions::Questions<Question, v1::RolePlan>);

impl Questions {
    /// The questions that stand, as they change.
    pub fn asked(&self) -> watch::Receiver<Arc<Asked>> {
        self.0.asked()
    }

    /// What each of these nodes would have to do for its order.
    pub async fn ask(
        &self,
        questions: BTreeMap<NodeId, Question>,
        patience: Duration,
    ) -> BTreeMap<NodeId, v1::RolePlan> {
        let answers = self.0.ask(questions, patience).await;
        let plan = |answer: Result<v1::RolePlan, Unanswered>| match answer {
            Ok(plan) => plan,
            Err(Unanswered::Gone) => problem("its session ended before it had answered"),
            Err(Unanswered::Late(patience)) => problem(&format!(
                "it did not say what it would do within {} s; look at `systemctl status \
                 hamesh-apply` on it",
                patience.as_secs()
            )),
        };
        let answers = answers.into_iter();
        answers.map(|(node, answer)| (node, plan(answer))).collect()
    }

    /// A node answers; what nobody asked it is dropped.
    pub fn answered(&self, node: &NodeId, plan: v1::RolePlan) {
        let plan = v1::RolePlan {
            steps: super::steps(plan.steps),
            unknown: super::lines(plan.unknown),
            problem: super::clean(plan.problem),
            as_is: super::lines(plan.as_is),
            lost: super::lines(plan.lost),
            in_the_way: super::lines(plan.in_the_way),
            id: plan.id,
        };
        let id = plan.id.clone();
        self.0.answered(node, &id, plan);
    }

    /// A node's session is gone: it answers nothing any more.
    pub fn gone(&self, node: &NodeId) {
        self.0.gone(node);
    }
}

/// An answer in place of a node's.
pub fn problem(text: &str) -> v1::RolePlan {
    v1::RolePlan {
        problem: text.to_owned(),
        ..v1::RolePlan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_says_nothing_is_told_of_and_what_is_said_is_harmless() {
        let questions = Arc::new(Questions::default());
        let [a, b]: [NodeId; 2] = ["a", "b"].map(|name| name.parse().expect("a name"));
        let orders = BTreeMap::from([a.clone(), b.clone()].map(|node| (node, Default::default())));
        let asking = tokio::spawn({
            let questions = Arc::clone(&questions);
            async move { questions.ask(orders, PATIENCE).await }
        });
        let mut asked = questions.asked();
        let both = asked.wait_for(|asked| asked.len() == 2).await;
        let id = both.expect("asked")[&a].keys().next().cloned();
        questions.answered(
            &a,
            v1::RolePlan {
                id: id.expect("a question"),
                problem: "a\u{1b}".to_owned(),
                ..v1::RolePlan::default()
            },
        );
        questions.gone(&b);
        let plans = asking.await.expect("answers");
        assert_eq!(plans[&a].problem, "a ");
        assert!(plans[&b].problem.contains("session ended"));
        let nothing = BTreeMap::from([(a.clone(), Question::default())]);
        let plans = questions.ask(nothing, Duration::ZERO).await;
        assert!(plans[&a].problem.contains("within 0 s"));
    }
}
