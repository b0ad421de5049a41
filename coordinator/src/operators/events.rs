//! Reading and following the event log.

use std::sync::Arc;

use hamesh_proto::tls::PeerIdentity;
use hamesh_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::OperatorsService;
use crate::core::Core;
use crate::records::{EventRecord, OperatorAccess};

/// Events that may wait for a slow reader; what waits beyond that waits in the log.
const QUEUE: usize = 64;

type Sender = mpsc::Sender<Result<v1::Event, Status>>;

impl OperatorsService {
    pub(super) async fn stream_events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<ReceiverStream<Result<v1::Event, Status>>, Status> {
        let caller = self.caller(&request, OperatorAccess::Viewer).await?;
        let permit = self.stream_permit()?;
        let message = request.into_inner();
        let newest = self.core.ledger.newest_event().await?;
        let after = match (message.after, u64::from(message.last)) {
            (0, 0) => 0,
            (0, last) => newest.saturating_sub(last),
            (after, _) => after,
        };
        let (sender, stream) = mpsc::channel(QUEUE);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let sent = match message.follow {
                true => follow(&core, &caller.peer, after, &sender).await,
                false => read(&core, after, newest, &sender).await,
            };
            if let Err(status) = sent {
                let _ = sender.send(Err(status)).await;
            }
            drop(permit);
        });
        Ok(ReceiverStream::new(stream))
    }

    /// The right to one long stream.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted("too many streams are open; close some and try again")
        })
    }
}

/// What was there when it was asked for.
async fn read(core: &Core, mut after: u64, until: u64, sender: &Sender) -> Result<(), Status> {
    while after < until {
        let events = core.ledger.events_after(after).await?;
        let Some(newest) = events.last().map(|event| event.number) else {
            return Ok(());
        };
        after = newest;
        if !hand_on(events, sender).await {
            return Ok(());
        }
    }
    Ok(())
}

/// What was there, and then whatever comes.
async fn follow(
    core: &Core,
    peer: &PeerIdentity,
    after: u64,
    sender: &Sender,
) -> Result<(), Status> {
    let mut follow = core.ledger.follow(after).await?;
    loop {
        let events = tokio::select! {
            events = follow.next(&core.ledger) => events?,
            () = sender.closed() => return Ok(()),
            refusal = core.shut_out(peer) => return Err(refusal),
            () = core.stopped() => {
                return Err(Status::unavailable("this coordinator stops; follow again"));
            }
        };
        if !hand_on(events, sender).await {
            return Ok(());
        }
    }
}

/// `false`: the reader is gone.
async fn hand_on(events: Vec<EventRecord>, sender: &Sender) -> bool {
    for event in events {
        if sender.send(Ok(event_message(event))).await.is_err() {
            return false;
        }
    }
    true
}

/// As the contract has it.
pub(super) fn event_message(event: EventRecord) -> v1::Event {
    v1::Event {
        number: event.number,
        at_unix_ms: event.at_unix_ms,
        kind: event.kind,
        node: event.node,
        text: event.text,
        actor: event.actor,
    }
}
