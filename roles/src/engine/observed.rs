//! What a node has, as far as it could be looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::resource::{Contents, Resource, ResourceId};

/// What was seen of each desired and each owned resource, in one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// By resource.
    pub seen: BTreeMap<ResourceId, Seen>,
    /// The newest [`Desired`](super::Desired) that passed its gates here.
    pub proven: Option<Digest>,
}

/// What was seen of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is not there.
    Absent,
    /// It could not be looked at, and why. Nothing is concluded from that.
    Unknown(String),
    /// It is there.
    Present(State),
}

/// How a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// An installed package.
    Package {
        /// Its version.
        version: String,
        /// Whether apt keeps it at that.
        held: bool,
    },
    /// A loaded module that is also loaded at boot.
    Module,
    /// A kernel setting.
    Sysctl {
        /// In force now.
        value: String,
        /// What the next boot sets it to, by hamesh's own file.
        at_boot: Option<String>,
    },
    /// What is mounted there now, and is at each boot.
    Mount {
        /// The device.
        source: String,
        /// `ext4`
        fstype: String,
        /// As hamesh asked for them; `None`: others mounted it.
        options: Option<String>,
    },
    /// A user.
    User {
        /// Its home.
        home: String,
        /// The groups that it is in, beyond its own.
        groups: BTreeSet<String>,
    },
    /// A directory.
    Directory {
        /// Who owns it.
        owner: String,
        /// Whose group it is of.
        group: String,
        /// Permission bits.
        mode: u32,
    },
    /// A file.
    File {
        /// Of its content, without the executor's own line.
        digest: Digest,
        /// Its text, when it may be shown: no secret, not long, UTF-8.
        text: Option<String>,
        /// Who owns it.
        owner: String,
        /// Whose group it is of.
        group: String,
        /// Permission bits.
        mode: u32,
    },
    /// A key and its certificate.
    Certificate {
        /// What was asked for when it was issued.
        profile: Digest,
        /// Of the certificate file's content.
        content: Digest,
        /// Whether less than a third of its life is left.
        due: bool,
    },
    /// A table.
    Table {
        /// Of the rules that were loaded, if the kernel still has exactly what came of them.
        rules: Option<Digest>,
        /// Of the rules that the next boot loads.
        at_boot: Option<Digest>,
    },
    /// A command.
    Command {
        /// Whether its guard says that it need not run.
        satisfied: bool,
    },
    /// A unit.
    Unit {
        /// Whether it runs.
        active: bool,
        /// Whether it starts at boot.
        enabled: bool,
        /// What it has loaded, as far as that is known of this start of it.
        loaded: Contents,
    },
}

/// What hamesh made on a node, in the order in which it was made. It is written down before it is
/// made, so that whatever an interrupted executor made is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// With what it was made of last.
    pub resources: Vec<Resource>,
}

impl Owned {
    /// What is owned once `resource` is made, too.
    pub fn with(mut self, resource: &Resource) -> Self {
        let id = resource.id();
        match self.resources.iter_mut().find(|owned| owned.id() == id) {
            Some(owned) => owned.clone_from(resource),
            None => self.resources.push(resource.clone()),
        }
        self
    }

    /// What is owned once `id` is gone.
    pub fn without(mut self, id: &ResourceId) -> Self {
        self.resources.retain(|owned| owned.id() != *id);
        self
    }
}
