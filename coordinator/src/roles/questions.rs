//! Asks nodes what they would have to do, and waits for their answers.
//!
//! Guarantees: a question changes nothing on the node; one that does not answer in time is told of
//! as such; nothing is kept of who hung up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::{hex, random, v1};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// How long nodes may think: looking at a machine takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The questions that stand for each node, by their names.
pub type Asked = BTreeMap<NodeId, BTreeMap<String, Arc<Question>>>;

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
pub struct Questions {
    asked: watch::Sender<Arc<Asked>>,
    waiting: Mutex<BTreeMap<String, (NodeId, oneshot::Sender<v1::RolePlan>)>>,
}

impl Questions {
    /// The questions that stand, as they change.
    pub fn asked(&self) -> watch::Receiver<Arc<Asked>> {
        self.asked.subscribe()
    }

    /// What each of these nodes would have to do for its order. A question gets its name here.
    pub async fn ask(
        &self,
        questions: BTreeMap<NodeId, Question>,
        patience: Duration,
    ) -> BTreeMap<NodeId, v1::RolePlan> {
        let until = Instant::now() + patience;
        let mut answers = Vec::new();
        for (node, question) in questions {
            let id = hex::encode(&random::bytes::<8>());
            let (sender, receiver) = oneshot::channel();
            self.waiting().insert(id.clone(), (node.clone(), sender));
            let question = Arc::new(question);
            self.asked.send_modify(|asked| {
                let of_node = Arc::make_mut(asked).entry(node.clone()).or_default();
                of_node.insert(id.clone(), question);
            });
            answers.push((node, Standing { of: self, id }, receiver));
        }
        let mut plans = BTreeMap::new();
        for (node, standing, receiver) in answers {
            let plan = match timeout_at(until, receiver).await {
                Ok(Ok(plan)) => plan,
                Ok(Err(_)) => problem("its session ended before it had answered"),
                Err(_) => problem(&format!(
                    "it did not say what it would do within {} s; look at `systemctl status \
                     hamesh-apply` on it",
                    patience.as_secs()
                )),
            };
            drop(standing);
            plans.insert(node, plan);
        }
        plans
    }

    /// A node answers; what nobody asked it is dropped.
    pub fn answered(&self, node: &NodeId, plan: v1::RolePlan) {
        let mut waiting = self.waiting();
        if waiting
            .get(&plan.id)
            .is_some_and(|(asked, _)| asked == node)
            && let Some((_, sender)) = waiting.remove(&plan.id)
        {
            let plan = v1::RolePlan {
                steps: super::steps(plan.steps),
                unknown: super::lines(plan.unknown),
                problem: super::clean(plan.problem),
                as_is: super::lines(plan.as_is),
                lost: super::lines(plan.lost),
                in_the_way: super::lines(plan.in_the_way),
                id: plan.id,
            };
            // An error: who asked is gone.
            let _ = sender.send(plan);
        }
    }

    /// A node's session is gone: it answers nothing any more.
    pub fn gone(&self, node: &NodeId) {
        self.waiting().retain(|_, (asked, _)| asked != node);
    }

    fn waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<String, (NodeId, oneshot::Sender<v1::RolePlan>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that stands until this is dropped.
struct Standing<'a> {
    of: &'a Questions,
    id: String,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.of.waiting().remove(&self.id);
        self.of.asked.send_if_modified(|asked| {
            let stood = asked.values().any(|of_node| of_node.contains_key(&self.id));
            if stood {
                let asked = Arc::make_mut(asked);
                asked
                    .values_mut()
                    .for_each(|of_node| drop(of_node.remove(&self.id)));
                asked.retain(|_, of_node| !of_node.is_empty());
            }
            stood
        });
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
    async fn each_node_is_asked_once_and_only_its_own_answer_counts() {
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
        let id = id.expect("a question");
        let plan = v1::RolePlan {
            id,
            problem: "a\u{1b}".to_owned(),
            ..v1::RolePlan::default()
        };
        questions.answered(&b, plan.clone());
        questions.answered(&a, plan);
        questions.gone(&b);
        let plans = asking.await.expect("answers");
        assert_eq!(plans[&a].problem, "a ");
        assert!(plans[&b].problem.contains("session ended"));
        assert!(questions.asked().borrow().is_empty());
    }

    #[tokio::test]
    async fn who_says_nothing_is_told_of() {
        let questions = Questions::default();
        let node: NodeId = "a".parse().expect("a name");
        let orders = BTreeMap::from([(node.clone(), Default::default())]);
        let plans = questions.ask(orders, Duration::ZERO).await;
        assert!(plans[&node].problem.contains("within 0 s"));
    }
}
