//! What this node is among the site's databases, asked of its own Patroni.
//!
//! Guarantees: nothing is told where the role is another; one question at a time, given up after
//! [`PATIENCE`]; a single answer that is late or none says nothing, [`SILENT_AFTER`] in a row do.
//!
//! The idea: `GET /primary` of Patroni's REST API (Patroni 3.0, "Health check endpoints") is what
//! the proxies ask. It answers 200 on the member that has the leader's key and 503 elsewhere, and
//! says with both what PostgreSQL is doing. It believes any certificate of the site's CA.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1::DatabaseState;
use hamesh_roles::Role;
use hamesh_roles::render::PATRONI_PORT;
use serde::Deserialize;
use tokio::sync::watch;

use super::every;
use crate::assignment::Assignment;
use crate::database::client::{Ask, ask};

/// How often it is asked: as often as each proxy does.
pub const EVERY: Duration = Duration::from_millis(500);
/// How long an answer may take: Patroni asks PostgreSQL for it.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How many answers in a row are missed before that is told.
pub const SILENT_AFTER: u32 = 2;

/// Asks for as long as anyone wants to know.
#[derive(Debug)]
pub struct DatabaseObserver {
    /// Shown to Patroni.
    pub credentials: LiveCredentials,
    /// Says whether the node is a database, and where.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// Patroni's port, the usual one but for tests.
    pub port: u16,
}

/// What Patroni says beside the status, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Answer {
    role: String,
    state: String,
}

impl DatabaseObserver {
    /// Asks this machine's Patroni.
    pub fn here(
        credentials: LiveCredentials,
        assignment: watch::Receiver<Option<Arc<Assignment>>>,
    ) -> Self {
        Self {
            credentials,
            assignment,
            port: PATRONI_PORT,
        }
    }

    /// Publishes each change, until nobody listens or the assignment's sender is gone.
    pub async fn run(mut self, told: watch::Sender<DatabaseState>) {
        let mut ticks = every(EVERY);
        let mut missed = 0;
        loop {
            let place = self
                .assignment
                .borrow_and_update()
                .as_deref()
                .and_then(place);
            let Some(place) = place else {
                tell(&told, DatabaseState::Unspecified);
                tokio::select! {
                    () = told.closed() => return,
                    changed = self.assignment.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            };
            match self.ask(SocketAddr::new(place, self.port)).await {
                Some(state) => {
                    missed = 0;
                    tell(&told, state);
                }
                None => {
                    missed += 1;
                    if missed >= SILENT_AFTER {
                        tell(&told, DatabaseState::Silent);
                    }
                }
            }
            tokio::select! {
                () = told.closed() => return,
                _ = ticks.tick() => {}
            }
        }
    }

    /// `None`: no answer in time, or not one of Patroni's.
    async fn ask(&self, at: SocketAddr) -> Option<DatabaseState> {
        match ask(at, &self.credentials, Ask::Get("/primary"), PATIENCE).await {
            Ok(reply) => state(reply.status, &reply.body),
            Err(why) => {
                tracing::debug!(%why, "Patroni does not answer: {why}");
                None
            }
        }
    }
}

/// Where Patroni is, if the node is a database: at the address where it gossips.
fn place(assignment: &Assignment) -> Option<std::net::IpAddr> {
    let is_database = assignment.role.as_deref() == Some(Role::Database.name());
    let place = assignment.own_gossip()?;
    is_database.then_some(place.ip())
}

/// What an answer means.
fn state(status: u16, body: &[u8]) -> Option<DatabaseState> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(match status {
        200 => DatabaseState::Leader,
        _ if answer.role == "replica" && answer.state == "running" => DatabaseState::Replica,
        _ => DatabaseState::Other,
    })
}

fn tell(told: &watch::Sender<DatabaseState>, state: DatabaseState) {
    told.send_if_modified(|present| std::mem::replace(present, state) != state);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_patroni_tells_what_the_member_is() {
        let body = |role: &str, state: &str| {
            format!(r#"{{"state": "{state}", "role": "{role}", "server_version": 150018}}"#)
        };
        for (status, role, now, means) in [
            (200, "master", "running", DatabaseState::Leader),
            (503, "replica", "running", DatabaseState::Replica),
            (503, "replica", "starting", DatabaseState::Other),
            // It lost the leader's key, and PostgreSQL was not stopped yet.
            (503, "master", "running", DatabaseState::Other),
            (503, "master", "stopping", DatabaseState::Other),
        ] {
            let told = state(status, body(role, now).as_bytes());
            assert_eq!(told, Some(means), "{status} {role} {now}");
        }
        for body in ["", "<html>", "{}", r#"{"role": "replica"}"#] {
            assert_eq!(state(200, body.as_bytes()), None, "{body}");
        }
    }
}
