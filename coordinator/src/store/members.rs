//! Who keeps the store: adding, promoting and removing members.
//!
//! Guarantees: a member gets a vote only when it has all that was written; what may have been done
//! already is looked for by listing, never assumed.

use std::time::Duration;

use async_trait::async_trait;
use hamesh_proto::etcd as pb;
use hamesh_proto::etcd::cluster_client::ClusterClient;
use tokio::time::{Instant, sleep};

use super::StoreError;
use super::etcd::{Effect, EtcdStore, bounded, retried};

/// What etcd says while it does not count enough members as healthy: it refuses a change before
/// anything is done. One that has just started counts from 5 s after its connection.
const UNHEALTHY: &str = "etcdserver: unhealthy cluster";
/// How long a change waits for that.
const HEALTHY_WITHIN: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(250);

/// A member of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMember {
    /// The store's own number for it.
    pub id: u64,
    /// Empty until it has started for the first time.
    pub name: String,
    /// Where its peers reach it.
    pub peer_url: String,
    /// It listens and has no vote.
    pub learner: bool,
}

/// The store's membership.
#[async_trait]
pub trait Membership: Send + Sync + std::fmt::Debug {
    /// All members.
    async fn members(&self) -> Result<Vec<StoreMember>, StoreError>;
    /// Adds a member without a vote.
    async fn add_learner(&self, peer_url: &str) -> Result<(), StoreError>;
    /// Gives a member its vote. Refused while it lags behind.
    async fn promote(&self, id: u64) -> Result<(), StoreError>;
    /// Removes a member.
    async fn remove(&self, id: u64) -> Result<(), StoreError>;
}

#[async_trait]
impl Membership for EtcdStore {
    async fn members(&self) -> Result<Vec<StoreMember>, StoreError> {
        let call = || {
            let mut client = ClusterClient::new(self.channel());
            async move { client.member_list(bounded(pb::MemberListRequest {})).await }
        };
        let listed = retried(Effect::Read, call).await?;
        let member = |member: pb::Member| StoreMember {
            id: member.id,
            name: member.name,
            peer_url: member.peer_ur_ls.into_iter().next().unwrap_or_default(),
            learner: member.is_learner,
        };
        Ok(listed.members.into_iter().map(member).collect())
    }

    async fn add_learner(&self, peer_url: &str) -> Result<(), StoreError> {
        let request = pb::MemberAddRequest {
            peer_ur_ls: vec![peer_url.to_owned()],
            is_learner: true,
        };
        let call = || {
            let (mut client, request) = (ClusterClient::new(self.channel()), request.clone());
            async move { client.member_add(bounded(request)).await }
        };
        changed(HEALTHY_WITHIN, call).await
    }

    async fn promote(&self, id: u64) -> Result<(), StoreError> {
        let call = || {
            let mut client = ClusterClient::new(self.channel());
            let request = pb::MemberPromoteRequest { id };
            async move { client.member_promote(bounded(request)).await }
        };
        changed(HEALTHY_WITHIN, call).await
    }

    async fn remove(&self, id: u64) -> Result<(), StoreError> {
        let call = || {
            let mut client = ClusterClient::new(self.channel());
            let request = pb::MemberRemoveRequest { id };
            async move { client.member_remove(bounded(request)).await }
        };
        changed(HEALTHY_WITHIN, call).await
    }
}

/// Changes the membership, once the store lets itself be changed.
async fn changed<T, F>(within: Duration, call: impl Fn() -> F) -> Result<(), StoreError>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    let deadline = Instant::now() + within;
    loop {
        match retried(Effect::Write, &call).await {
            Err(StoreError::Unconfirmed { problem }) if problem.contains(UNHEALTHY) => {
                if Instant::now() >= deadline {
                    return Err(StoreError::Unavailable { problem });
                }
                sleep(PAUSE).await;
            }
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Refused so many times, then carried out.
    async fn refused(times: u32, message: &str, within: Duration) -> (Result<(), StoreError>, u32) {
        let asked = AtomicU32::new(0);
        let call = || async {
            match asked.fetch_add(1, Ordering::Relaxed) < times {
                true => Err(tonic::Status::unavailable(message)),
                false => Ok(tonic::Response::new(())),
            }
        };
        let outcome = changed(within, call).await;
        (outcome, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_change_waits_until_the_store_counts_its_members_as_healthy() {
        let (outcome, asked) = refused(3, UNHEALTHY, HEALTHY_WITHIN).await;
        assert_eq!((outcome.is_ok(), asked), (true, 4));
        let (outcome, _) = refused(u32::MAX, UNHEALTHY, 2 * PAUSE).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn a_change_that_may_have_been_made_is_not_made_again() {
        let (outcome, asked) = refused(1, "the connection broke", HEALTHY_WITHIN).await;
        assert!(matches!(outcome, Err(StoreError::Unconfirmed { .. })));
        assert_eq!(asked, 1);
    }
}
