//! Asks nodes' agents over the sessions that stand, and waits for their answers.
//!
//! Guarantees: only the node that was asked answers a question; one that does not in time is told
//! of as such; nothing is kept of who hung up.
//!
//! Absent: what is asked, and whether it may be asked twice. The sessions send what stands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::{hex, random};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

/// The questions that stand for each node, by their names.
pub type Asked<Q> = BTreeMap<NodeId, BTreeMap<String, Arc<Q>>>;

/// Who is waited for, and where the answer goes.
type Waiting<A> = BTreeMap<String, (NodeId, oneshot::Sender<A>)>;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// The node's session ended.
    Gone,
    /// It said nothing for so long.
    Late(Duration),
}

/// Between the operators' calls and the sessions.
#[derive(Debug)]
pub struct Questions<Q, A> {
    asked: watch::Sender<Arc<Asked<Q>>>,
    waiting: Mutex<Waiting<A>>,
}

impl<Q, A> Default for Questions<Q, A> {
    fn default() -> Self {
        Self {
            asked: watch::Sender::new(Arc::default()),
            waiting: Mutex::default(),
        }
    }
}

impl<Q, A> Questions<Q, A> {
    /// The questions that stand, as they change.
    pub fn asked(&self) -> watch::Receiver<Arc<Asked<Q>>> {
        self.asked.subscribe()
    }

    /// What each of these nodes answers. A question gets its name here.
    pub async fn ask(
        &self,
        questions: BTreeMap<NodeId, Q>,
        patience: Duration,
    ) -> BTreeMap<NodeId, Result<A, Unanswered>> {
        let until = Instant::now() + patience;
        let mut waited = Vec::new();
        for (node, question) in questions {
            let id = hex::encode(&random::bytes::<8>());
            let (sender, receiver) = oneshot::channel();
            self.waiting().insert(id.clone(), (node.clone(), sender));
            let question = Arc::new(question);
            self.asked.send_modify(|asked| {
                let of_node = Arc::make_mut(asked).entry(node.clone()).or_default();
                of_node.insert(id.clone(), question);
            });
            waited.push((node, Standing { of: self, id }, receiver));
        }
        let mut answers = BTreeMap::new();
        for (node, standing, receiver) in waited {
            let answer = match timeout_at(until, receiver).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(Unanswered::Gone),
                Err(_) => Err(Unanswered::Late(patience)),
            };
            drop(standing);
            answers.insert(node, answer);
        }
        answers
    }

    /// A node answers the question of this name; what nobody asked it is dropped.
    pub fn answered(&self, node: &NodeId, id: &str, answer: A) {
        let mut waiting = self.waiting();
        if waiting.get(id).is_some_and(|(asked, _)| asked == node)
            && let Some((_, sender)) = waiting.remove(id)
        {
            // An error: who asked is gone.
            let _ = sender.send(answer);
        }
    }

    /// A node's session is gone: it answers nothing any more.
    pub fn gone(&self, node: &NodeId) {
        self.waiting().retain(|_, (asked, _)| asked != node);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<A>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that stands until this is dropped.
struct Standing<'a, Q, A> {
    of: &'a Questions<Q, A>,
    id: String,
}

impl<Q, A> Drop for Standing<'_, Q, A> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn name(text: &str) -> NodeId {
        text.parse().expect("a name")
    }

    #[tokio::test]
    async fn each_node_is_asked_once_and_only_its_own_answer_counts() {
        let questions = Arc::new(Questions::<&str, &str>::default());
        let [a, b] = ["a", "b"].map(name);
        let both = BTreeMap::from([(a.clone(), "well?"), (b.clone(), "well?")]);
        let asking = tokio::spawn({
            let questions = Arc::clone(&questions);
            async move { questions.ask(both, PATIENCE).await }
        });
        let mut asked = questions.asked();
        let both = asked.wait_for(|asked| asked.len() == 2).await;
        let id = both.expect("asked")[&a].keys().next().cloned();
        let id = id.expect("a question");
        questions.answered(&b, &id, "b's");
        questions.answered(&a, &id, "a's");
        questions.gone(&b);
        let answers = asking.await.expect("answers");
        assert_eq!(answers[&a], Ok("a's"));
        assert_eq!(answers[&b], Err(Unanswered::Gone));
        assert!(questions.asked().borrow().is_empty());
    }

    #[tokio::test]
    async fn who_says_nothing_is_told_of() {
        let questions = Questions::<(), ()>::default();
        let asked = BTreeMap::from([(name("a"), ())]);
        let answers = questions.ask(asked, Duration::ZERO).await;
        assert_eq!(answers[&name("a")], Err(Unanswered::Late(Duration::ZERO)));
    }
}
