//! A site's first files: what `coordctl init` does before anything runs.
//!
//! Guarantees: every file is written whole and 0600; killed at any instant, the same command run
//! again goes on and ends as if it had never been killed, with the same CAs; a site that is
//! finished is never written over.
//!
//! The idea: a fixed list of steps, each of which keeps what it finds. `init.json`, written first,
//! remembers what was asked, so that a second command cannot mix two sites. `coordinator.json`,
//! written after all the others, makes the service startable. The first operator's identity stays
//! on disk until [`hand_over`], so that no kill locks the operators out.
//!
//! A site is restored from a backup by the same steps: its CA and `seal.key` come from the backup,
//! and `restore.json`, with all records under a new incarnation, stands for `bootstrap.json`. When
//! the site is to be recovered from its agents, `recover.json` stands there, and the coordinator
//! makes `restore.json` of it when they were heard.
//!
//! Absent on purpose: talking to the store. `bootstrap.json` carries the desired state of
//! generation 1 and the first operator's record, and the coordinator's first start puts both into
//! the store in one transaction.

mod bootstrap;
mod files;
mod owner;
mod steps;
pub mod store_tls;

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use hamesh_proto::ids::{NodeId, OperatorName, SiteName};
use hamesh_roles::{Diagnostic, Site};
use zeroize::Zeroizing;

use crate::backup::{Snapshot, SnapshotError};
use crate::config::Dirs;

pub use bootstrap::Bootstrap;
pub use owner::{Owner, OwnerError};
use steps::Step;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// The site document.
    pub yaml: String,
    /// The node that this coordinator runs on; the document must name it as a coordinator.
    pub node: NodeId,
    /// The first operator, an admin.
    pub operator: OperatorName,
    /// Where the files go.
    pub dirs: Dirs,
    /// Whose the files become; `None`: the caller's.
    pub owner: Option<Owner>,
    /// Now.
    pub now: SystemTime,
    /// The backup that the site is restored from; `None`: it is a new one.
    pub restored: Option<Restored>,
}

/// What a site is restored from.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The backup.
    pub snapshot: Snapshot,
    /// The number of the incarnation that begins.
    pub incarnation: u64,
    /// Whose word counts.
    pub word: Word,
}

/// Whose word counts when a site begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The backup's: all records are taken from it.
    Backup,
    /// The agents': they are asked what they hold. Of the backup only the CA is believed.
    Agents {
        /// The document of the request is the operator's own, not the backup's.
        document_given: bool,
    },
}

/// A site that is ready to be started.
pub struct InitOutcome {
    /// Its name.
    pub site: SiteName,
    /// Where the coordinators answer: "ip:7443".
    pub coordinators: Vec<String>,
    /// The first operator's identity: private key, certificate, CA. Hand it over, then call
    /// [`hand_over`].
    pub operator_pem: Zeroizing<String>,
}

/// Why there is no new site.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The document has faults.
    #[error("the site document has {} faults; nothing was changed", .0.len())]
    Document(Vec<Diagnostic>),
    /// The node is not in the document.
    #[error(
        "the site document has no node `{0}`; nothing was changed; name the node that this \
             machine is with --node"
    )]
    UnknownNode(NodeId),
    /// The node is no coordinator.
    #[error(
        "`{0}` is not among the `coordinators` of the site document; nothing was changed; run \
             this on a coordinator, or add the node to the list"
    )]
    NotACoordinator(NodeId),
    /// There is a site already.
    #[error(
        "{path} exists: this machine coordinates a site already; nothing was changed; change \
             the site with `coordctl apply`"
    )]
    Finished {
        /// The file that says so.
        path: PathBuf,
    },
    /// Another site was begun here.
    #[error(
        "another `coordctl init` was begun here and not finished ({path} says which); nothing \
             was changed; run that one again, or remove the directory {state} to start afresh"
    )]
    Other {
        /// The file that says so.
        path: PathBuf,
        /// The directory of all files.
        state: PathBuf,
    },
    /// A file of an earlier, interrupted run cannot be used.
    #[error(
        "{path} cannot be used ({problem}); nothing else was changed; if no site was ever \
             finished here, remove the directory and start afresh"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system refused.
    #[error("cannot write {path}: {source}; run the same command again to go on")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The store's certificates could not be made.
    #[error(transparent)]
    StoreTls(#[from] store_tls::StoreTlsError),
    /// The backup cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The CA would not issue.
    #[error("cannot issue the first certificates: {0}; run the same command again to go on")]
    Issue(#[from] hamesh_proto::ca::IssueError),
}

/// Makes the files of a new site, or goes on where an interrupted run stopped.
pub fn init(request: &InitRequest) -> Result<InitOutcome, InitError> {
    let site = checked(request)?;
    for step in Step::ALL {
        steps::take(step, request, &site)?;
    }
    outcome(request, &site)
}

/// The first operator has its identity: removes it from this machine.
pub fn hand_over(dirs: &Dirs) -> Result<(), InitError> {
    files::remove(&dirs.first_operator())
}

fn checked(request: &InitRequest) -> Result<Site, InitError> {
    let site = Site::parse(&request.yaml).map_err(InitError::Document)?;
    if !site.nodes.contains_key(&request.node) {
        return Err(InitError::UnknownNode(request.node.clone()));
    }
    if !site.coordinators.contains(&request.node) {
        return Err(InitError::NotACoordinator(request.node.clone()));
    }
    let (finished, pending) = (request.dirs.config(), request.dirs.first_operator());
    if finished.exists() && !pending.exists() {
        return Err(InitError::Finished { path: finished });
    }
    Ok(site)
}

fn outcome(request: &InitRequest, site: &Site) -> Result<InitOutcome, InitError> {
    let coordinators = site.coordinators.iter().filter_map(|node| {
        let ip = site.management_address(node)?;
        Some(std::net::SocketAddr::new(ip, hamesh_proto::ports::API).to_string())
    });
    let operator = files::text(&request.dirs.first_operator())?;
    Ok(InitOutcome {
        site: site.name.clone(),
        coordinators: coordinators.collect(),
        operator_pem: Zeroizing::new(operator.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests;
