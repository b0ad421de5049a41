//! Who keeps the store: adding, promoting and removing members.
//!
//! Guarantees: a member gets a vote only when it has all that was written; what may have been done
//! already is looked for by listing, never assumed.

use async_trait::async_trait;
use hamesh_proto::etcd as pb;
use hamesh_proto::etcd::cluster_client::ClusterClient;

use super::StoreError;
use super::etcd::{Effect, EtcdStore, bounded, retried};

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
        retried(Effect::Write, call).await.map(drop)
    }

    async fn promote(&self, id: u64) -> Result<(), StoreError> {
        let call = || {
            let mut client = ClusterClient::new(self.channel());
            let request = pb::MemberPromoteRequest { id };
            async move { client.member_promote(bounded(request)).await }
        };
        retried(Effect::Write, call).await.map(drop)
    }

    async fn remove(&self, id: u64) -> Result<(), StoreError> {
        let call = || {
            let mut client = ClusterClient::new(self.channel());
            let request = pb::MemberRemoveRequest { id };
            async move { client.member_remove(bounded(request)).await }
        };
        retried(Effect::Write, call).await.map(drop)
    }
}
