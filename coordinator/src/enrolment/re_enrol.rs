//! Re-enrolment: a node that slept past its certificate's expiry comes back, while an admin holds
//! the window open for it.

use hamesh_proto::ca::Issued;
use hamesh_proto::ids::NodeId;
use hamesh_proto::re_enrol;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::v1;

use super::token::{desired, public_key_hash};
use super::{ATTEMPTS, EnrolError, EnrolmentService, Granted};
use crate::authority::certificate_record;
use crate::ledger::{CommitError, EventKind, Kept};
use crate::records::{NodeRecord, ReEnrolWindow, keys};

impl EnrolmentService {
    pub(super) async fn with_expired_certificate(
        &self,
        request: &v1::ReEnrolRequest,
    ) -> Result<(Granted, Issued), EnrolError> {
        let old = re_enrol::verify(request, self.core.live.current().trust())?;
        let Principal::Agent(node) = &old.id.principal else {
            return Err(EnrolError::UnknownCertificate);
        };
        for _ in 0..ATTEMPTS {
            match self.attempt_re_enrol(node, &old.serial, request).await {
                Err(EnrolError::Commit(CommitError::Conflict)) => {}
                result => return result,
            }
        }
        Err(EnrolError::Contended)
    }

    async fn attempt_re_enrol(
        &self,
        node: &NodeId,
        old_serial: &str,
        request: &v1::ReEnrolRequest,
    ) -> Result<(Granted, Issued), EnrolError> {
        let core = self.core.as_ref();
        let kept: Option<Kept<NodeRecord>> = core.ledger.read(&keys::node(node)).await?;
        let kept = kept.ok_or_else(|| EnrolError::NotEnrolled(node.clone()))?;
        let (desired_kept, desired) = desired(core).await?;
        if !desired.site.nodes.contains_key(node) {
            return Err(EnrolError::NotInSite(node.clone()));
        }
        // A certificate of an earlier life of this name is in no record any more, though its
        // revocation may be forgotten since it expired.
        let known = kept
            .value
            .certificates
            .iter()
            .any(|known| known.serial == old_serial);
        if !known || desired.record.revoked.contains_key(old_serial) {
            return Err(EnrolError::UnknownCertificate);
        }
        let now_unix_ms = core.clock.unix_ms();
        let open = |window: &&ReEnrolWindow| window.until_unix_ms >= now_unix_ms;
        let window = kept.value.re_enrol.as_ref().filter(open);
        let window = window.ok_or_else(|| EnrolError::NoWindow(node.clone()))?;

        let now = core.clock.now();
        let issued = core
            .authority
            .agent(&desired.site, node, &request.csr_der, now)?;
        let public_key = public_key_hash(core, &issued);
        let granted = match &window.used_with {
            None => Granted::First,
            Some(first) if *first == public_key => Granted::Again,
            Some(_) => return Err(EnrolError::NoWindow(node.clone())),
        };
        let mut record = kept.value.clone();
        record.re_enrol = Some(ReEnrolWindow {
            used_with: Some(public_key),
            ..window.clone()
        });
        crate::agents::remember(&mut record, certificate_record(&issued), now_unix_ms);
        let opened_by = &window.opened_by;
        let text = format!("{node} came back with an expired certificate, let in by {opened_by}");
        let change = core
            .change(format!("agent/{node}"))
            .unchanged(&desired_kept)
            .replace(&kept, &record)
            .event(EventKind::NodeReEnrolled, Some(node), text);
        core.ledger.commit(change).await?;
        Ok((granted, issued))
    }
}
