//! The event log: its kinds, and following it without a gap or a repeat.

use super::{EVENTS_KEPT, Ledger, ReadError, kept};
use crate::records::{EventRecord, keys};
use crate::store::{Span, StoreError, Watch, WatchError};

/// Events per read: bounds what one follower holds in memory.
const PAGE: u64 = 500;

/// What happened. The names are stable: operators filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is its documentation")]
pub enum EventKind {
    SiteInitialised,
    SiteRestored,
    SiteApplied,
    CoordinatorStarted,
    CoordinatorAdded,
    CoordinatorJoined,
    CoordinatorRemoved,
    NodeAssigned,
    NodeEnrolled,
    NodeReEnrolled,
    NodeReEnrolOpened,
    NodeRemoved,
    NodeAlive,
    NodeSuspect,
    NodeDead,
    NodeUnknown,
    NodeDuplicate,
    NodeRefusedAssignment,
    TokenCreated,
    TokenRevoked,
    OperatorAdded,
    OperatorRemoved,
    OperatorRenewed,
    ClaimGranted,
    ClaimMoved,
    ClaimVacant,
    ClaimAdopted,
    ClaimKept,
    ClaimGroup,
    ClaimPaused,
    ClaimResumed,
    ClaimFenced,
    ClaimDuplicate,
    ClaimAlone,
    ClaimBreakGlass,
    ClaimUnable,
    NodeDrained,
    NodeUndrained,
    GossipRotationStarted,
    GossipRotationSkipped,
    GossipRotationFinished,
    BackupMade,
    BackupFailed,
    BackupTaken,
    BackupKeySet,
    UpgradeStarted,
    UpgradeStep,
    UpgradeDone,
    UpgradeFailed,
    RoleApplied,
    RoleFailed,
    RoleRetried,
    SecretSet,
    DatabaseSwitchedOver,
    DatabaseRestarted,
    DatabaseReinitialised,
}

impl EventKind {
    /// The dotted name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SiteInitialised => "site.initialised",
            Self::SiteRestored => "site.restored",
            Self::SiteApplied => "site.applied",
            Self::CoordinatorStarted => "coordinator.started",
            Self::CoordinatorAdded => "coordinator.added",
            Self::CoordinatorJoined => "coordinator.joined",
            Self::CoordinatorRemoved => "coordinator.removed",
            Self::NodeAssigned => "node.assigned",
            Self::NodeEnrolled => "node.enrolled",
            Self::NodeReEnrolled => "node.re_enrolled",
            Self::NodeReEnrolOpened => "node.re_enrol_opened",
            Self::NodeRemoved => "node.removed",
            Self::NodeAlive => "node.alive",
            Self::NodeSuspect => "node.suspect",
            Self::NodeDead => "node.dead",
            Self::NodeUnknown => "node.unknown",
            Self::NodeDuplicate => "node.duplicate",
            Self::NodeRefusedAssignment => "node.refused_assignment",
            Self::TokenCreated => "token.created",
            Self::TokenRevoked => "token.revoked",
            Self::OperatorAdded => "operator.added",
            Self::OperatorRemoved => "operator.removed",
            Self::OperatorRenewed => "operator.renewed",
            Self::ClaimGranted => "claim.granted",
            Self::ClaimMoved => "claim.moved",
            Self::ClaimVacant => "claim.vacant",
            Self::ClaimAdopted => "claim.adopted",
            Self::ClaimKept => "claim.kept",
            Self::ClaimGroup => "claim.group",
            Self::ClaimPaused => "claim.paused",
            Self::ClaimResumed => "claim.resumed",
            Self::ClaimFenced => "claim.fenced",
            Self::ClaimDuplicate => "claim.duplicate",
            Self::ClaimAlone => "claim.alone",
            Self::ClaimBreakGlass => "claim.break_glass",
            Self::ClaimUnable => "claim.unable",
            Self::NodeDrained => "node.drained",
            Self::NodeUndrained => "node.undrained",
            Self::GossipRotationStarted => "gossip.rotation_started",
            Self::GossipRotationSkipped => "gossip.rotation_skipped",
            Self::GossipRotationFinished => "gossip.rotation_finished",
            Self::RoleApplied => "role.applied",
            Self::RoleFailed => "role.failed",
            Self::RoleRetried => "role.retried",
            Self::SecretSet => "secret.set",
            Self::DatabaseSwitchedOver => "database.switched_over",
            Self::DatabaseRestarted => "database.restarted",
            Self::DatabaseReinitialised => "database.reinitialised",
            Self::BackupMade => "backup.made",
            Self::BackupFailed => "backup.failed",
            Self::BackupTaken => "backup.taken",
            Self::BackupKeySet => "backup.passphrase_set",
            Self::UpgradeStarted => "upgrade.started",
            Self::UpgradeStep => "upgrade.step",
            Self::UpgradeDone => "upgrade.done",
            Self::UpgradeFailed => "upgrade.failed",
        }
    }
}

/// Why following ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store broke the stream off.
    #[error(transparent)]
    Watch(WatchError),
}

impl From<StoreError> for FollowError {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

impl Ledger {
    /// The kept events with a number above `after`, up to [`PAGE`] of them, oldest first.
    pub async fn events_after(&self, after: u64) -> Result<Vec<EventRecord>, ReadError> {
        let newest = self.newest_event().await?;
        let first = (after + 1).max((newest + 1).saturating_sub(EVENTS_KEPT));
        let end = newest.min(first.saturating_add(PAGE - 1));
        if first > end {
            return Ok(Vec::new());
        }
        let span = Span {
            start: keys::event(first),
            end: keys::event(end + 1),
        };
        let listing = self.store.range(&span).await?;
        listing
            .entries
            .into_iter()
            .map(|entry| Ok(kept(entry)?.value))
            .collect()
    }

    /// The newest `count` events, oldest first.
    pub async fn last_events(&self, count: u64) -> Result<Vec<EventRecord>, ReadError> {
        let newest = self.newest_event().await?;
        self.events_after(newest.saturating_sub(count.min(PAGE)))
            .await
    }

    /// The number of the newest event; 0 before the first.
    pub async fn newest_event(&self) -> Result<u64, ReadError> {
        Ok(self.read_head().await?.number)
    }

    /// Follows the log from behind event `after` on.
    pub async fn follow(&self, after: u64) -> Result<Follow, FollowError> {
        Ok(Follow {
            watch: self.watch_events().await?,
            after,
        })
    }

    async fn watch_events(&self) -> Result<Watch, FollowError> {
        let head = Span::key(keys::EVENTS_HEAD);
        let revision = self.store.range(&head).await?.revision;
        Ok(self.store.watch(head, revision.next()).await?)
    }
}

/// Events as they come: first those that were there, then the new ones.
#[derive(Debug)]
pub struct Follow {
    /// Only wakes: the events themselves are read from the log, so that nothing that happens to
    /// the watch can lose or repeat one.
    watch: Watch,
    /// The newest event that was handed out.
    after: u64,
}

impl Follow {
    /// The next events, at least one. Each number once, in order; a gap only where the log itself
    /// has forgotten.
    pub async fn next(&mut self, ledger: &Ledger) -> Result<Vec<EventRecord>, FollowError> {
        loop {
            let events = ledger.events_after(self.after).await?;
            if let Some(newest) = events.last() {
                self.after = newest.number;
                return Ok(events);
            }
            match self.watch.next().await {
                Ok(_) => {}
                Err(WatchError::Compacted) => self.watch = ledger.watch_events().await?,
                Err(error) => return Err(FollowError::Watch(error)),
            }
        }
    }
}
