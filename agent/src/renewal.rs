//! Keeps the node's certificate fresh, without a restart.
//!
//! Guarantees: a new certificate (for a new key) is asked for from two thirds of its life on, with
//! jitter; it is on disk before it is used, unless the disk refuses, and then used all the same.
//! A certificate that ran out is traded through re-enrolment, which an admin must have opened.
//!
//! Idea: the wall clock is read again at least every [`LOOK_EVERY`], since it may be set and the
//! machine may sleep.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_proto::v1::agents_client::AgentsClient;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::backoff::{Backoff, share};
use crate::enrol::{credentials, re_enrol};
use crate::held::{Held, describe};
use crate::metrics::Metrics;
use crate::session::words;
use crate::state::StateDir;

/// How long the wall clock is trusted.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The jitter, as a part of what is left of the life at two thirds.
const JITTER_PART: u32 = 4;
/// The shortest time between two renewals.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What renewal works with.
#[derive(Debug)]
pub struct Renewal {
    /// What is renewed.
    pub credentials: LiveCredentials,
    /// Where it is kept.
    pub state: StateDir,
    /// Knows the coordinators.
    pub held: Held,
    /// Counts up with every renewal.
    pub renewed: watch::Sender<u64>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What is due for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing before that long.
    In(Duration),
    /// A renewal over the mutual-TLS API.
    Renewal,
    /// A re-enrolment: nobody believes this certificate any more.
    ReEnrolment,
}

impl Renewal {
    /// Renews for ever.
    pub async fn run(self) {
        loop {
            self.until_due().await;
            let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(300));
            while let Err(why) = self.attempt().await {
                self.metrics.renewals.with_label_values(&["failed"]).inc();
                let pause = backoff.pause();
                tracing::warn!(
                    why,
                    ?pause,
                    "the certificate could not be renewed yet: {why}"
                );
                sleep(pause).await;
            }
            self.metrics.renewals.with_label_values(&["ok"]).inc();
            // A certificate that is due as soon as it is issued must not become a storm.
            sleep(SHORTEST_LIFE).await;
        }
    }

    async fn until_due(&self) {
        let present = self.credentials.current();
        let left = present
            .not_after_unix_ms()
            .saturating_sub(present.renew_at_unix_ms());
        let jitter = share(Duration::from_millis(left) / JITTER_PART);
        loop {
            self.metrics
                .certificate_expiry
                .set(seconds(present.not_after_unix_ms()));
            match due(&present, jitter, SystemTime::now()) {
                Due::Renewal | Due::ReEnrolment => return,
                Due::In(rest) => sleep(rest.min(LOOK_EVERY)).await,
            }
        }
    }

    async fn attempt(&self) -> Result<(), String> {
        let present = self.credentials.current();
        match due(&present, Duration::ZERO, SystemTime::now()) {
            Due::ReEnrolment => {
                let ports = self.held.enrolment_ports();
                let new = re_enrol(&self.state, &present, &ports).await;
                let new = new.map_err(|error| describe(&error))?;
                self.put_to_use(new)
            }
            // A clock that was set back is no reason to leave an attempt half done.
            Due::Renewal | Due::In(_) => {
                let new = self.renew().await?;
                let (state, kept) = (self.state.clone(), new.to_pem());
                let saved = tokio::task::spawn_blocking(move || {
                    let again = Credentials::from_pem(&kept).map_err(|error| describe(&error))?;
                    state
                        .save_identity(&again)
                        .map_err(|error| describe(&error))
                });
                let saved = saved.await.unwrap_or_else(|panic| Err(panic.to_string()));
                self.held.report(saved.err());
                self.put_to_use(new)
            }
        }
    }

    fn put_to_use(&self, new: Credentials) -> Result<(), String> {
        let (serial, not_after) = (new.serial().to_owned(), new.not_after_unix_ms());
        self.credentials
            .replace(new)
            .map_err(|error| error.to_string())?;
        self.metrics.certificate_expiry.set(seconds(not_after));
        self.renewed.send_modify(|count| *count += 1);
        tracing::info!(serial, "the certificate was renewed");
        Ok(())
    }

    /// Asks one coordinator after the other.
    async fn renew(&self) -> Result<Credentials, String> {
        let mut last = "no coordinator is known".to_owned();
        for coordinator in self.held.coordinators() {
            match timeout(PATIENCE, self.renew_at(coordinator.api)).await {
                Ok(Ok(new)) => return Ok(new),
                Ok(Err(why)) => last = format!("{}: {why}", coordinator.api),
                Err(_) => last = format!("{}: no answer within {PATIENCE:?}", coordinator.api),
            }
        }
        Err(last)
    }

    async fn renew_at(&self, coordinator: SocketAddr) -> Result<Credentials, String> {
        let key = PrivateKey::generate();
        let request = v1::RenewCertificateRequest {
            csr_der: key.csr_der(),
        };
        let channel = channel(coordinator, &self.credentials, Expect::Coordinator);
        let answer = AgentsClient::new(channel).renew_certificate(request).await;
        let bundle = answer.map_err(|status| words(&status))?.into_inner();
        credentials(key, bundle).map_err(|error| describe(&error))
    }
}

fn due(present: &Credentials, jitter: Duration, now: SystemTime) -> Due {
    if present.expired(now) {
        return Due::ReEnrolment;
    }
    let renew_at = Duration::from_millis(present.renew_at_unix_ms()) + jitter;
    match renew_at.checked_sub(Duration::from_millis(unix_ms(now))) {
        Some(rest) if !rest.is_zero() => Due::In(rest),
        Some(_) | None => Due::Renewal,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds until the year 285,000 are exact"
)]
fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1000.0
}
