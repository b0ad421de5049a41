//! Has done what an operator asked for, and waits until it is.

use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_proto::v1::DatabaseEnd;
use hamesh_proto::v1::database_question::Kind;
use tokio::time::{Instant, sleep};

use super::Databases;
use super::picture::{Seen, leads};
use super::plan::Switchover;

/// Agents wait for Patroni a little less long than they are waited for.
const SWITCHOVER: Duration = Duration::from_secs(45);
const RESTART: Duration = Duration::from_secs(130);
const REINIT: Duration = Duration::from_secs(30);
/// Between two looks at who leads.
const EVERY: Duration = Duration::from_millis(200);
/// How long who is to lead may take to take writes once Patroni has told how the request ended.
const SETTLE: Duration = Duration::from_secs(15);

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Nothing was changed.
    #[error("{node} was not made to: {why}; nothing was changed")]
    Refused {
        /// Who was asked.
        node: NodeId,
        /// In Patroni's words.
        why: String,
    },
    /// It was asked for.
    #[error(
        "{node} was asked, and it is not known what came of it: {why}; `coordctl db status` shows \
         how the members are"
    )]
    Unknown {
        /// Who was asked.
        node: NodeId,
        /// In Patroni's words.
        why: String,
    },
}

/// Who leads now, and how long that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Who leads.
    pub leader: String,
    /// Since it was asked for.
    pub took: Duration,
}

/// Has the leader hand over, and waits until another one takes writes.
///
/// # Errors
/// [`ActError`].
pub async fn switchover(databases: &Databases, plan: &Switchover) -> Result<Done, ActError> {
    let [from, to] = [&plan.from, &plan.to].map(|name| {
        let name = name.parse::<NodeId>();
        name.expect("a planned member is a node of the site")
    });
    let wanted = Kind::Switchover(v1::DatabaseSwitchover {
        leader: plan.from.clone(),
        candidate: plan.to.clone(),
    });
    let begun = Instant::now();
    let asked = databases.outcome(&from, wanted, SWITCHOVER);
    tokio::pin!(asked);
    let mut ended: Option<(Instant, v1::DatabaseOutcome)> = None;
    loop {
        tokio::select! {
            biased;
            outcome = &mut asked, if ended.is_none() => {
                if outcome.end() == DatabaseEnd::Refused {
                    let why = outcome.text;
                    return Err(ActError::Refused { node: from.clone(), why });
                }
                ended = Some((Instant::now(), outcome));
            }
            () = sleep(EVERY) => {}
        }
        if let Some(leader) = taken_over(databases, &from, &to).await {
            let took = begun.elapsed();
            return Ok(Done { leader, took });
        }
        if let Some((at, outcome)) = &ended
            && at.elapsed() > SETTLE
        {
            let why = outcome.text.clone();
            return Err(ActError::Unknown {
                node: from.clone(),
                why,
            });
        }
    }
}

/// Has PostgreSQL restarted; gives Patroni's words.
///
/// # Errors
/// [`ActError`].
pub async fn restart(databases: &Databases, node: &NodeId) -> Result<String, ActError> {
    let wanted = Kind::Restart(v1::DatabaseRestart {});
    judged(node, databases.outcome(node, wanted, RESTART).await)
}

/// Has the data thrown away and copied anew; gives Patroni's words.
///
/// # Errors
/// [`ActError`].
pub async fn reinit(databases: &Databases, node: &NodeId) -> Result<String, ActError> {
    let wanted = Kind::Reinit(v1::DatabaseReinit {});
    judged(node, databases.outcome(node, wanted, REINIT).await)
}

fn judged(node: &NodeId, outcome: v1::DatabaseOutcome) -> Result<String, ActError> {
    let (node, end, why) = (node.clone(), outcome.end(), outcome.text);
    match end {
        DatabaseEnd::Done => Ok(why),
        DatabaseEnd::Refused => Err(ActError::Refused { node, why }),
        DatabaseEnd::Unknown | DatabaseEnd::Unspecified => Err(ActError::Unknown { node, why }),
    }
}

/// Who leads in place of `from`, as the candidate and its Patroni see it: it takes writes, or
/// another one was chosen in its place.
async fn taken_over(databases: &Databases, from: &NodeId, to: &NodeId) -> Option<String> {
    let seen = databases.look([to.clone()]).await.remove(to)?;
    let Seen::Sight(sight) = seen else {
        return None;
    };
    let leader = leads(sight.cluster.as_ref()?)?;
    let writes = sight.own.as_ref().is_some_and(|own| own.primary);
    let another = leader != from.as_str() && leader != to.as_str();
    (another || leader == to.as_str() && writes).then(|| leader.to_owned())
}
