//! Makes this machine what its agent was told it is: a coordinator, or none any more.
//!
//! Guarantees: a machine becomes a coordinator only by what the leader gives to its agent's
//! identity; every key but those of the CAs is made here and stays here; `coordinator.json`,
//! written last, makes the services startable, so that a run that is killed is done again; a
//! machine that is none any more keeps nothing of it, the CAs' keys least of all.
//!
//! Absent: deciding. The leader does, and the agent keeps its word in a note.

mod files;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hamesh_proto::coordinate::{self, Coordinate};
use hamesh_proto::credentials::{Credentials, LiveCredentials, LoadError};
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::v1;
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use tokio::time::{Instant, sleep, timeout};

use crate::config::Dirs;
use crate::init::{Owner, OwnerError};

pub use files::FilesError;

/// The services of a coordinator, in the order in which they are started.
const UNITS: [&str; 2] = ["hamesh-store.service", "hamesh-coordinator.service"];
/// How long the leader is looked for: longer than a restart and an election.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Before all are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was as it should be.
    Unchanged,
    /// It is a coordinator now.
    Joined,
    /// It is none any more.
    Left,
}

/// Why the machine is not what it should be. The same command may be given again.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The agent's note.
    #[error("cannot read {path}: {problem}; the agent writes it anew when it is told")]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The agent's identity.
    #[error("the agent's identity cannot be used: {0}")]
    Identity(#[from] LoadError),
    /// It is no agent's.
    #[error("{0} is not an agent's identity")]
    NoAgent(String),
    /// There is no service user.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// No leader gave what is needed.
    #[error("no coordinator that leads let this machine join: {0}")]
    NoLeader(String),
    /// The files of the coordinator.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The services.
    #[error("`systemctl {command}` failed: {problem}; see `journalctl -u hamesh-store`")]
    Units {
        /// What was asked.
        command: String,
        /// What systemd said.
        problem: String,
    },
}

/// Makes the machine what the note in the agent's directory says.
///
/// # Errors
/// [`JoinError`].
pub async fn settle(agent: &Path, dirs: &Dirs) -> Result<Settled, JoinError> {
    let note = note(&agent.join(coordinate::FILE))?;
    match (note.wanted, dirs.config().exists()) {
        (true, true) | (false, false) => Ok(Settled::Unchanged),
        (true, false) => {
            let identity = Credentials::load(&agent.join("identity.pem"))?;
            let node = match &identity.spiffe_id().principal {
                Principal::Agent(node) => node.clone(),
                Principal::Coordinator(_) | Principal::Operator(_) => {
                    return Err(JoinError::NoAgent(identity.spiffe_id().to_string()));
                }
            };
            let owner = Owner::service()?;
            let answer = ask(&LiveCredentials::new(identity), &note.coordinators).await?;
            files::write(dirs, &node, owner, answer)?;
            systemctl(&["enable", "--now", "--quiet"])?;
            Ok(Settled::Joined)
        }
        (false, true) => {
            systemctl(&["disable", "--now", "--quiet"])?;
            files::remove(dirs)?;
            Ok(Settled::Left)
        }
    }
}

fn note(path: &Path) -> Result<Coordinate, JoinError> {
    let problem = |problem: String| JoinError::Note {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| problem(error.to_string()))
}

/// Asks until a leader answers.
async fn ask(live: &LiveCredentials, known: &[SocketAddr]) -> Result<v1::JoinAnswer, JoinError> {
    let begun = Instant::now();
    loop {
        let mut why = "none is known".to_owned();
        let mut open: Vec<SocketAddr> = known.to_vec();
        let mut asked = BTreeSet::new();
        while let Some(address) = open.pop() {
            if !asked.insert(address) {
                continue;
            }
            let mut client = CoordinatorsClient::new(channel(address, live, Expect::Coordinator));
            match timeout(ANSWER, client.join(v1::JoinRequest {})).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => {
                    if let Some(Elsewhere::At(leader)) = Elsewhere::of(&status) {
                        open.push(leader.api);
                    }
                    why = format!("{address}: {}", status.message());
                }
                Err(_) => why = format!("{address} did not answer within {ANSWER:?}"),
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err(JoinError::NoLeader(why));
        }
        sleep(ASK_AGAIN).await;
    }
}

fn systemctl(command: &[&str]) -> Result<(), JoinError> {
    let failed = |problem: String| JoinError::Units {
        command: command.join(" "),
        problem,
    };
    let output = Command::new("systemctl").args(command).args(UNITS).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}
