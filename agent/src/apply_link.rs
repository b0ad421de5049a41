//! The agent's end of the socket of what applies roles ([`crate::apply`]).
//!
//! Guarantees: the newest order reaches the executor whenever that comes up, and again after each
//! break; every question is answered, if only with why it cannot be; nothing here waits for a step
//! that the executor takes.
//!
//! Absent: judging orders and keeping them. The executor does both, and believes a coordinator's
//! signature, not this end; an agent that was restarted is
//! told anew by its coordinator.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hamesh_proto::v1;
use hamesh_proto::v1::{apply_answer, apply_request};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::apply::wire;
use crate::backoff::Backoff;

pub mod series;

use series::RoleSeries;

/// The pauses between attempts to connect.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Questions that wait for the executor, and answers that wait for the session: an operator asks
/// one at a time.
const QUESTIONS: usize = 8;
/// How long the executor may take to take a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the session uses of it. Clones share it.
#[derive(Clone, Debug)]
pub struct Roles {
    orders: watch::Sender<Option<v1::SignedRole>>,
    questions: mpsc::Sender<v1::RolePlanRequest>,
}

/// What the session hears from it.
#[derive(Debug)]
pub struct Heard {
    /// The newest report; `None`: the executor has not been heard yet.
    pub report: watch::Receiver<Option<v1::RoleReport>>,
    /// Answers to questions.
    pub plans: mpsc::Receiver<v1::RolePlan>,
}

/// The way to the executor.
#[derive(Debug)]
pub struct ApplyLink {
    socket: PathBuf,
    orders: watch::Receiver<Option<v1::SignedRole>>,
    questions: mpsc::Receiver<v1::RolePlanRequest>,
    report: watch::Sender<Option<v1::RoleReport>>,
    plans: mpsc::Sender<v1::RolePlan>,
    /// Names of the questions that the executor has and has not answered.
    open: Vec<String>,
    series: RoleSeries,
}

impl Roles {
    /// Passes an order on, in place of one that is still here.
    pub fn order(&self, order: v1::SignedRole) {
        self.orders.send_replace(Some(order));
    }

    /// Asks what an order would do. `Some` is why that is not asked.
    pub fn ask(&self, question: v1::RolePlanRequest) -> Option<v1::RolePlan> {
        let refused = self.questions.try_send(question).err()?;
        let id = refused.into_inner().id;
        Some(unanswered(id, "too many questions wait for an answer"))
    }
}

/// The way to the executor at `socket`, and both its ends.
pub fn link(socket: PathBuf, series: RoleSeries) -> (ApplyLink, Roles, Heard) {
    let (orders_tx, orders) = watch::channel(None);
    let (questions_tx, questions) = mpsc::channel(QUESTIONS);
    let (report_tx, report) = watch::channel(None);
    let (plans_tx, plans) = mpsc::channel(QUESTIONS);
    let link = ApplyLink {
        socket,
        orders,
        questions,
        report: report_tx,
        plans: plans_tx,
        open: Vec::new(),
        series,
    };
    let roles = Roles {
        orders: orders_tx,
        questions: questions_tx,
    };
    (link, roles, Heard { report, plans })
}

impl ApplyLink {
    /// Passes on what comes from either side, until the task is dropped.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut told = String::new();
        loop {
            let why = match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    backoff.reset();
                    told.clear();
                    match self.relay(stream).await {
                        Ok(()) => "it hung up".to_owned(),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            if why != told {
                tracing::info!("hamesh-apply.service is not reached: {why}");
                told.clone_from(&why);
            }
            for id in std::mem::take(&mut self.open) {
                self.answer(unanswered(id, &why));
            }
            self.series.lost();
            self.report.send_if_modified(|report| {
                let lost = lost(&why);
                let news = report.as_ref().is_some_and(|known| *known != lost);
                if news {
                    *report = Some(lost);
                }
                news
            });
            self.pause(backoff.pause(), &why).await;
        }
    }

    /// Answers questions meanwhile: nobody else will.
    async fn pause(&mut self, pause: Duration, why: &str) {
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                Some(question) = self.questions.recv() => {
                    self.answer(unanswered(question.id, why));
                }
            }
        }
    }

    async fn relay(&mut self, stream: UnixStream) -> io::Result<()> {
        let (mut reads, mut writes) = stream.into_split();
        // Reading a message must not be dropped halfway, so it goes on beside the rest.
        let (heard, mut answers) = mpsc::channel(QUESTIONS);
        let listening = async move {
            while let Some(answer) = wire::read::<v1::ApplyAnswer>(&mut reads).await? {
                if heard.send(answer).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        tokio::pin!(listening);
        self.orders.mark_changed();
        loop {
            tokio::select! {
                ended = &mut listening => return ended,
                Some(answer) = answers.recv() => self.take(answer),
                Ok(()) = self.orders.changed() => {
                    let order = self.orders.borrow_and_update().clone();
                    if let Some(order) = order {
                        send(&mut writes, apply_request::Kind::Order(order)).await?;
                    }
                }
                Some(question) = self.questions.recv() => {
                    self.open.push(question.id.clone());
                    send(&mut writes, apply_request::Kind::Plan(question)).await?;
                }
            }
        }
    }

    fn take(&mut self, answer: v1::ApplyAnswer) {
        match answer.kind {
            Some(apply_answer::Kind::Report(report)) => {
                self.series.show(&report);
                self.report.send_replace(Some(report));
            }
            Some(apply_answer::Kind::Plan(plan)) => {
                self.open.retain(|id| *id != plan.id);
                self.answer(plan);
            }
            // Of a later version.
            None => {}
        }
    }

    /// Without a session nobody waits for it: one that finds no place is dropped.
    fn answer(&self, plan: v1::RolePlan) {
        if let Err(error) = self.plans.try_send(plan) {
            tracing::debug!(%error, "nobody takes a plan: {error}");
        }
    }
}

async fn send(writes: &mut OwnedWriteHalf, kind: apply_request::Kind) -> io::Result<()> {
    let message = v1::ApplyRequest { kind: Some(kind) };
    let sent = timeout(PATIENCE, wire::write(writes, &message)).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// In place of the report of an executor that is gone: what it said last may not be so any more.
fn lost(why: &str) -> v1::RoleReport {
    v1::RoleReport {
        problem: format!("hamesh-apply.service is not reached: {why}"),
        ..v1::RoleReport::default()
    }
}

fn unanswered(id: String, why: &str) -> v1::RolePlan {
    v1::RolePlan {
        id,
        problem: format!(
            "what applies roles on this node does not answer ({why}); see `systemctl status \
             hamesh-apply` there"
        ),
        ..v1::RolePlan::default()
    }
}

#[cfg(test)]
mod tests;
