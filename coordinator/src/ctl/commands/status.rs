//! `status`, `events` and the audit trail.

use std::time::{Duration, SystemTime};

use hamesh_proto::v1;

use super::{Session, refused};
use crate::ctl::cli::Events;
use crate::ctl::failure::Failure;
use crate::ctl::link::{Client, Link, request};
use crate::ctl::output::Form;
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{AuditView, EventView, StatusView};

/// Before a lost coordinator is tried again: it restarts in about this time.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The site as a coordinator sees it now.
pub async fn fetch(client: &mut Client) -> Result<StatusView, Failure> {
    let status = client
        .status(request(v1::StatusRequest {}))
        .await
        .map_err(refused)?;
    Ok(StatusView::from(status.into_inner()))
}

/// `status`
pub async fn status(session: &Session) -> Result<(), Failure> {
    let view = fetch(&mut session.link().await?.client).await?;
    let output = session.output;
    output.show(&view, |look| {
        screens::status(&view, view.now, output.wide(), look)
    })
}

/// `events`
pub async fn events(session: &Session, options: &Events) -> Result<(), Failure> {
    let mut link = session.link().await?;
    if options.audit {
        return audit(session, link, options.last).await;
    }
    if options.follow {
        return follow(session, link, options.last).await;
    }
    let asked = v1::EventsRequest {
        follow: false,
        after: 0,
        last: options.last,
    };
    let mut stream = link
        .client
        .events(request(asked))
        .await
        .map_err(refused)?
        .into_inner();
    let mut past = Vec::new();
    while let Some(event) = stream.message().await.map_err(refused)? {
        past.push(EventView::from(event));
    }
    let output = session.output;
    output.show(&past, |look| {
        screens::events(&past, Moment::now(), output.wide(), look)
    })
}

/// The calls that were to change something.
async fn audit(session: &Session, mut link: Link, last: u32) -> Result<(), Failure> {
    let asked = request(v1::AuditRequest { last });
    let trail = link.client.audit(asked).await.map_err(refused)?;
    let entries = trail.into_inner().entries.into_iter();
    let trail: Vec<_> = entries.map(AuditView::from).collect();
    let output = session.output;
    output.show(&trail, |look| {
        screens::audit(&trail, Moment::now(), output.wide(), look)
    })
}

/// Shows events until interrupted, without a gap or a repetition when the coordinator restarts.
async fn follow(session: &Session, first: Link, last: u32) -> Result<(), Failure> {
    let mut asked = v1::EventsRequest {
        follow: true,
        after: 0,
        last,
    };
    let mut link = Some(first);
    loop {
        let ended = match link.take() {
            Some(mut link) => {
                let ended = drain(session, &mut link.client, &mut asked).await?;
                // Another command may have renewed it meanwhile: the next link will tell.
                ended.filter(|_| !link.expired(SystemTime::now()))
            }
            None => None,
        };
        if let Some(status) = ended.filter(|status| !Link::lost(status)) {
            return Err(refused(status));
        }
        tokio::time::sleep(TRY_AGAIN).await;
        link = match session.link().await {
            Ok(link) => Some(link),
            Err(Failure::Unreachable { .. } | Failure::Leaderless) => None,
            Err(other) => return Err(other),
        };
    }
}

/// Shows what comes until the stream ends, and gives its end.
async fn drain(
    session: &Session,
    client: &mut Client,
    asked: &mut v1::EventsRequest,
) -> Result<Option<tonic::Status>, Failure> {
    let mut stream = match client.events(*asked).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return Ok(Some(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(event)) => {
                *asked = v1::EventsRequest {
                    follow: true,
                    after: event.number,
                    last: 0,
                };
                let event = EventView::from(event);
                session
                    .output
                    .show_one(&event, |look| screens::event_line(&event, look))?;
            }
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(status)),
        }
    }
}

impl Session {
    /// Whether a program reads the output.
    pub(super) fn for_programs(&self) -> bool {
        match self.output.form() {
            Form::Json | Form::Yaml => true,
            Form::Table | Form::Wide => false,
        }
    }
}
