//! Puts the records of a backup into an empty store.
//!
//! Guarantees: killed at any instant, the next start goes on; the store counts as filled only when
//! the site's own record is in it, which is written last, with the event that tells of it.

use super::Parts;
use super::start::StartError;
use crate::backup::rebirth::Rebirth;
use crate::config::{ConfigError, read};
use crate::ledger::{Change, EventKind, Ledger};
use crate::records::{SiteRecord, decode, keys};
use crate::store::{StoreError, Txn, Write};

/// Records of one transaction: below etcd's 128 by default.
const AT_ONCE: usize = 100;
/// Their bytes: below etcd's 1.5 MiB for a request.
const AT_ONCE_BYTES: usize = 512 * 1024;

/// Fills the store.
pub(super) async fn import(parts: &Parts, ledger: &Ledger, actor: &str) -> Result<(), StartError> {
    let path = parts.dirs.rebirth();
    let damaged = |problem: String| ConfigError::Damaged {
        path: path.clone(),
        problem,
    };
    let rebirth: Rebirth =
        serde_json::from_slice(&read(&path)?).map_err(|error| damaged(error.to_string()))?;
    let site = rebirth.entries.get(keys::SITE);
    let site = site.ok_or_else(|| damaged(format!("it holds no {}", keys::SITE)))?;
    let site: SiteRecord =
        decode(keys::SITE, site.as_bytes()).map_err(|error| damaged(error.to_string()))?;
    let mut writes = Vec::new();
    let mut bytes = 0;
    for (key, value) in rebirth.entries.iter().filter(|(key, _)| *key != keys::SITE) {
        if writes.len() >= AT_ONCE || bytes + value.len() > AT_ONCE_BYTES {
            write(ledger, std::mem::take(&mut writes)).await?;
            bytes = 0;
        }
        bytes += value.len();
        writes.push(Write::Put {
            key: key.clone(),
            value: value.clone().into_bytes(),
        });
    }
    write(ledger, writes).await?;
    let change = Change::new(actor, parts.clock.unix_ms()).create(keys::SITE, &site);
    let change = change.event(EventKind::SiteRestored, None, rebirth.text);
    Ok(ledger.commit(change).await?)
}

async fn write(ledger: &Ledger, writes: Vec<Write>) -> Result<(), StoreError> {
    let guards = Vec::new();
    ledger.store().transact(Txn { guards, writes }).await?;
    Ok(())
}
