//! What the agent keeps on disk, under its state directory (0700).
//!
//! | file | holds |
//! |---|---|
//! | `identity.pem` | private key, certificate, CAs: one file, so that it changes as a whole |
//! | `identity.pending` | the key of an enrolment that is under way |
//! | `assignment.json` | the assignment in force |
//! | `key-ring.json` | the gossip keys |
//! | `coordinators.json` | where coordinators answer |
//! | `drained.json` | on an internal proxy: the nodes that operators drained |
//! | `lease-keys.json` | the keys that this node shares with the other members of its claims |
//! | `claim-vip_NAME.json` | what this node's member of a claim must not forget |
//! | `fence` | the claimed addresses, which a boot fences before the network comes up |
//! | `started` | the number of the newest run |
//! | `lock` | held by the running agent |
//! | `upgrade-*.json` | an ordered upgrade and what became of it ([`crate::upgrade::files`]) |
//!
//! Guarantees: a file is its old or its new version whatever happens, and new after a write that
//! returned `Ok`; secrets are 0600; two agents never share a directory.
//!
//! Absent: judging what is read (the types do that) and going on without a disk (the callers do).

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use hamesh_claims::member::Durable;
use hamesh_proto::coordinate::{self, Coordinate};
use hamesh_proto::credentials::{Credentials, LoadError, PrivateKey};
use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::ids::{ClaimId, NodeId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::assignment::{Assignment, Coordinator};
use crate::claims::keys::StoredKeys;
use crate::keys::StoredRing;

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Held by the one agent that works on a state directory; let go when dropped.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "held, never read")] File);

/// Why the state directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another agent works on it.
    #[error(
        "another hamesh-agent works on {path}; nothing was changed. Stop it first \
         (`systemctl stop hamesh-agent`), or give this one a --state-dir of its own"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It could not be read.
    #[error("cannot read {path}; nothing was changed")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write {path}; the old version, if any, is still in place")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} is damaged; nothing was changed. Remove it: a coordinator will send it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The identity is not usable.
    #[error(transparent)]
    Identity(#[from] LoadError),
    /// The key of an enrolment under way is not usable.
    #[error("{path} is damaged; nothing was changed. Remove it and enrol again")]
    PendingKey {
        /// The file.
        path: PathBuf,
    },
}

impl StateDir {
    /// Opens the directory, making it (0700) if need be.
    ///
    /// # Errors
    /// [`StateError::Write`] when it cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StateError::Write {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self(path.to_owned()))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the directory for this process alone.
    ///
    /// # Errors
    /// [`StateError::Locked`] when another agent holds it.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.0.join("lock");
        let file = File::create(&path).map_err(|source| StateError::Write {
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock(file)),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked {
                path: self.0.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(StateError::Write { path, source }),
        }
    }

    /// The node's identity; `None` before enrolment.
    ///
    /// # Errors
    /// [`StateError::Identity`] when it is there but not usable.
    pub fn identity(&self) -> Result<Option<Credentials>, StateError> {
        let path = self.0.join("identity.pem");
        if !path.try_exists().map_err(|source| StateError::Read {
            path: path.clone(),
            source,
        })? {
            return Ok(None);
        }
        Ok(Some(Credentials::load(&path)?))
    }

    /// Replaces the node's identity.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_identity(&self, credentials: &Credentials) -> Result<(), StateError> {
        let path = self.0.join("identity.pem");
        credentials
            .save(&path)
            .map_err(|source| StateError::Write { path, source })
    }

    /// The key of an enrolment under way: the one begun earlier, or a new one, on disk before it
    /// is returned. So a retry after a crash asks for the same key again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn pending_key(&self) -> Result<PrivateKey, StateError> {
        let path = self.0.join("identity.pending");
        match fs::read(&path) {
            Ok(der) => {
                PrivateKey::from_pkcs8_der(&der).map_err(|_| StateError::PendingKey { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = PrivateKey::generate();
                write_atomic(&path, key.pkcs8(), SECRET)
                    .map_err(|source| StateError::Write { path, source })?;
                Ok(key)
            }
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// Forgets the key of the enrolment under way: it is in the identity now.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn forget_pending_key(&self) -> Result<(), StateError> {
        let path = self.0.join("identity.pending");
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Write { path, source }),
        }
    }

    /// The assignment in force; `None` before the first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn assignment(&self) -> Result<Option<Assignment>, StateError> {
        self.read("assignment.json")
    }

    /// Replaces the assignment in force.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_assignment(&self, assignment: &Assignment) -> Result<(), StateError> {
        self.write("assignment.json", assignment)
    }

    /// The gossip keys; `None` before the first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn key_ring(&self) -> Result<Option<StoredRing>, StateError> {
        self.read("key-ring.json")
    }

    /// Replaces the gossip keys.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_key_ring(&self, ring: &StoredRing) -> Result<(), StateError> {
        self.write("key-ring.json", ring)
    }

    /// The keys shared with other members of this node's claims; `None` before the first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn lease_keys(&self) -> Result<Option<StoredKeys>, StateError> {
        self.read("lease-keys.json")
    }

    /// Replaces the keys shared with other members.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_lease_keys(&self, keys: &StoredKeys) -> Result<(), StateError> {
        self.write("lease-keys.json", keys)
    }

    /// What the member of a claim must not forget; `None` before it learnt anything.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn claim(&self, claim: &ClaimId) -> Result<Option<Durable>, StateError> {
        self.read(&claim_file(claim))
    }

    /// Replaces what the member of a claim must not forget.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_claim(&self, claim: &ClaimId, disk: &Durable) -> Result<(), StateError> {
        self.write(&claim_file(claim), disk)
    }

    /// Where coordinators answer; empty before enrolment.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn coordinators(&self) -> Result<Vec<Coordinator>, StateError> {
        Ok(self.read("coordinators.json")?.unwrap_or_default())
    }

    /// Replaces where coordinators answer.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_coordinators(&self, coordinators: &[Coordinator]) -> Result<(), StateError> {
        self.write("coordinators.json", &coordinators)
    }

    /// The nodes that operators drained; empty before any was heard of.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn drained(&self) -> Result<BTreeSet<NodeId>, StateError> {
        Ok(self.read("drained.json")?.unwrap_or_default())
    }

    /// Replaces the nodes that operators drained.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_drained(&self, nodes: &BTreeSet<NodeId>) -> Result<(), StateError> {
        self.write("drained.json", nodes)
    }

    /// Writes what this machine is to be, if that is news: a unit of the coordinator's package
    /// watches the file.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save_coordinate(&self, told: &Coordinate) -> Result<(), StateError> {
        let before: Option<Coordinate> = self.read(coordinate::FILE).unwrap_or_default();
        let was = before.is_some_and(|before| before.wanted);
        if was == told.wanted {
            return Ok(());
        }
        self.write(coordinate::FILE, told)
    }

    /// The number of this run: the time, or one more than the run before where the clock went
    /// back, so that it always rises. Peers refuse what an earlier run says.
    ///
    /// # Errors
    /// [`StateError::Write`]; the run may go on with `now_unix_ms`.
    pub fn next_start(&self, now_unix_ms: u64) -> Result<u64, StateError> {
        let before: Option<u64> = self.read("started").unwrap_or_default();
        let start = before.map_or(now_unix_ms, |before| {
            now_unix_ms.max(before.saturating_add(1))
        });
        self.write("started", &start)?;
        Ok(start)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.0.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| StateError::Damaged { path, source })
    }

    pub(crate) fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.0.join(name);
        let text = serde_json::to_vec_pretty(value).map_err(|source| StateError::Damaged {
            path: path.clone(),
            source,
        })?;
        write_atomic(&path, &text, SECRET).map_err(|source| StateError::Write { path, source })
    }
}

fn claim_file(claim: &ClaimId) -> String {
    format!("claim-{}.json", claim.as_str().replace('/', "_"))
}
