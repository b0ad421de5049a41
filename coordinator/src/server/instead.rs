//! In the place of a service that is not served now: every call has one answer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// What is answered.
pub(super) type Answer = Arc<dyn Fn() -> Status + Send + Sync>;

/// In the place of the service `S`.
pub(super) struct Instead<S> {
    answer: Answer,
    _of: PhantomData<fn() -> S>,
}

impl<S> Instead<S> {
    pub fn new(answer: Answer) -> Self {
        Self {
            answer,
            _of: PhantomData,
        }
    }
}

impl<S> Clone for Instead<S> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.answer))
    }
}

impl<S: NamedService> NamedService for Instead<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Instead<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let status = (self.answer)();
        ready(Ok(status.into_http()))
    }
}
