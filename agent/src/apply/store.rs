//! What the executor must not forget.
//!
//! | file in `/var/lib/hamesh-apply` | holds |
//! |---|---|
//! | `anchor.json` | whose orders are believed, and the number of the newest that was taken |
//! | `order.json` | the newest order |
//! | `good.json` | the newest that was seen to work, whole |
//! | `verdict.json` | that the order failed, and why |
//! | `owned.json` | what hamesh made; written before it is made |
//! | `proven.json` | the digest that the machine was seen to work with; gone while it changes |
//! | `tables.json`, `certificates.json` | what came of the tables and certificates |
//! | `originals/` | files that hamesh replaced and had not made |
//!
//! | file in `/run/hamesh-apply` | holds |
//! |---|---|
//! | `loaded.json` | what each unit has loaded, by systemd's name of that start |
//! | `control.sock` | where the agent asks |
//! | `revert.nft` | what undoes a table that is not confirmed yet |
//!
//! Guarantees: each file is its old or its new version; all are 0600, for what is desired has
//! secrets in it. Nothing of it is kept in memory: whoever reads it reads what a restart would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hamesh_proto::credentials::Credentials;
use hamesh_roles::engine::{Contents, Digest, Owned};
use serde::{Deserialize, Serialize};

use super::anchor::Anchor;
use super::decide::{Good, Order, Verdict};
use crate::state::{StateDir, StateError};

/// Where the executor keeps what does not survive a reboot.
pub const RUNTIME: &str = "/run/hamesh-apply";

/// The socket's name there.
pub const SOCKET: &str = "control.sock";

const ANCHOR: &str = "anchor.json";

/// The executor's files.
#[derive(Clone, Debug)]
pub struct Store {
    state: StateDir,
    run: StateDir,
}

/// What a unit has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// systemd's name of this start of the unit.
    pub invocation: String,
    /// What it has loaded since. An earlier version noted it otherwise: nothing is known then.
    #[serde(default)]
    pub contents: Contents,
}

/// What came of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedTable {
    /// Of the rules that were loaded.
    pub rules: Digest,
    /// Of what the kernel then listed.
    pub listing: Digest,
}

/// What came of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// What was asked for.
    pub profile: Digest,
    /// Of the certificate's file.
    pub content: Digest,
    /// When two thirds of its life are over.
    pub due_unix_ms: u64,
    /// The end of its life.
    pub expires_unix_ms: u64,
}

/// Notes by name.
pub type Notes<T> = BTreeMap<String, T>;

/// Has the orders of the site believed that `credentials` are of, from the first on: what an
/// earlier site had ordered does not count any more. Enrolment does so.
///
/// # Errors
/// [`StateError`].
pub fn anchor_to(state: &Path, credentials: &Credentials) -> Result<(), StateError> {
    match Anchor::of(credentials) {
        Some(anchor) => StateDir::open(state)?.write(ANCHOR, &anchor),
        None => Ok(()),
    }
}

impl Store {
    /// Opens both directories, making them (0700) if need be.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn open(state: &Path, run: &Path) -> Result<Self, StateError> {
        Ok(Self {
            state: StateDir::open(state)?,
            run: StateDir::open(run)?,
        })
    }

    /// Whose orders are believed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn anchor(&self) -> Result<Option<Anchor>, StateError> {
        self.state.read(ANCHOR)
    }

    /// Keeps it, if it is another.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_anchor(&self, anchor: &Anchor) -> Result<(), StateError> {
        if self.anchor()?.as_ref() == Some(anchor) {
            return Ok(());
        }
        self.state.write(ANCHOR, anchor)
    }

    /// The newest order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn order(&self) -> Result<Option<Order>, StateError> {
        self.state.read("order.json")
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_order(&self, order: &Order) -> Result<(), StateError> {
        self.state.write("order.json", order)
    }

    /// The newest that was seen to work.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn good(&self) -> Result<Option<Good>, StateError> {
        self.state.read("good.json")
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_good(&self, good: &Good) -> Result<(), StateError> {
        self.state.write("good.json", good)
    }

    /// The newest verdict, whatever order it is about.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn verdict(&self) -> Result<Option<Verdict>, StateError> {
        self.state.read("verdict.json")
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_verdict(&self, verdict: &Verdict) -> Result<(), StateError> {
        self.state.write("verdict.json", verdict)
    }

    /// What hamesh made.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn owned(&self) -> Result<Owned, StateError> {
        Ok(self.state.read("owned.json")?.unwrap_or_default())
    }

    /// Keeps it, if it is another.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_owned(&self, owned: &Owned) -> Result<(), StateError> {
        if self.owned()? == *owned {
            return Ok(());
        }
        self.state.write("owned.json", owned)
    }

    /// What the machine was seen to work with.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn proven(&self) -> Result<Option<Digest>, StateError> {
        Ok(self.state.read("proven.json")?.flatten())
    }

    /// Keeps it, if it is another.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn save_proven(&self, proven: Option<&Digest>) -> Result<(), StateError> {
        if self.proven()?.as_ref() == proven {
            return Ok(());
        }
        self.state.write("proven.json", &proven)
    }

    /// What came of the tables, by family and name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn tables(&self) -> Result<Notes<LoadedTable>, StateError> {
        Ok(self.state.read("tables.json")?.unwrap_or_default())
    }

    /// Keeps, or forgets, what came of one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn note_table(&self, name: &str, note: Option<LoadedTable>) -> Result<(), StateError> {
        self.state
            .write("tables.json", &with(self.tables()?, name, note))
    }

    /// What came of the certificates, by name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn certificates(&self) -> Result<Notes<Issued>, StateError> {
        Ok(self.state.read("certificates.json")?.unwrap_or_default())
    }

    /// Keeps, or forgets, what came of one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn note_certificate(&self, name: &str, note: Option<Issued>) -> Result<(), StateError> {
        let notes = with(self.certificates()?, name, note);
        self.state.write("certificates.json", &notes)
    }

    /// What the units have loaded.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn loaded(&self) -> Result<Notes<Loaded>, StateError> {
        Ok(self.run.read("loaded.json")?.unwrap_or_default())
    }

    /// Keeps, or forgets, what one has loaded.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn note_loaded(&self, unit: &str, note: Option<Loaded>) -> Result<(), StateError> {
        self.run
            .write("loaded.json", &with(self.loaded()?, unit, note))
    }

    /// Where files that hamesh replaced are kept.
    pub fn originals(&self) -> PathBuf {
        self.state.path().join("originals")
    }

    /// Where the agent asks.
    pub fn socket(&self) -> PathBuf {
        self.run.path().join(SOCKET)
    }

    /// What undoes a table that is not confirmed yet.
    pub fn revert(&self) -> PathBuf {
        self.run.path().join("revert.nft")
    }
}

fn with<T>(mut notes: Notes<T>, name: &str, note: Option<T>) -> Notes<T> {
    match note {
        Some(note) => notes.insert(name.to_owned(), note),
        None => notes.remove(name),
    };
    notes
}
