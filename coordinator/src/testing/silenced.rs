//! A store that stops answering when it is told to.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::store::{
    Listing, MemoryStore, Outcome, Revision, Span, Store, StoreError, StoreHealth, Txn, Watch,
};

/// A store that can be silenced.
#[derive(Debug, Default)]
pub(crate) struct Silenced {
    inner: MemoryStore,
    pub silent: AtomicBool,
}

impl Silenced {
    fn check(&self) -> Result<(), StoreError> {
        if self.silent.load(Ordering::Relaxed) {
            let problem = "silenced".to_owned();
            return Err(StoreError::Unavailable { problem });
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Silenced {
    async fn range(&self, span: &Span) -> Result<Listing, StoreError> {
        self.check()?;
        self.inner.range(span).await
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError> {
        self.check()?;
        self.inner.transact(txn).await
    }

    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError> {
        self.check()?;
        self.inner.watch(span, from).await
    }

    async fn health(&self) -> Result<StoreHealth, StoreError> {
        self.check()?;
        self.inner.health().await
    }
}
