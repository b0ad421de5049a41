//! Measures every call to a store, whatever the store.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus::{HistogramVec, IntCounterVec};

use super::{Listing, Outcome, Revision, Span, Store, StoreError, StoreHealth, Txn, Watch};

/// See the module.
#[derive(Debug)]
pub struct MeteredStore {
    inner: Arc<dyn Store>,
    /// Label: operation.
    seconds: HistogramVec,
    /// Labels: operation.
    failures: IntCounterVec,
}

impl MeteredStore {
    /// Both families have the one label `operation`.
    pub fn new(inner: Arc<dyn Store>, seconds: HistogramVec, failures: IntCounterVec) -> Self {
        Self {
            inner,
            seconds,
            failures,
        }
    }

    async fn measured<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timer = self.seconds.with_label_values(&[operation]).start_timer();
        let result = call.await;
        timer.observe_duration();
        if result.is_err() {
            self.failures.with_label_values(&[operation]).inc();
        }
        result
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn range(&self, span: &Span) -> Result<Listing, StoreError> {
        self.measured("range", self.inner.range(span)).await
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError> {
        self.measured("transact", self.inner.transact(txn)).await
    }

    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError> {
        self.measured("watch", self.inner.watch(span, from)).await
    }

    async fn health(&self) -> Result<StoreHealth, StoreError> {
        self.measured("health", self.inner.health()).await
    }
}
