//! The one service without a client certificate: a token, or an expired certificate within an
//! opened window, is traded for a certificate.
//!
//! Guarantees: a token lets in one node with one key, once. It is consumed in the same transaction
//! that records the certificate, and nothing is answered before that is in the store. Whoever lost
//! the answer asks again with the same token and the same key, and gets a certificate again.
//!
//! The idea: the certificate is issued first and handed out last; what is refused or lost in
//! between was never anybody's.
//!
//! Absent on purpose: telling a stranger why. Only who shows a token's secret learns what became
//! of that token.

mod quiet;
mod re_enrol;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use hamesh_proto::ca::{IssueError, Issued};
use hamesh_proto::ids::NodeId;
use hamesh_proto::re_enrol::ReEnrolError;
use hamesh_proto::token::TokenError;
use hamesh_proto::v1;
use tonic::{Request, Response, Status};

use crate::core::Core;
use crate::desired::InvalidSite;
use crate::ledger::{CommitError, ReadError};
use quiet::Quiet;

/// How often a change is tried anew when somebody else was faster.
const ATTEMPTS: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct EnrolmentService {
    core: Arc<Core>,
    refusals: Quiet,
}

/// How an enrolment succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granted {
    First,
    /// The answer to the same request had been lost.
    Again,
}

/// Why nobody was let in. Nothing was changed.
#[derive(Debug, thiserror::Error)]
enum EnrolError {
    #[error(transparent)]
    MalformedToken(#[from] TokenError),
    #[error("{0:?} is no node name; nothing was changed; correct --node")]
    MalformedNode(String),
    #[error(
        "the token is wrong; nothing was changed; copy it whole, or ask for a new one with \
             `coordctl token create NODE`"
    )]
    WrongToken,
    #[error(
        "the token is for the node `{0}`, not for this one; nothing was changed; enrol with \
             `--node {0}` if this is that machine, or ask for a token of its own"
    )]
    OtherNode(NodeId),
    #[error(
        "the token has expired; nothing was changed; ask for a new one with \
             `coordctl token create NODE`"
    )]
    Expired,
    #[error(
        "the token was used already, with another key; nothing was changed; if that was not \
             you, tell your site's admin at once: `coordctl node remove NODE` shuts the user out"
    )]
    Used,
    #[error(
        "the token was revoked; nothing was changed; ask for a new one with \
             `coordctl token create NODE`"
    )]
    Revoked,
    #[error(
        "the node `{0}` is not in the site; nothing was changed; add it to site.yaml and \
             `coordctl apply` it first"
    )]
    NotInSite(NodeId),
    #[error("the node `{0}` is not enrolled; nothing was changed; enrol it with a token")]
    NotEnrolled(NodeId),
    #[error(
        "this certificate is not known for the node, or was revoked; nothing was changed; \
             enrol the node with a token"
    )]
    UnknownCertificate,
    #[error(
        "no re-enrolment is open for the node `{0}`; nothing was changed; an admin opens it \
             with `coordctl node re-enrol {0}`"
    )]
    NoWindow(NodeId),
    #[error("{0}; nothing was changed; enrol the node with a token")]
    NotByOldKey(#[from] ReEnrolError),
    #[error(transparent)]
    Request(#[from] IssueError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Site(#[from] InvalidSite),
    #[error("the store holds no desired state; nothing was changed; restore it from a backup")]
    NoDesiredState,
    #[error("several machines enrol this node at the same time; nothing was changed; try again")]
    Contended,
}

impl EnrolmentService {
    /// Over the shared parts.
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            refusals: Quiet::default(),
        }
    }

    /// Where to dial: this coordinator first. Where a site was restored while coordinators of
    /// before still run, a new node would follow those otherwise.
    fn coordinators(&self) -> Vec<v1::CoordinatorEndpoint> {
        let mut coordinators = self.core.world().desired.coordinators();
        coordinators.sort_by_key(|it| it.node != self.core.node.as_str());
        coordinators
    }

    fn answer(
        &self,
        node: &str,
        result: Result<(Granted, Issued), EnrolError>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let label = match &result {
            Ok((Granted::First, _)) => "enrolled",
            Ok((Granted::Again, _)) => "enrolled_again",
            Err(error) => error.label(),
        };
        self.core
            .metrics
            .enrolments
            .with_label_values(&[label])
            .inc();
        match result {
            Ok((_, issued)) => Ok(Response::new(v1::EnrolResponse {
                bundle: Some(self.core.authority.bundle(&issued)),
                coordinators: self.coordinators(),
            })),
            Err(error) => {
                if let Some(unlogged) = self.refusals.admit(label) {
                    let node: String = node.chars().take(64).collect();
                    tracing::warn!(AGENT = %node, result = label, unlogged, "enrolment refused");
                }
                Err(error.status())
            }
        }
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let result = self.with_token(&request).await;
        self.answer(&request.node, result)
    }

    async fn re_enrol(
        &self,
        request: Request<v1::ReEnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let result = self.with_expired_certificate(&request).await;
        self.answer("", result)
    }
}

impl EnrolError {
    /// Its name in the metric.
    fn label(&self) -> &'static str {
        match self {
            Self::MalformedToken(_) | Self::MalformedNode(_) | Self::Request(_) => "malformed",
            Self::WrongToken => "wrong_token",
            Self::OtherNode(_) => "other_node",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::NotInSite(_) => "not_in_site",
            Self::NotEnrolled(_) => "not_enrolled",
            Self::UnknownCertificate | Self::NotByOldKey(_) => "wrong_certificate",
            Self::NoWindow(_) => "no_window",
            Self::Read(_) | Self::Commit(_) | Self::Site(_) | Self::NoDesiredState => "store",
            Self::Contended => "contended",
        }
    }

    fn status(self) -> Status {
        let words = self.to_string();
        match self {
            Self::MalformedToken(_) | Self::MalformedNode(_) | Self::Request(_) => {
                Status::invalid_argument(words)
            }
            Self::WrongToken | Self::UnknownCertificate | Self::NotByOldKey(_) => {
                Status::unauthenticated(words)
            }
            Self::OtherNode(_) | Self::Expired | Self::Used | Self::Revoked | Self::NoWindow(_) => {
                Status::permission_denied(words)
            }
            Self::NotInSite(_) | Self::NotEnrolled(_) => Status::failed_precondition(words),
            Self::Read(error) => error.into(),
            Self::Commit(error) => error.into(),
            Self::Site(_) | Self::NoDesiredState => Status::internal(words),
            Self::Contended => Status::aborted(words),
        }
    }
}
