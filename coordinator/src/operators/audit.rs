//! The one way by which every call of an operator goes: counted, and, if it is to change
//! something, written into the audit trail before it is carried out and again when it ended.
//!
//! Guarantees: a call whose request does not say what the trail keeps of it cannot be served (it
//! would not compile); what is not in the trail was not done; a refused call is in it like any
//! other; no secret is.
//!
//! The bound: one identity that is refused again and again would push everybody else's calls out
//! of the trail. After [`REFUSALS`] refusals its calls are turned away unread and only counted,
//! until it has waited.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hamesh_proto::tls;
use hamesh_proto::v1;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use super::{Answer, OperatorsService};
use crate::harmless::clipped;
use crate::ledger::{AUDIT_KEPT, Call};
use crate::records::{AuditRecord, AuditResult, OperatorAccess};

/// Refusals for want of a right that one identity has written down in a row.
const REFUSALS: u32 = 20;
/// How long it takes until one more is written down: with it, one identity needs a week to fill
/// the trail.
const REGAINED: Duration = Duration::from_secs(60);
/// Identities whose refusals are remembered; each needs a certificate of the site.
const REMEMBERED: usize = 1_024;
/// The most characters that the trail keeps of a request or an answer.
const LONGEST: usize = 400;

/// What the trail keeps of a request.
pub(super) trait Asked {
    /// In words, without secrets; `None`: the call only reads.
    fn asked(&self) -> Option<String>;
}

/// Who was refused lately, and how often.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<String, (u32, Instant)>>);

impl Refusals {
    /// Whether one more call of this identity may be written down.
    fn has_room(&self, actor: &str, now: Instant) -> bool {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals
            .get(actor)
            .is_none_or(|seen| left(*seen, now) < REFUSALS)
    }

    fn note(&self, actor: &str, now: Instant) {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= REMEMBERED {
            refusals.retain(|_, seen| left(*seen, now) > 0);
        }
        let before = refusals.get(actor).map_or(0, |seen| left(*seen, now));
        refusals.insert(actor.to_owned(), (before + 1, now));
    }
}

/// What is left of the refusals counted at a time.
fn left((count, at): (u32, Instant), now: Instant) -> u32 {
    let regained = now.saturating_duration_since(at).as_secs() / REGAINED.as_secs();
    count.saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX))
}

impl OperatorsService {
    /// Serves one call.
    pub(super) async fn serve<M: Asked, T, F>(
        &self,
        method: &'static str,
        request: Request<M>,
        call: impl FnOnce(Request<M>) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let audited = async {
            let Some(asked) = request.get_ref().asked() else {
                return call(request).await;
            };
            let record = self.begin(method, &asked, &request).await?;
            let result = call(request).await;
            self.end(record, result.as_ref().err()).await;
            result
        };
        let answer = self.core.counted(method, audited).await;
        answer.map(Response::new)
    }

    async fn begin<M>(
        &self,
        method: &str,
        asked: &str,
        request: &Request<M>,
    ) -> Result<AuditRecord, Status> {
        let peer = tls::peer(request)
            .ok_or_else(|| Status::unauthenticated("show an operator's certificate"))?;
        let actor = peer.id.principal.path();
        if !self.refusals.has_room(&actor, Instant::now()) {
            self.core.metrics.audit_unwritten.inc();
            return Err(Status::resource_exhausted(format!(
                "{actor} was refused too often; nothing was changed; wait a minute, and ask an \
                 admin for the right to do this"
            )));
        }
        let call = Call {
            at_unix_ms: self.core.clock.unix_ms(),
            actor,
            certificate: peer.serial,
            call: method.to_owned(),
            request: clipped(asked, LONGEST),
        };
        Ok(self.core.ledger.audit_begin(call).await?)
    }

    /// The call has its answer whether or not the trail could be completed.
    async fn end(&self, record: AuditRecord, refused: Option<&Status>) {
        if let Some(Code::PermissionDenied | Code::Unauthenticated) = refused.map(Status::code) {
            self.refusals.note(&record.actor, Instant::now());
        }
        let (number, result) = (record.number, result(refused));
        if let Err(problem) = self.core.ledger.audit_end(record, result).await {
            tracing::warn!(number, %problem, "the end of a call is missing from the audit trail");
        }
    }

    pub(super) async fn audit_trail(
        &self,
        request: Request<v1::AuditRequest>,
    ) -> Result<v1::AuditTrail, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let last = match request.get_ref().last {
            0 => AUDIT_KEPT,
            last => u64::from(last),
        };
        let trail = self.core.ledger.audit_trail(last).await?;
        let entries = trail.into_iter().map(entry).collect();
        Ok(v1::AuditTrail { entries })
    }
}

fn result(refused: Option<&Status>) -> AuditResult {
    let Some(status) = refused else {
        return AuditResult::Done;
    };
    let told = clipped(status.message(), LONGEST);
    match status.code() {
        Code::Ok => AuditResult::Done,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::DataLoss => AuditResult::Unknown { told },
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unavailable
        | Code::Unauthenticated => AuditResult::Refused { told },
    }
}

fn entry(record: AuditRecord) -> v1::AuditEntry {
    let (result, told) = match record.result {
        AuditResult::Done => ("done", String::new()),
        AuditResult::Refused { told } => ("refused", told),
        AuditResult::Unknown { told } => ("unknown", told),
        AuditResult::Open => ("unknown", "it did not end, or has not yet".to_owned()),
    };
    v1::AuditEntry {
        number: record.number,
        at_unix_ms: record.at_unix_ms,
        actor: record.actor,
        certificate: record.certificate,
        call: record.call,
        request: record.request,
        result: result.to_owned(),
        told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_identity_fill_up_and_are_regained_and_touch_nobody_else() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for _ in 0..REFUSALS {
            assert!(refusals.has_room("agent/node-1", start));
            refusals.note("agent/node-1", start);
        }
        assert!(!refusals.has_room("agent/node-1", start));
        assert!(refusals.has_room("operator/ada", start));
        assert!(refusals.has_room("agent/node-1", start + REGAINED));
        refusals.note("agent/node-1", start + REGAINED);
        assert!(!refusals.has_room("agent/node-1", start + REGAINED));
    }

    #[test]
    fn what_the_trail_keeps_is_bounded_and_has_no_control_characters() {
        let text = clipped(&"a\u{1b}[2J\n".repeat(LONGEST), LONGEST);
        assert_eq!(text.chars().count(), LONGEST);
        assert!(!text.chars().any(char::is_control));
    }
}
