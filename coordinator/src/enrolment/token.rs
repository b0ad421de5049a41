//! Enrolment with a token.

use hamesh_proto::ca::Issued;
use hamesh_proto::hex;
use hamesh_proto::ids::NodeId;
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::v1;

use super::{ATTEMPTS, EnrolError, EnrolmentService, Granted};
use crate::authority::certificate_record;
use crate::core::Core;
use crate::desired::{Desired, revocations};
use crate::ledger::{CommitError, EventKind, Kept};
use crate::records::{DesiredRecord, NodeRecord, TokenRecord, TokenState, keys};

impl EnrolmentService {
    pub(super) async fn with_token(
        &self,
        request: &v1::EnrolRequest,
    ) -> Result<(Granted, Issued), EnrolError> {
        let token: EnrolmentToken = request.token.parse()?;
        for _ in 0..ATTEMPTS {
            match self.attempt(request, &token).await {
                Err(EnrolError::Commit(CommitError::Conflict)) => {}
                result => return result,
            }
        }
        Err(EnrolError::Contended)
    }

    async fn attempt(
        &self,
        request: &v1::EnrolRequest,
        token: &EnrolmentToken,
    ) -> Result<(Granted, Issued), EnrolError> {
        let core = self.core.as_ref();
        let kept: Option<Kept<TokenRecord>> = core.ledger.read(&keys::token(token.id())).await?;
        let kept = kept.filter(|kept| kept.value.secret_hash.matches(token));
        let kept = kept.ok_or(EnrolError::WrongToken)?;
        let node = named(request, &kept.value)?;
        if core.clock.unix_ms() > kept.value.expires_unix_ms {
            return Err(EnrolError::Expired);
        }
        let (desired_kept, desired) = desired(core).await?;
        if !desired.site.nodes.contains_key(&node) {
            return Err(EnrolError::NotInSite(node));
        }
        let now = core.clock.now();
        let issued = core
            .authority
            .agent(&desired.site, &node, &request.csr_der, now)?;
        let public_key = public_key_hash(core, &issued);
        let record: Option<Kept<NodeRecord>> = core.ledger.read(&keys::node(&node)).await?;
        let seat = Seat {
            node,
            token: kept,
            record,
            desired_kept,
            desired,
        };
        match &seat.token.value.state {
            TokenState::Revoked { .. } => Err(EnrolError::Revoked),
            TokenState::Open => {
                seat.take(core, &issued, public_key).await?;
                Ok((Granted::First, issued))
            }
            TokenState::Used {
                public_key: first, ..
            } if *first == public_key => {
                seat.take_again(core, &issued).await?;
                Ok((Granted::Again, issued))
            }
            TokenState::Used { .. } => Err(EnrolError::Used),
        }
    }
}

/// The node that enrols; one that does not name itself is the token's.
fn named(request: &v1::EnrolRequest, token: &TokenRecord) -> Result<NodeId, EnrolError> {
    if request.node.is_empty() || request.node == token.node.as_str() {
        return Ok(token.node.clone());
    }
    match request.node.parse::<NodeId>() {
        Ok(_) => Err(EnrolError::OtherNode(token.node.clone())),
        Err(_) => Err(EnrolError::MalformedNode(
            request.node.chars().take(80).collect(),
        )),
    }
}

/// The desired state, as the store has it now.
pub(super) async fn desired(core: &Core) -> Result<(Kept<DesiredRecord>, Desired), EnrolError> {
    let kept: Option<Kept<DesiredRecord>> = core.ledger.read(keys::DESIRED).await?;
    let kept = kept.ok_or(EnrolError::NoDesiredState)?;
    let desired = Desired::parse_beside(kept.value.clone(), &core.world().desired)?;
    Ok((kept, desired))
}

/// SHA-256 of the public key that a certificate was issued for.
pub(super) fn public_key_hash(core: &Core, issued: &Issued) -> String {
    let leaf = core
        .live
        .current()
        .trust()
        .verify_chain_ignoring_expiry(&issued.der)
        .expect("what the site CA just issued chains to it");
    let digest = ring::digest::digest(&ring::digest::SHA256, &leaf.public_key);
    hex::encode(digest.as_ref())
}

/// Everything that one enrolment reads, and guards.
struct Seat {
    node: NodeId,
    token: Kept<TokenRecord>,
    record: Option<Kept<NodeRecord>>,
    desired_kept: Kept<DesiredRecord>,
    desired: Desired,
}

impl Seat {
    /// The first use: the token is consumed, and whatever identity the node had is revoked.
    async fn take(
        &self,
        core: &Core,
        issued: &Issued,
        public_key: String,
    ) -> Result<(), CommitError> {
        let at_unix_ms = core.clock.unix_ms();
        let state = TokenState::Used {
            at_unix_ms,
            public_key,
        };
        let used = TokenRecord {
            state,
            ..self.token.value.clone()
        };
        let record = NodeRecord {
            enrolled_unix_ms: at_unix_ms,
            certificates: vec![certificate_record(issued)],
            re_enrol: None,
        };
        let mut change = core
            .change(format!("agent/{}", self.node))
            .replace(&self.token, &used)
            .put(&keys::node(&self.node), self.record.as_ref(), &record)
            .event(
                EventKind::NodeEnrolled,
                Some(&self.node),
                format!("{} enrolled with a token of {}", self.node, used.created_by),
            );
        change = match &self.record {
            Some(old) => {
                let revoked = revocations(&self.node, &old.value);
                let yaml = self.desired.record.yaml.clone();
                let next = self.desired.next(yaml, revoked, at_unix_ms);
                change.replace(&self.desired_kept, &next)
            }
            // The node must still be in the site when its identity comes to be.
            None => change.unchanged(&self.desired_kept),
        };
        core.ledger.commit(change).await
    }

    /// The answer was lost: the same key gets another certificate.
    async fn take_again(&self, core: &Core, issued: &Issued) -> Result<(), EnrolError> {
        let Some(kept) = &self.record else {
            return Err(EnrolError::NotEnrolled(self.node.clone()));
        };
        let mut record = kept.value.clone();
        crate::agents::remember(
            &mut record,
            certificate_record(issued),
            core.clock.unix_ms(),
        );
        let change = core
            .change(format!("agent/{}", self.node))
            .unchanged(&self.token)
            .replace(kept, &record);
        Ok(core.ledger.commit(change).await?)
    }
}
