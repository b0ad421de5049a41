//! Where orders and questions come in: lets through what is believed, and tells of what is not.
//!
//! Guarantees: nothing that is not believed reaches the loop, takes the place of an order that
//! waits there, or has anything looked at.

use std::path::Path;
use std::time::SystemTime;

use hamesh_proto::orders::{Purpose, unverified};
use hamesh_proto::v1;
use tokio::sync::watch;

use super::anchor::{Anchor, Believed};
use super::decide::{Order, Refusal};
use super::store::Store;
use crate::held::describe;
use crate::state::StateDir;

/// Takes what the agent passes on. Clones share it.
#[derive(Clone, Debug)]
pub struct Intake {
    store: Store,
    orders: watch::Sender<Option<Believed>>,
    refused: watch::Sender<Option<v1::RoleRefusal>>,
}

impl Intake {
    /// Believes whom `store` says.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            orders: watch::Sender::new(None),
            refused: watch::Sender::new(None),
        }
    }

    /// The newest order that is believed.
    pub fn orders(&self) -> watch::Receiver<Option<Believed>> {
        self.orders.subscribe()
    }

    /// What was refused last.
    pub fn refused(&self) -> watch::Receiver<Option<v1::RoleRefusal>> {
        self.refused.subscribe()
    }

    /// Takes an order.
    pub fn order(&self, signed: &v1::SignedRole) {
        match self.judge(signed, Purpose::Order) {
            Ok(order) => {
                self.orders.send_if_modified(|known| {
                    let order = Some(order);
                    let news = *known != order;
                    *known = order;
                    news
                });
            }
            Err(why) => {
                let said = unverified(signed).and_then(|it| it.order);
                self.refuse(said.unwrap_or_default(), &why);
            }
        }
    }

    /// What a question is about.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn question(&self, signed: &v1::SignedRole) -> Result<Order, Refusal> {
        let asked = self.judge(signed, Purpose::Question);
        let asked = asked.inspect_err(|why| self.refuse(v1::RoleOrder::default(), why))?;
        Order::try_from(&asked.order)
    }

    fn judge(&self, signed: &v1::SignedRole, purpose: Purpose) -> Result<Believed, Refusal> {
        let anchor = self.store.anchor();
        let anchor = anchor.inspect_err(|error| {
            tracing::error!(%error, "whose orders to believe cannot be read: {error}");
        });
        let anchor = anchor.ok().flatten().ok_or(Refusal::Unanchored)?;
        anchor.judge(signed, purpose, SystemTime::now())
    }

    fn refuse(&self, said: v1::RoleOrder, why: &Refusal) {
        tracing::error!("an order is not believed: {why}");
        self.refused.send_modify(|known| {
            let count = known.as_ref().map_or(0, |it| it.count).saturating_add(1);
            *known = Some(v1::RoleRefusal {
                digest: said.digest,
                attempt: said.attempt,
                why: why.to_string(),
                count,
            });
        });
    }
}

/// Where nobody said yet whose orders to believe, those of the site that the node is enrolled in:
/// a node that was enrolled by a release which did not know of it.
pub fn anchor_once(store: &Store, identity: &Path) {
    let anchored = || {
        if store.anchor()?.is_some() {
            return Ok(());
        }
        let credentials = StateDir::open(identity)?.identity()?;
        let Some(anchor) = credentials.as_ref().and_then(Anchor::of) else {
            return Ok(());
        };
        tracing::warn!(
            "from now on orders of coordinators of {} are believed, and no others",
            anchor.site
        );
        store.save_anchor(&anchor)
    };
    // What was ordered before is kept to all the same.
    anchored().unwrap_or_else(|error: crate::state::StateError| {
        let why = describe(&error);
        tracing::error!("whose orders to believe is not known, so none is taken: {why}");
    });
}
