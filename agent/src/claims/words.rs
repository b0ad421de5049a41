//! What happened to claims, as lines of the log: one for each event, with the claim as a field.

use hamesh_claims::member::Note;
use hamesh_claims::reason::CloseReason;
use hamesh_kernel::reconcile::{Reason, Step};
use hamesh_proto::ids::ClaimId;

use super::outbox::Said;

/// Writes it to the log. ERROR: a human must look.
pub fn log(claim: &ClaimId, said: &Said) {
    match said {
        Said::Took(grant) => {
            tracing::info!(CLAIM = %claim, EPOCH = %grant.epoch, "{claim} taken under {grant}");
        }
        Said::Closed(why) => match why {
            CloseReason::Lapsed | CloseReason::FenceLost => {
                tracing::warn!(CLAIM = %claim, "{claim} let go: {why}");
            }
            CloseReason::Yielded(_) | CloseReason::LeftGroup | CloseReason::Stopping => {
                tracing::info!(CLAIM = %claim, "{claim} given back: {why}");
            }
        },
        Said::Note(note) => log_note(claim, note),
        Said::Unable(why) => {
            tracing::error!(CLAIM = %claim, "{claim} cannot be held here: {why}");
        }
        Said::NotClosed(why) => tracing::error!(
            CLAIM = %claim,
            "the fence of {claim} cannot be closed, it closes by itself: {why}"
        ),
        Said::NotRemembered(why) => tracing::error!(
            CLAIM = %claim,
            "{claim}: a promise cannot be written down, so it is not given: {why}"
        ),
        Said::Rival(mac) => tracing::warn!(
            CLAIM = %claim,
            MAC = %mac,
            "{mac} spoke as the owner of {claim}, which is held here: announced again"
        ),
        Said::Duplicate(macs) => {
            let macs: Vec<String> = macs.iter().map(ToString::to_string).collect();
            let macs = macs.join(" ");
            tracing::error!(
                CLAIM = %claim,
                MACS = macs,
                "more than one node answers for {claim}: {macs}"
            );
        }
        Said::PutRight(step) => log_step(claim, step),
        Said::BreakGlass(true) => tracing::error!(
            CLAIM = %claim,
            "BREAK GLASS: {claim} was opened by hand on this node and answers to nobody; \
             close it with `hamesh-agent break-glass close {claim}`"
        ),
        Said::BreakGlass(false) => {
            tracing::error!(CLAIM = %claim, "{claim}, which was opened by hand, is closed again");
        }
    }
}

fn log_note(claim: &ClaimId, note: &Note) {
    match note {
        Note::Alone => tracing::warn!(
            CLAIM = %claim,
            "no coordinator answers: {claim} is held by the promises of the other members"
        ),
        Note::NoLongerAlone => {
            tracing::info!(CLAIM = %claim, "{claim}: a coordinator answers again");
        }
        Note::Reopened => tracing::warn!(
            CLAIM = %claim,
            "the fence of {claim} had closed; the promises of all others opened it again"
        ),
        Note::CarriedOn => tracing::info!(
            CLAIM = %claim,
            "{claim} is held on, by promises that were given to the last run"
        ),
        Note::PromiseRefused(by, why) => {
            tracing::warn!(CLAIM = %claim, PEER = %by, "{by} gave no promise for {claim}: {why}");
        }
        Note::Refused(why) => tracing::debug!(CLAIM = %claim, "{claim} not granted: {why}"),
        Note::Dropped(why) => tracing::debug!(CLAIM = %claim, "{claim}: dropped: {why}"),
    }
}

fn log_step(claim: &ClaimId, step: &Step) {
    match step {
        Step::Close(ip) => tracing::error!(
            CLAIM = %claim,
            "the fence of {ip} was open without a lease of this agent: closed"
        ),
        Step::Remove { address, reason } => {
            let ip = address.ip;
            match reason {
                Reason::NotHeld => tracing::warn!(
                    CLAIM = %claim,
                    "{ip} was configured here, but {claim} is not held here: removed"
                ),
                Reason::WrongInterface => tracing::warn!(
                    CLAIM = %claim,
                    "{ip} was configured on an interface where it does not belong: removed"
                ),
            }
        }
        Step::Add { ip, .. } => tracing::warn!(
            CLAIM = %claim,
            "{ip} was taken away, but {claim} is held here: added again"
        ),
        Step::Homeless(ip) => tracing::error!(
            CLAIM = %claim,
            "no interface is in the network of {ip}: {claim} is given back"
        ),
    }
}
