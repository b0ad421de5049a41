//! Backups that operators ask for, and the key of those that are made by the clock.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::hex;
use hamesh_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::OperatorsService;
use crate::backup::{BackupKey, Snapshot, SnapshotError, schedule};
use crate::core::Core;
use crate::ledger::{EventKind, Kept, ReadError};
use crate::records::{BackupKeyRecord, BackupsRecord, OperatorAccess, keys};

/// The length of a piece: well under gRPC's 4 MiB.
const PIECE: usize = 256 * 1024;

type Pieces = ReceiverStream<Result<v1::BackupPiece, Status>>;

impl OperatorsService {
    pub(super) async fn send_backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Pieces, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let permit = self.stream_permit()?;
        let key = key_of(request.into_inner().key)?;
        let snapshot = Snapshot::take(&self.core).await.map_err(refusal)?;
        let bytes = snapshot.sealed(&key);
        let text = format!("{} took a backup of {} bytes", caller.name, bytes.len());
        let change = self.core.change(caller.path());
        let change = change.event(EventKind::BackupTaken, None, text);
        self.core.ledger.commit(change).await?;
        let (sender, stream) = mpsc::channel(4);
        tokio::spawn(async move {
            for piece in bytes.chunks(PIECE) {
                let data = piece.to_vec();
                if sender.send(Ok(v1::BackupPiece { data })).await.is_err() {
                    break;
                }
            }
            drop(permit);
        });
        Ok(ReceiverStream::new(stream))
    }

    pub(super) async fn keep_backup_key(
        &self,
        request: Request<v1::SetBackupKeyRequest>,
    ) -> Result<v1::BackupKeyIsSet, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let key = key_of(request.into_inner().key)?;
        let sealed = self
            .core
            .seal
            .seal(keys::BACKUP_KEY.as_bytes(), key.secret());
        let record = BackupKeyRecord {
            salt: hex::encode(&key.salt),
            iterations: key.iterations,
            sealed: STANDARD.encode(sealed),
        };
        let kept: Option<Kept<BackupKeyRecord>> = self.core.ledger.read(keys::BACKUP_KEY).await?;
        let text = format!(
            "{} set the passphrase of the scheduled backups",
            caller.name
        );
        let change = self.core.change(caller.path());
        let change = change.put(keys::BACKUP_KEY, kept.as_ref(), &record);
        let change = change.event(EventKind::BackupKeySet, None, text);
        self.core.ledger.commit(change).await?;
        Ok(v1::BackupKeyIsSet {})
    }
}

/// How the scheduled backups are; `None`: none are wanted, or the store does not say.
pub(super) async fn status(core: &Core) -> Option<v1::BackupStatus> {
    let wanted = core.world().desired.site.backups.clone()?;
    let read: Result<Option<Kept<BackupsRecord>>, ReadError> =
        core.ledger.read(keys::BACKUPS).await;
    let record = read
        .ok()?
        .map_or_else(BackupsRecord::default, |kept| kept.value);
    let now_unix_ms = core.clock.unix_ms();
    let last = record.last.as_ref();
    Some(v1::BackupStatus {
        every_s: wanted.every.as_secs(),
        last_unix_ms: last.map_or(0, |last| last.at_unix_ms),
        last_file: last.map_or_else(String::new, |last| {
            format!("{}:{}", last.coordinator, last.file)
        }),
        last_bytes: last.map_or(0, |last| last.bytes),
        overdue: schedule::overdue(&record, wanted.every, now_unix_ms),
        problem: record
            .failed
            .map_or_else(String::new, |failed| failed.problem),
    })
}

fn key_of(key: Option<v1::BackupKey>) -> Result<BackupKey, Status> {
    let refused = |problem: String| Status::invalid_argument(format!("{problem}; nothing changed"));
    let key = key.ok_or_else(|| refused("the request brings no key".to_owned()))?;
    BackupKey::try_from(key).map_err(|error| refused(error.to_string()))
}

fn refusal(error: SnapshotError) -> Status {
    match error {
        SnapshotError::Store(error) => error.into(),
        SnapshotError::Unreadable(_)
        | SnapshotError::Later(_)
        | SnapshotError::Record(_)
        | SnapshotError::Site(_)
        | SnapshotError::Ring(_)
        | SnapshotError::Missing(_)
        | SnapshotError::Ca(_) => Status::internal(error.to_string()),
    }
}
