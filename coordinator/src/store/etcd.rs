//! The store's driver for etcd's v3 API.
//!
//! Guarantees, beyond the trait's: each call has a deadline; a read, and a write that provably was
//! never sent, is tried again until then; a write that may have been carried out is never sent
//! twice; a watch survives restarts of etcd and goes on where it stood.
//!
//! The idea: one HTTP/2 connection under mutual TLS, which the transport re-opens by itself. The
//! certificate files are read when the connection is built, and again by [`EtcdStore::reload`].
//!
//! Absent on purpose: endpoints of other members (the coordinator speaks to its own member, which
//! forwards), and reads that etcd calls serializable.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hamesh_proto::etcd as pb;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{
    Entry, Listing, Outcome, Revision, Span, Store, StoreError, StoreHealth, Txn, WATCH_QUEUE,
    Watch, Write, etcd_watch,
};

/// How long a call may take, its retries included.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one attempt may take: etcd answers within an fsync, or is electing a leader.
const ATTEMPT: Duration = Duration::from_secs(3);
/// The pause between attempts: short beside a restart of etcd, long beside a refused connection.
const PAUSE: Duration = Duration::from_millis(100);
/// A disk with less room is full for etcd, which writes pages of 4 KiB, several for each change.
const LEAST_FREE_BYTES: u64 = 64 * 1024;
/// Entries per page of a range: keeps an answer well under gRPC's 4 MiB.
const PAGE: i64 = 500;

/// Where the store listens, and the files of the connection to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFiles {
    /// "https://127.0.0.1:7448"
    pub url: String,
    /// The store's own CA, PEM.
    pub ca: PathBuf,
    /// The client's private key and certificate, PEM, in one file.
    pub identity: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct EtcdStore {
    files: StoreFiles,
    link: Link,
}

/// The connection of the moment: shared with the watches, so that they too use the renewed
/// certificate when they connect again.
#[derive(Debug, Clone)]
pub(super) struct Link(Arc<RwLock<Channel>>);

impl Link {
    pub fn channel(&self) -> Channel {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, channel: Channel) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = channel;
    }
}

impl StoreFiles {
    /// Whether the disk that holds these files, and the store's own, has no room left.
    fn disk_is_full(&self) -> bool {
        nix::sys::statvfs::statvfs(&self.identity)
            .is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < LEAST_FREE_BYTES)
    }
}

impl EtcdStore {
    /// Reads the files; connects at the first call. Must be called within a tokio runtime.
    pub fn open(files: StoreFiles) -> Result<Self, StoreError> {
        let link = Link(Arc::new(RwLock::new(connection(&files)?)));
        Ok(Self { files, link })
    }

    /// Reads the files again; calls from now on use a new connection.
    pub fn reload(&self) -> Result<(), StoreError> {
        self.link.replace(connection(&self.files)?);
        Ok(())
    }

    pub(super) fn channel(&self) -> Channel {
        self.link.channel()
    }

    fn kv(&self) -> pb::kv_client::KvClient<Channel> {
        pb::kv_client::KvClient::new(self.link.channel())
    }

    async fn page(
        &self,
        key: &str,
        end: &str,
        at: Option<Revision>,
    ) -> Result<pb::RangeResponse, StoreError> {
        let request = pb::RangeRequest {
            key: key.as_bytes().to_vec(),
            range_end: end.as_bytes().to_vec(),
            limit: PAGE,
            revision: at.map_or(0, |revision| revision.0),
            serializable: false,
        };
        let call = || {
            let (mut kv, request) = (self.kv(), request.clone());
            async move { kv.range(bounded(request)).await }
        };
        self.explained(retried(Effect::Read, call).await)
    }

    /// A store that fails because its disk is full does not say so: it ends.
    fn explained<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let why = |problem: String| match self.files.disk_is_full() {
            true => format!("its disk is full; {problem}"),
            false => problem,
        };
        result.map_err(|error| match error {
            StoreError::Unavailable { problem } => StoreError::Unavailable {
                problem: why(problem),
            },
            StoreError::Unconfirmed { problem } => StoreError::Unconfirmed {
                problem: why(problem),
            },
            StoreError::Foreign { .. } | StoreError::Files { .. } => error,
        })
    }

    #[cfg(test)]
    pub(crate) async fn compact(&self, revision: Revision) {
        let request = pb::CompactionRequest {
            revision: revision.0,
            physical: true,
        };
        self.kv().compact(request).await.expect("etcd compacts");
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn range(&self, span: &Span) -> Result<Listing, StoreError> {
        let mut entries = Vec::new();
        let mut at = None;
        let mut start = span.start.clone();
        loop {
            let page = self.page(&start, &span.end, at).await?;
            let revision = revision_of(page.header)?;
            at.get_or_insert(revision);
            for kv in page.kvs {
                entries.push(entry(kv)?);
            }
            match entries.last() {
                Some(last) if page.more => start = format!("{}\0", last.key),
                _ => {
                    return Ok(Listing {
                        entries,
                        revision: at.unwrap_or(revision),
                    });
                }
            }
        }
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError> {
        let effect = if txn.writes.is_empty() {
            Effect::Read
        } else {
            Effect::Write
        };
        let request = request(txn);
        let call = || {
            let (mut kv, request) = (self.kv(), request.clone());
            async move { kv.txn(bounded(request)).await }
        };
        let answer = self.explained(retried(effect, call).await)?;
        if !answer.succeeded {
            return Ok(Outcome::Conflict);
        }
        Ok(Outcome::Committed(revision_of(answer.header)?))
    }

    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError> {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        tokio::spawn(etcd_watch::follow(self.link.clone(), span, from, sender));
        Ok(Watch { receiver })
    }

    async fn health(&self) -> Result<StoreHealth, StoreError> {
        let status = || {
            let mut client = pb::maintenance_client::MaintenanceClient::new(self.link.channel());
            async move { client.status(bounded(pb::StatusRequest {})).await }
        };
        let members = || {
            let mut client = pb::cluster_client::ClusterClient::new(self.link.channel());
            async move { client.member_list(bounded(pb::MemberListRequest {})).await }
        };
        let status = self.explained(retried(Effect::Read, status).await)?;
        let members = retried(Effect::Read, members).await?;
        Ok(StoreHealth {
            version: status.version,
            size_bytes: u64::try_from(status.db_size).unwrap_or(0),
            members: u32::try_from(members.members.len()).unwrap_or(u32::MAX),
            alarms: status.errors,
        })
    }
}

/// Whether a call that was sent twice would do harm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

pub(super) async fn retried<T, F>(effect: Effect, call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = match tokio::time::timeout(ATTEMPT, call()).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => tonic::Status::deadline_exceeded("no answer in time"),
        };
        let problem = words(&status);
        let harmless = effect == Effect::Read || never_sent(&status);
        match fate(status.code()) {
            Fate::Refused => return Err(StoreError::Unavailable { problem }),
            Fate::Open if !harmless => return Err(StoreError::Unconfirmed { problem }),
            Fate::Open if Instant::now() + PAUSE >= deadline => {
                return Err(StoreError::Unavailable { problem });
            }
            Fate::Open => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// What an error says about the call.
enum Fate {
    /// It was looked at and not carried out; again would be the same.
    Refused,
    /// It may have been carried out, or may be if it is tried again.
    Open,
}

fn fate(code: tonic::Code) -> Fate {
    use tonic::Code;
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Fate::Refused,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Fate::Open,
    }
}

/// Whether the error shows that no connection came about, so that nothing was sent.
fn never_sent(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// The status with its causes, which tonic's own `Display` leaves out.
pub(super) fn words(status: &tonic::Status) -> String {
    let mut words = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let next = error.to_string();
        if !words.contains(&next) {
            words = if words.is_empty() {
                next
            } else {
                format!("{words}: {next}")
            };
        }
        source = error.source();
    }
    if words.is_empty() {
        status.code().to_string()
    } else {
        words
    }
}

pub(super) fn bounded<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(ATTEMPT);
    request
}

fn connection(files: &StoreFiles) -> Result<Channel, StoreError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| StoreError::Files {
            problem: format!("{}: {error}", path.display()),
        })
    };
    let unusable = |error: tonic::transport::Error| StoreError::Files {
        problem: format!("{}: {error:?}", files.identity.display()),
    };
    let identity = read(&files.identity)?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&files.ca)?))
        .identity(Identity::from_pem(&identity, &identity));
    let endpoint = Endpoint::from_shared(files.url.clone())
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(unusable)?
        .connect_timeout(ATTEMPT)
        .http2_keep_alive_interval(ATTEMPT)
        .keep_alive_timeout(ATTEMPT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

fn request(txn: Txn) -> pb::TxnRequest {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let compare = txn.guards.into_iter().map(|guard| pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: guard.key.into_bytes(),
        // etcd: a key that does not exist has modification revision 0.
        target_union: Some(TargetUnion::ModRevision(
            guard.revision.map_or(0, |at| at.0),
        )),
    });
    let success = txn.writes.into_iter().map(|write| pb::RequestOp {
        request: Some(match write {
            Write::Put { key, value } => pb::request_op::Request::RequestPut(pb::PutRequest {
                lease: 0,
                key: key.into_bytes(),
                value,
            }),
            Write::Delete { key } => {
                pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
                    key: key.into_bytes(),
                    range_end: Vec::new(),
                })
            }
        }),
    });
    pb::TxnRequest {
        compare: compare.collect(),
        success: success.collect(),
        failure: Vec::new(),
    }
}

fn entry(kv: pb::KeyValue) -> Result<Entry, StoreError> {
    Ok(Entry {
        key: key(kv.key)?,
        value: kv.value,
        revision: Revision(kv.mod_revision),
    })
}

pub(super) fn key(bytes: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|error| StoreError::Foreign {
        problem: format!(
            "a key that is not text: {:?}",
            String::from_utf8_lossy(error.as_bytes())
        ),
    })
}

fn revision_of(header: Option<pb::ResponseHeader>) -> Result<Revision, StoreError> {
    header
        .map(|header| Revision(header.revision))
        .ok_or_else(|| StoreError::Foreign {
            problem: "an answer of the store without a header".to_owned(),
        })
}
