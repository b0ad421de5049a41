//! The store's certificates and settings.
//!
//! Guarantees: key and certificate are one file that is replaced at once, so a kill at any instant
//! leaves a pair that fits; etcd reads it anew at each handshake, so a renewal needs no restart.
//!
//! The idea: the store has a CA of its own. No certificate of an agent opens it, and nothing in it
//! is trusted by an agent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{CertificateAuthority, IssueError, Profile, Subject};
use hamesh_proto::key::PrivateKey;
use hamesh_proto::{files, pem_text};

/// How long the store's certificates are valid. They are renewed at each start of the coordinator
/// and at every third of this; a coordinator that was off for longer renews before it connects.
pub const VALID: Duration = Duration::from_secs(30 * 24 * 3600);

/// History that etcd keeps for watches that were away, in transactions. Shorter than the quota by
/// orders of magnitude.
const HISTORY: &str = "20000";

/// Between two heartbeats of the store's leader, in milliseconds: etcd's default.
const HEARTBEAT_MS: u64 = 100;

/// After how long without one its members elect another, at the least; they draw up to twice that.
/// Six heartbeats: short beside a leadership of 2 s, which is to outlive such an election.
const ELECTION_MS: u64 = 600;

/// Operations in one transaction: a document that removes every node of the largest site, with an
/// event for each. etcd's own bound is 128.
const MAX_OPERATIONS: &str = "4096";

/// The files of the store's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The store CA's certificate, without its key.
    pub ca: PathBuf,
    /// etcd's key and certificate, towards clients and peers.
    pub server: PathBuf,
    /// The coordinator's key and certificate, towards etcd.
    pub client: PathBuf,
}

impl Files {
    /// In this directory.
    pub fn under(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.pem"),
            server: directory.join("server.pem"),
            client: directory.join("client.pem"),
        }
    }
}

/// Why the store's certificates could not be made. What was written is complete; try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreTlsError {
    /// The CA would not.
    #[error("cannot issue the store's certificates: {0}")]
    Issue(#[from] IssueError),
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Issues both certificates anew and writes all three files. Returns when they expire.
pub fn issue(
    files: &Files,
    ca: &CertificateAuthority,
    peers: &[IpAddr],
    now: SystemTime,
) -> Result<u64, StoreTlsError> {
    let write = |path: &Path, text: &str| {
        hamesh_proto::files::write_atomic(path, text.as_bytes(), files::SECRET).map_err(|source| {
            StoreTlsError::Write {
                path: path.to_owned(),
                source,
            }
        })
    };
    write(&files.ca, &pem_text::certificate(ca.certificate_der()))?;
    let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    ips.extend(peers.iter().filter(|ip| !ip.is_loopback()));
    let mut not_after_unix_ms = u64::MAX;
    for (path, name, ips) in [
        (&files.server, "server", ips),
        (&files.client, "client", vec![]),
    ] {
        let key = PrivateKey::generate();
        let profile = Profile {
            subject: Subject::CommonName(format!("hamesh-store-{name}")),
            dns: Vec::new(),
            ips,
            valid: VALID,
        };
        let issued = ca.issue(&key.csr_der(), &profile, now)?;
        let mut text = key.to_pem();
        text.push_str(&pem_text::certificate(&issued.der));
        write(path, &text)?;
        not_after_unix_ms = not_after_unix_ms.min(issued.not_after_unix_ms);
    }
    Ok(not_after_unix_ms)
}

/// How etcd is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name among its peers.
    pub member: String,
    /// Where it keeps its data.
    pub data: PathBuf,
    /// Its certificates.
    pub tls: Files,
    /// Keeps members of different sites apart.
    pub cluster: String,
    /// Where it answers clients.
    pub client: SocketAddr,
    /// Where it answers peers.
    pub peer: SocketAddr,
    /// The members of the store that it joins, "NAME=URL,NAME=URL"; `None`: it begins one.
    pub joins: Option<String>,
}

/// etcd's settings as the file that its unit reads.
pub fn environment_file(settings: &Settings) -> String {
    let lines = environment(settings).into_iter();
    lines
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

/// etcd's settings, each of them also a command-line flag of etcd 3.4 by the same name.
pub fn environment(settings: &Settings) -> Vec<(String, String)> {
    let (client, peer) = (
        format!("https://{}", settings.client),
        format!("https://{}", settings.peer),
    );
    let path = |path: &Path| path.display().to_string();
    let tls = &settings.tls;
    let variables = [
        ("NAME", settings.member.clone()),
        ("DATA_DIR", path(&settings.data)),
        ("LISTEN_CLIENT_URLS", client.clone()),
        ("ADVERTISE_CLIENT_URLS", client),
        ("LISTEN_PEER_URLS", peer.clone()),
        ("INITIAL_ADVERTISE_PEER_URLS", peer.clone()),
        (
            "INITIAL_CLUSTER",
            settings
                .joins
                .clone()
                .unwrap_or(format!("{}={peer}", settings.member)),
        ),
        (
            "INITIAL_CLUSTER_TOKEN",
            format!("hamesh-{}", settings.cluster),
        ),
        (
            "INITIAL_CLUSTER_STATE",
            match settings.joins {
                Some(_) => "existing".to_owned(),
                None => "new".to_owned(),
            },
        ),
        ("TRUSTED_CA_FILE", path(&tls.ca)),
        ("CERT_FILE", path(&tls.server)),
        ("KEY_FILE", path(&tls.server)),
        ("CLIENT_CERT_AUTH", "true".to_owned()),
        ("PEER_TRUSTED_CA_FILE", path(&tls.ca)),
        ("PEER_CERT_FILE", path(&tls.server)),
        ("PEER_KEY_FILE", path(&tls.server)),
        ("PEER_CLIENT_CERT_AUTH", "true".to_owned()),
        ("HEARTBEAT_INTERVAL", HEARTBEAT_MS.to_string()),
        ("ELECTION_TIMEOUT", ELECTION_MS.to_string()),
        // A member that was cut off or stopped does not unseat the leader when it is back.
        ("PRE_VOTE", "true".to_owned()),
        ("AUTO_COMPACTION_MODE", "revision".to_owned()),
        ("AUTO_COMPACTION_RETENTION", HISTORY.to_owned()),
        ("MAX_TXN_OPS", MAX_OPERATIONS.to_owned()),
        ("LOGGER", "zap".to_owned()),
        ("LOG_LEVEL", "warn".to_owned()),
    ];
    variables
        .into_iter()
        .map(|(name, value)| (format!("ETCD_{name}"), value))
        .collect()
}
