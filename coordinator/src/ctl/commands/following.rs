//! Following something to its end on whichever coordinator leads.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Session;
use crate::ctl::failure::Failure;
use crate::ctl::link::Link;

/// How long the next leader may be looked for: a site's only coordinator is restarted, with its
/// store.
const PATIENCE: Duration = Duration::from_secs(120);
/// Before the leader is looked for again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How a stream ended.
pub enum End {
    /// With what it was to tell.
    Finished,
    /// Without an end: whoever leads next goes on.
    Lost(Lost),
}

/// A stream that was lost.
pub struct Lost {
    /// Why.
    pub text: String,
    /// Whether anything was heard by it.
    pub heard: bool,
}

/// Listens to its end; what was lost goes on with the next leader. `given_up` is the failure when
/// there is none for too long, from what was lost last.
pub async fn whoever_leads(
    session: &Session,
    first: Link,
    mut listen: impl AsyncFnMut(&mut Link) -> Result<End, Failure>,
    given_up: impl Fn(&str) -> Failure,
) -> Result<(), Failure> {
    let (mut link, mut lost_at) = (Some(first), Instant::now());
    loop {
        let lost = match link.take() {
            Some(mut link) => match listen(&mut link).await? {
                End::Finished => return Ok(()),
                End::Lost(why) => {
                    if why.heard {
                        lost_at = Instant::now();
                    }
                    why.text
                }
            },
            None => "no coordinator leads yet".to_owned(),
        };
        if lost_at.elapsed() > PATIENCE {
            return Err(given_up(&lost));
        }
        sleep(TRY_AGAIN).await;
        link = match session.link().await {
            Ok(link) => Some(link),
            Err(Failure::Unreachable { .. } | Failure::Leaderless) => None,
            Err(other) => return Err(other),
        };
    }
}
