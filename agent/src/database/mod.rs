//! What runs on the node of a database, asked for a coordinator: Patroni by its REST API, etcd by
//! its page on its health.
//!
//! ```text
//! session --question--> desk --HTTPS, as this node--> Patroni, etcd on this node
//!    ^--------answer------+
//! ```
//! Guarantees: a node without the role asks nobody; every question is answered, if only with why
//! it was not asked; what was asked for and is not known to be done or refused is told as unknown;
//! no answer of Patroni's is trusted to be short, or to come.
//!
//! Absent: judging whether a change is wise, and doing it again. The coordinator judges, Patroni
//! does, and whoever asked looks again.
//!
//! | module | does |
//! |---|---|
//! | [`client`] | one question over HTTPS, bounded |
//! | [`patroni`], [`etcd`] | read the answers (pure) |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1::database_answer::Kind as Answer;
use hamesh_proto::v1::database_question::Kind as Question;
use hamesh_proto::v1::{self, DatabaseEnd, EtcdHealth};
use hamesh_roles::Role;
use hamesh_roles::render::PATRONI_PORT;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::assignment::Assignment;
use crate::held::Held;

pub mod client;
pub mod etcd;
pub mod patroni;

use client::{Ask, AskError};

/// Questions that wait, answers that wait for the session, and what is asked at one time: a few
/// looks of operators beside one change.
const AT_ONCE: usize = 8;
/// Where etcd answers its clients; Patroni asks it there, too.
const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);

/// How long a look may take: Patroni asks PostgreSQL first, etcd its others.
const LOOK: Duration = Duration::from_secs(5);
/// Patroni itself gives up looking for a new leader after 20 looks, a second apart.
const SWITCHOVER: Duration = Duration::from_secs(40);
/// A restart begins with a checkpoint, and ends when PostgreSQL has recovered.
const RESTART: Duration = Duration::from_secs(120);
/// A copy only begins.
const REINIT: Duration = Duration::from_secs(20);

/// What the session uses.
#[derive(Debug)]
pub struct Databases {
    questions: mpsc::Sender<v1::DatabaseQuestion>,
    answers: mpsc::Receiver<v1::DatabaseAnswer>,
}

/// What asks.
#[derive(Debug)]
pub struct Desk {
    node: Node,
    questions: mpsc::Receiver<v1::DatabaseQuestion>,
    answers: mpsc::Sender<v1::DatabaseAnswer>,
}

/// The node, as far as this is about it.
#[derive(Clone, Debug)]
struct Node {
    credentials: LiveCredentials,
    assignment: watch::Receiver<Option<Arc<Assignment>>>,
}

/// Begins to ask, as one of these tasks.
pub fn start(tasks: &mut JoinSet<()>, credentials: &LiveCredentials, held: &Held) -> Databases {
    let (desk, databases) = desk(credentials.clone(), held.assignment());
    tasks.spawn(desk.run());
    databases
}

/// Both ends.
pub fn desk(
    credentials: LiveCredentials,
    assignment: watch::Receiver<Option<Arc<Assignment>>>,
) -> (Desk, Databases) {
    let (questions_tx, questions) = mpsc::channel(AT_ONCE);
    let (answers_tx, answers) = mpsc::channel(AT_ONCE);
    let node = Node {
        credentials,
        assignment,
    };
    let desk = Desk {
        node,
        questions,
        answers: answers_tx,
    };
    let databases = Databases {
        questions: questions_tx,
        answers,
    };
    (desk, databases)
}

impl Databases {
    /// Asks. `Some` is why that is not asked.
    pub fn ask(&self, question: v1::DatabaseQuestion) -> Option<v1::DatabaseAnswer> {
        let refused = self.questions.try_send(question).err()?;
        let why = "too many questions wait for an answer on this node; try again".to_owned();
        Some(unasked(refused.into_inner(), why))
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Option<v1::DatabaseAnswer> {
        self.answers.recv().await
    }
}

impl Desk {
    /// Asks what it is asked, side by side, until the task is dropped.
    pub async fn run(mut self) {
        let mut asked = JoinSet::new();
        loop {
            tokio::select! {
                Some(question) = self.questions.recv(), if asked.len() < AT_ONCE => {
                    asked.spawn(self.node.clone().answer(question, self.answers.clone()));
                }
                Some(_) = asked.join_next() => {}
                else => return,
            }
        }
    }
}

impl Node {
    async fn answer(
        self,
        question: v1::DatabaseQuestion,
        answers: mpsc::Sender<v1::DatabaseAnswer>,
    ) {
        let answer = match self.address() {
            Ok(address) => self.ask(address, question).await,
            Err(why) => unasked(question, why),
        };
        // Without a session nobody waits for it: one that finds no place is dropped.
        if let Err(error) = answers.try_send(answer) {
            tracing::debug!(%error, "nobody takes an answer about databases: {error}");
        }
    }

    /// Where the databases of this node answer, if it has any.
    fn address(&self) -> Result<IpAddr, String> {
        let assignment = self.assignment.borrow().clone();
        let assignment = assignment.ok_or("its agent has no assignment yet")?;
        if assignment.role.as_deref() != Some(Role::Database.name()) {
            return Err("its agent does not know of the role `database`".to_owned());
        }
        let gossip = assignment.own_gossip();
        gossip
            .map(|address| address.ip())
            .ok_or_else(|| "its agent knows no address of its own".to_owned())
    }

    async fn ask(&self, address: IpAddr, question: v1::DatabaseQuestion) -> v1::DatabaseAnswer {
        let patroni = SocketAddr::new(address, PATRONI_PORT);
        let kind = match question.kind {
            Some(Question::Look(_)) => Answer::Sight(self.look(patroni, ETCD).await),
            Some(Question::Switchover(to)) => {
                tracing::info!(
                    to = to.candidate,
                    "a coordinator has the database hand over"
                );
                let terms = json!({"leader": to.leader, "candidate": to.candidate});
                let ask = Ask::Post("/switchover", &terms);
                Answer::Outcome(self.change(patroni, ask, SWITCHOVER).await)
            }
            Some(Question::Restart(_)) => {
                tracing::info!("a coordinator has PostgreSQL restarted");
                let ask = Ask::Post("/restart", &json!({}));
                Answer::Outcome(self.change(patroni, ask, RESTART).await)
            }
            Some(Question::Reinit(_)) => {
                tracing::info!("a coordinator has the data of this replica copied anew");
                let ask = Ask::Post("/reinitialize", &json!({"force": true}));
                Answer::Outcome(self.change(patroni, ask, REINIT).await)
            }
            None => Answer::Outcome(refused(
                "its agent is too old for that; upgrade hamesh on it".to_owned(),
            )),
        };
        v1::DatabaseAnswer {
            id: question.id,
            kind: Some(kind),
        }
    }

    async fn look(&self, patroni: SocketAddr, etcd: SocketAddr) -> v1::DatabaseSight {
        let get = |server, path| client::ask(server, &self.credentials, Ask::Get(path), LOOK);
        let (own, cluster, health) = tokio::join!(
            get(patroni, "/patroni"),
            get(patroni, "/cluster"),
            get(etcd, "/health")
        );
        let own = read("Patroni", own, patroni::own);
        let cluster = read("Patroni", cluster, patroni::cluster);
        let problem = own.as_ref().err().or(cluster.as_ref().err());
        let problem = problem.cloned().unwrap_or_default();
        let (etcd, etcd_problem) = match read("etcd", health, etcd::health) {
            Ok(()) => (EtcdHealth::Good, String::new()),
            Err(why) => (EtcdHealth::Bad, why),
        };
        v1::DatabaseSight {
            own: own.ok(),
            cluster: cluster.ok(),
            problem,
            etcd: etcd.into(),
            etcd_problem,
        }
    }

    async fn change(
        &self,
        patroni: SocketAddr,
        ask: Ask<'_>,
        patience: Duration,
    ) -> v1::DatabaseOutcome {
        let path = ask.path().to_owned();
        match client::ask(patroni, &self.credentials, ask, patience).await {
            Ok(reply) => patroni::outcome(&path, &reply),
            Err(error @ AskError::Connect(_)) => refused(format!("Patroni: {error}")),
            Err(error @ (AskError::Late(_) | AskError::Broken(_))) => v1::DatabaseOutcome {
                end: DatabaseEnd::Unknown.into(),
                text: format!("Patroni: {error}"),
            },
        }
    }
}

fn read<T>(
    whose: &str,
    reply: Result<client::Reply, AskError>,
    read: impl FnOnce(&client::Reply) -> Result<T, String>,
) -> Result<T, String> {
    let reply = reply.map_err(|error| error.to_string());
    let read = reply.and_then(|reply| read(&reply));
    read.map_err(|why| format!("{whose}: {why}"))
}

fn refused(text: String) -> v1::DatabaseOutcome {
    v1::DatabaseOutcome {
        end: DatabaseEnd::Refused.into(),
        text,
    }
}

/// In place of what nobody was asked for.
fn unasked(question: v1::DatabaseQuestion, why: String) -> v1::DatabaseAnswer {
    let kind = match question.kind {
        Some(Question::Look(_)) => Answer::Sight(v1::DatabaseSight {
            problem: why,
            ..v1::DatabaseSight::default()
        }),
        Some(Question::Switchover(_) | Question::Restart(_) | Question::Reinit(_)) | None => {
            Answer::Outcome(refused(why))
        }
    };
    v1::DatabaseAnswer {
        id: question.id,
        kind: Some(kind),
    }
}
