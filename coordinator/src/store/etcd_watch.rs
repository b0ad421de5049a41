//! Follows one range of etcd, across restarts and broken connections.
//!
//! Guarantees: every change from the asked revision on is delivered once, in order, one
//! transaction at a time; the task ends when nobody listens any more.

use std::time::Duration;

use hamesh_proto::etcd as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::etcd::{Link, key, words};
use super::{Batch, Revision, Span, WatchError};

/// The pause before a broken watch is opened again.
const PAUSE: Duration = Duration::from_millis(200);

type Sender = mpsc::Sender<Result<Batch, WatchError>>;

/// Runs until the receiver is dropped or the watch cannot go on.
pub(super) async fn follow(link: Link, span: Span, from: Revision, sender: Sender) {
    let mut cursor = Cursor {
        span,
        next: from,
        sender: sender.clone(),
    };
    loop {
        let ended = tokio::select! {
            ended = cursor.connected(link.channel()) => ended,
            () = sender.closed() => return,
        };
        match ended {
            Ended::Broken(problem) => tracing::debug!(%problem, "store watch broke, reopening"),
            Ended::Final(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why one connection's watch is over.
enum Ended {
    /// Go on with another connection.
    Broken(String),
    Final(WatchError),
}

struct Cursor {
    span: Span,
    /// The first revision that was not delivered yet.
    next: Revision,
    sender: Sender,
}

impl Cursor {
    async fn connected(&mut self, channel: Channel) -> Ended {
        let (requests, outgoing) = mpsc::channel(1);
        let create = pb::WatchCreateRequest {
            key: self.span.start.as_bytes().to_vec(),
            range_end: self.span.end.as_bytes().to_vec(),
            start_revision: self.next.0,
            progress_notify: false,
        };
        let create = pb::watch_request::RequestUnion::CreateRequest(create);
        if requests
            .send(pb::WatchRequest {
                request_union: Some(create),
            })
            .await
            .is_err()
        {
            return Ended::Broken("the request stream closed".to_owned());
        }
        let mut client = pb::watch_client::WatchClient::new(channel);
        let mut answers = match client.watch(ReceiverStream::new(outgoing)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ended::Broken(words(&status)),
        };
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ended::Broken("the stream ended".to_owned()),
                Err(status) => return Ended::Broken(words(&status)),
            };
            if let Err(ended) = self.take(answer).await {
                return ended;
            }
        }
    }

    async fn take(&mut self, answer: pb::WatchResponse) -> Result<(), Ended> {
        if answer.compact_revision != 0 {
            return Err(Ended::Final(WatchError::Compacted));
        }
        if answer.canceled {
            return Err(Ended::Final(WatchError::Refused(answer.cancel_reason)));
        }
        for batch in batches(answer.events)? {
            self.next = batch.revision.next();
            if self.sender.send(Ok(batch)).await.is_err() {
                return Err(Ended::Final(WatchError::Closed));
            }
        }
        Ok(())
    }
}

/// One answer may hold several transactions, in order; etcd never splits one over two answers
/// unless asked to.
fn batches(events: Vec<pb::Event>) -> Result<Vec<Batch>, Ended> {
    let mut batches: Vec<Batch> = Vec::new();
    for event in events {
        let deleted = event.r#type() == pb::event::EventType::Delete;
        let Some(kv) = event.kv else {
            return Err(Ended::Broken("an event without a key".to_owned()));
        };
        let revision = Revision(kv.mod_revision);
        let key =
            key(kv.key).map_err(|error| Ended::Final(WatchError::Refused(error.to_string())))?;
        let change = (key, (!deleted).then_some(kv.value));
        match batches.last_mut() {
            Some(batch) if batch.revision == revision => batch.changes.push(change),
            _ => batches.push(Batch {
                revision,
                changes: vec![change],
            }),
        }
    }
    Ok(batches)
}
