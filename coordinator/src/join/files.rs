//! The files of a coordinator that joins a site, and their end.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hamesh_proto::ca::{CertificateAuthority, IssueError};
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::ids::NodeId;
use hamesh_proto::{ports, v1};
use hamesh_roles::Site;

use crate::authority::Authority;
use crate::config::{Config, Dirs};
use crate::init::Owner;
use crate::init::store_tls::{self, Settings, StoreTlsError};

/// Why the files are not as they should be. The same command may be given again.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// What the leader sent is of no use.
    #[error("the leader's answer is of no use: {0}; is it of the same version?")]
    Answer(String),
    /// The CA would not issue.
    #[error("cannot issue the certificates: {0}")]
    Issue(#[from] IssueError),
    /// Nor for the store.
    #[error(transparent)]
    StoreTls(#[from] StoreTlsError),
    /// The system refused.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Writes everything, the configuration last.
pub(super) fn write(
    dirs: &Dirs,
    node: &NodeId,
    owner: Option<Owner>,
    answer: v1::JoinAnswer,
) -> Result<(), FilesError> {
    let useless = |error: &dyn std::fmt::Display| FilesError::Answer(error.to_string());
    let site = Site::parse(&answer.yaml).map_err(|_| useless(&"a faulty site document"))?;
    let ca = CertificateAuthority::from_pem(&answer.ca_pem).map_err(|error| useless(&error))?;
    let store_ca = CertificateAuthority::from_pem(&answer.store_ca_pem);
    let store_ca = store_ca.map_err(|error| useless(&error))?;
    let address = site.management_address(node);
    let address = address.ok_or_else(|| useless(&format!("a site without {node}")))?;
    // Data of an earlier life would be another member's.
    let data = dirs.store_data();
    match std::fs::remove_dir_all(&data) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(FilesError::Write { path: data, source });
        }
        Ok(()) | Err(_) => {}
    }
    for path in [dirs.state().to_owned(), dirs.store_tls_directory(), data] {
        directory(&path)?;
    }
    put(&dirs.ca(), answer.ca_pem.as_bytes())?;
    put(&dirs.store_ca(), answer.store_ca_pem.as_bytes())?;
    put(&dirs.seal_key(), &answer.seal_key)?;
    let identity = identity(&Authority::new(ca), &site, node)?;
    put(&dirs.identity(), identity.to_pem().as_bytes())?;
    store_tls::issue(&dirs.store_tls(), &store_ca, &[address], SystemTime::now())?;
    let settings = Settings {
        member: node.to_string(),
        data: dirs.store_data(),
        tls: dirs.store_tls(),
        cluster: site.name.to_string(),
        client: (std::net::Ipv4Addr::LOCALHOST, ports::STORE_CLIENT).into(),
        peer: (address, ports::STORE_PEER).into(),
        joins: Some(answer.store_members),
    };
    let text = store_tls::environment_file(&settings);
    put(&dirs.store_environment(), text.as_bytes())?;
    let config = Config::of(&site, node, address);
    own(dirs, owner)?;
    let text = serde_json::to_vec_pretty(&config).map_err(|error| useless(&error))?;
    put(&dirs.config(), &text)?;
    own(dirs, owner)
}

/// Removes everything of a coordinator; the configuration first, so that nothing starts meanwhile.
pub(super) fn remove(dirs: &Dirs) -> Result<(), FilesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FilesError::Write { path, source }
    };
    let config = dirs.config();
    std::fs::remove_file(&config).map_err(failed(&config))?;
    let state = dirs.state();
    for entry in std::fs::read_dir(state).map_err(failed(state))? {
        let entry = entry.map_err(failed(state))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed(state))?);
        let removed = match kind.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

fn identity(authority: &Authority, site: &Site, node: &NodeId) -> Result<Credentials, FilesError> {
    let key = PrivateKey::generate();
    let issued = authority.coordinator(site, node, &key.csr_der(), SystemTime::now())?;
    let ca = authority.ca().certificate_der().to_vec();
    Credentials::new(key, issued.der, vec![ca])
        .map_err(|error| FilesError::Answer(error.to_string()))
}

fn directory(path: &Path) -> Result<(), FilesError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(FilesError::Write {
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    write_atomic(path, bytes, SECRET).map_err(|source| FilesError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Gives everything to the service user.
fn own(dirs: &Dirs, owner: Option<Owner>) -> Result<(), FilesError> {
    let taken = owner.map(|owner| owner.take_all(dirs));
    let taken = taken.unwrap_or(Ok(()));
    taken.map_err(|(path, source)| FilesError::Write { path, source })
}
