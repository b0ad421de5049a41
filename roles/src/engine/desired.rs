//! All that one node is to have.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::resource::{Contents, Resource};
use crate::role::Role;

/// All that one node is to have: one function of the site, the node and its secrets makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// What it makes of the node; `None`: nothing, and what an earlier role made goes.
    pub role: Option<Role>,
    /// In the order in which they are made. What is read by a unit comes before it.
    pub resources: Vec<Resource>,
    /// What shows that it works, once all of them are there.
    pub gates: Vec<Gate>,
    /// Where the node must still get through after its firewall was changed, to one of them at
    /// least: the API of the coordinators.
    pub lifelines: Vec<SocketAddr>,
    /// Whether data that only removed roles made goes, too.
    pub purge_data: bool,
}

/// Something that must hold for a configuration to count as one that works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// For people: "HAProxy accepts https".
    pub name: String,
    /// How it is seen.
    pub probe: Probe,
    /// For how long it is waited for.
    pub within_ms: u64,
}

/// How something is seen to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Probe {
    /// A unit of systemd is active, and stays so for a second.
    Active {
        /// `haproxy.service`
        unit: String,
    },
    /// A TCP connection is accepted.
    Tcp {
        /// Where.
        address: SocketAddr,
    },
    /// A GET over plain HTTP is answered with a status from 200 to 399.
    Http {
        /// `http://127.0.0.1:8404/healthz`
        url: String,
    },
    /// Whoever speaks TLS there is shown the first certificate of this file.
    Shows {
        /// Where.
        address: SocketAddr,
        /// The file: PEM.
        certificate: String,
    },
    /// A program exits with 0; else the last line that it prints says why not. It has seconds for
    /// that, is run again and again, and changes nothing.
    Program {
        /// `patronictl`, and its arguments.
        argv: Vec<String>,
    },
}

impl Desired {
    /// Names it.
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_vec(self).expect("what is desired is plain JSON");
        Digest::of(text)
    }

    /// The contents that units read, where they follow from what is desired alone. A certificate's
    /// key is made on the node: its content is observed.
    pub fn contents(&self) -> Contents {
        let content = |resource: &Resource| match resource {
            Resource::File(file) => Some((resource.id(), file.content.digest())),
            Resource::Package(_)
            | Resource::Module { .. }
            | Resource::Sysctl { .. }
            | Resource::Mount(_)
            | Resource::User(_)
            | Resource::Directory(_)
            | Resource::Certificate(_)
            | Resource::Table(_)
            | Resource::Command(_)
            | Resource::Unit(_) => None,
        };
        self.resources.iter().filter_map(content).collect()
    }
}
