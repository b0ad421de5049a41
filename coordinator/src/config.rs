//! Where the coordinator keeps its files, and what `coordinator.json` says.

use std::path::{Path, PathBuf};

use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::ports;
use hamesh_roles::Site;
use serde::{Deserialize, Serialize};

use crate::init::store_tls;

/// The coordinator's files, all under one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    state: PathBuf,
}

impl Default for Dirs {
    /// The directory that the package makes.
    fn default() -> Self {
        Self::under("/var/lib/hamesh")
    }
}

impl Dirs {
    /// Everything under this directory.
    pub fn under(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
        }
    }

    /// The directory itself.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The site CA: private key and certificate.
    pub fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// The store's CA: private key and certificate.
    pub fn store_ca(&self) -> PathBuf {
        self.state.join("store-ca.pem")
    }

    /// The coordinator's identity.
    pub fn identity(&self) -> PathBuf {
        self.state.join("identity.pem")
    }

    /// The key that seals secrets in the store.
    pub fn seal_key(&self) -> PathBuf {
        self.state.join("seal.key")
    }

    /// [`Config`].
    pub fn config(&self) -> PathBuf {
        self.state.join("coordinator.json")
    }

    /// The number of this machine among those that bore its name.
    pub fn instance(&self) -> PathBuf {
        self.state.join("instance")
    }

    /// There if the site was restored elsewhere: the coordinator has stopped for good.
    pub fn outdated(&self) -> PathBuf {
        self.state.join("outdated")
    }

    /// The store's certificates.
    pub fn store_tls_directory(&self) -> PathBuf {
        self.state.join("store-tls")
    }

    /// The files in there.
    pub fn store_tls(&self) -> store_tls::Files {
        store_tls::Files::under(&self.store_tls_directory())
    }

    /// The store's data.
    pub fn store_data(&self) -> PathBuf {
        self.state.join("store")
    }

    /// The store's settings.
    pub fn store_environment(&self) -> PathBuf {
        self.state.join("store.env")
    }

    /// What the first start puts into the empty store.
    pub fn bootstrap(&self) -> PathBuf {
        self.state.join("bootstrap.json")
    }

    /// What the first start of a restored coordinator puts into the empty store.
    pub fn rebirth(&self) -> PathBuf {
        self.state.join("restore.json")
    }

    /// What a coordinator recovers its site from, until that is finished.
    pub fn recover(&self) -> PathBuf {
        self.state.join("recover.json")
    }

    /// The first operator's identity, until it was handed over.
    pub fn first_operator(&self) -> PathBuf {
        self.state.join("first-operator.pem")
    }

    /// What an unfinished `coordctl init` was asked for.
    pub fn init_marker(&self) -> PathBuf {
        self.state.join("init.json")
    }
}

/// What a coordinator must know before it can ask the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The site it coordinates.
    pub site: SiteName,
    /// The node it runs on.
    pub node: NodeId,
    /// "https://127.0.0.1:7448"
    pub store: String,
    /// The node's management address, which the store's peers would dial.
    pub address: std::net::IpAddr,
    /// The address to listen on; every address if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<std::net::IpAddr>,
}

/// Why the coordinator's own files are not usable. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `coordctl init` has not run or has not finished.
    #[error(
        "this machine is not set up as a coordinator ({path} is missing): run \
             `coordctl init --site-file site.yaml --node NODE` as root"
    )]
    NotInitialised {
        /// The missing file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; it must belong to the user `hamesh`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file makes no sense.
    #[error("{path} is damaged ({problem}): restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// That of a coordinator on `node`, which the site reaches at `address`.
    pub fn of(site: &Site, node: &NodeId, address: std::net::IpAddr) -> Self {
        Self {
            site: site.name.clone(),
            node: node.clone(),
            store: format!("https://127.0.0.1:{}", ports::STORE_CLIENT),
            address,
            listen: None,
        }
    }

    /// Reads `coordinator.json`.
    pub fn load(dirs: &Dirs) -> Result<Self, ConfigError> {
        let path = dirs.config();
        let text = read(&path)?;
        serde_json::from_slice(&text).map_err(|error| ConfigError::Damaged {
            path,
            problem: error.to_string(),
        })
    }
}

/// The bytes of a file that `coordctl init` wrote.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::NotInitialised {
            path: path.to_owned(),
        },
        _ => ConfigError::Read {
            path: path.to_owned(),
            source,
        },
    })
}
