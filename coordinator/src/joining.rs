//! How a machine becomes a coordinator, as the leader sees it.
//!
//! ```text
//! added --its machine asks by its agent's identity--> joining --its store has all--> member
//!        (CAs, seal key, store's members: sent)       (a learner)  (gets its vote)
//! ```
//! Guarantees: only the node that an admin added is given what makes a coordinator, and only until
//! it is one; a store that would lose its majority by a new member's slowness does not, for a
//! member without everything has no vote.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::{ports, v1};
use tonic::Status;
use zeroize::Zeroizing;

use crate::config::{ConfigError, read};
use crate::core::Core;
use crate::ledger::{CommitError, EventKind, Kept, ReadError};
use crate::records::{CoordinatorPart, CoordinatorRecord, keys};
use crate::store::{Membership, StoreError, StoreMember};

/// How often it is looked at whether a new member has caught up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a machine is not brought further. It is tried again.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What makes the machine of `node` a coordinator.
pub async fn join(core: &Core, node: &NodeId) -> Result<v1::JoinAnswer, Status> {
    let key = keys::coordinator(node);
    let kept: Option<Kept<CoordinatorRecord>> = core.ledger.read(&key).await?;
    let kept = kept.filter(|kept| match kept.value.part {
        CoordinatorPart::Added | CoordinatorPart::Joining => true,
        CoordinatorPart::Member => false,
    });
    let kept = kept.ok_or_else(|| {
        Status::permission_denied(format!(
            "{node} was not added as a coordinator, or is one already; nothing was sent; an admin \
             runs `coordctl coordinator add {node}`, after `coordctl coordinator remove {node}` if \
             its machine is a new one"
        ))
    })?;
    let own_url = peer_url(core, node)?;
    core.leadership.has_company();
    let store_members = match &core.members {
        Some(members) => invite(members.as_ref(), node, &own_url).await?,
        None => format!("{node}={own_url}"),
    };
    let record = CoordinatorRecord {
        part: CoordinatorPart::Joining,
        ..kept.value.clone()
    };
    let change = core.change(format!("agent/{node}")).replace(&kept, &record);
    core.ledger.commit(change).await?;
    let text = |path| {
        let bytes = Zeroizing::new(read(path).map_err(unreadable)?);
        let text = std::str::from_utf8(&bytes).map(str::to_owned);
        text.map_err(|error| Status::internal(format!("{}: {error}", path.display())))
    };
    let (ca, store_ca) = (core.dirs.ca(), core.dirs.store_ca());
    Ok(v1::JoinAnswer {
        ca_pem: text(&ca)?,
        store_ca_pem: text(&store_ca)?,
        seal_key: read(&core.dirs.seal_key()).map_err(unreadable)?,
        store_members,
        yaml: core.world().desired.record.yaml.clone(),
    })
}

fn unreadable(error: ConfigError) -> Status {
    Status::internal(error.to_string())
}

/// Where the node's store is reached by its peers.
pub fn peer_url(core: &Core, node: &NodeId) -> Result<String, Status> {
    let world = core.world();
    let ip = world.desired.site.management_address(node);
    let ip = ip.ok_or_else(|| Status::not_found(format!("the site has no node {node}")))?;
    let address = std::net::SocketAddr::new(ip, ports::STORE_PEER);
    Ok(format!("https://{address}"))
}

/// Makes the store expect a member there; gives all members as a new one is to know them.
async fn invite(members: &dyn Membership, node: &NodeId, url: &str) -> Result<String, StoreError> {
    let mut present = members.members().await?;
    if !present.iter().any(|member| member.peer_url == url) {
        members.add_learner(url).await?;
        present = members.members().await?;
    }
    let name = |member: &StoreMember| match member.peer_url == url {
        true => node.to_string(),
        false => member.name.clone(),
    };
    let named: Vec<String> = present
        .iter()
        .map(|member| format!("{}={}", name(member), member.peer_url))
        .collect();
    Ok(named.join(","))
}

/// Gives new members their vote as soon as they have everything. Runs for ever.
pub async fn settle(core: Arc<Core>) {
    let mut told = false;
    loop {
        let world = core.world();
        let joining = world.coordinators.iter();
        let joining = joining.filter(|(_, record)| record.part == CoordinatorPart::Joining);
        for (node, _) in joining {
            match promote(&core, node).await {
                Ok(()) => told = false,
                Err(problem) if !told => {
                    tracing::info!(%problem, AGENT = %node, "a new coordinator's store is awaited");
                    told = true;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn promote(core: &Core, node: &NodeId) -> Result<(), SettleError> {
    if let (Some(members), Ok(url)) = (&core.members, peer_url(core, node)) {
        let present = members.members().await?;
        match present.iter().find(|member| member.peer_url == url) {
            Some(member) if member.learner => members.promote(member.id).await?,
            Some(_) => {}
            // It was removed meanwhile: the next look shows that.
            None => return Ok(()),
        }
    }
    let kept: Option<Kept<CoordinatorRecord>> = core.ledger.read(&keys::coordinator(node)).await?;
    let Some(kept) = kept.filter(|kept| kept.value.part == CoordinatorPart::Joining) else {
        return Ok(());
    };
    let record = CoordinatorRecord {
        part: CoordinatorPart::Member,
        ..kept.value.clone()
    };
    let change = core.own_change().replace(&kept, &record).event(
        EventKind::CoordinatorJoined,
        Some(node),
        format!("{node} is a coordinator: its store has a vote"),
    );
    Ok(core.ledger.commit(change).await?)
}
