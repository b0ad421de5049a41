//! Who may do what: tokens, operators, and the operator's own context.

use hamesh_proto::v1;
use serde::Serialize;

use super::GenerationView;
use crate::ctl::context::Context;
use crate::ctl::time::Moment;

/// A token without its secret.
#[derive(Debug, Clone, Serialize)]
pub struct TokenView {
    /// Names the token; no secret.
    pub id: String,
    /// The only node it enrols.
    pub node: String,
    /// "open", "used", "expired" or "revoked".
    pub state: String,
    /// When it was made.
    pub created: Option<Moment>,
    /// When it ends.
    pub expires: Option<Moment>,
    /// Who made it.
    pub created_by: String,
}

/// A token just made.
#[derive(Debug, Clone, Serialize)]
pub struct TokenCreatedView {
    /// Names the token.
    pub id: String,
    /// The only node it enrols.
    pub node: String,
    /// The whole token, shown this once.
    pub token: String,
    /// When it ends.
    pub expires: Option<Moment>,
    /// What to run on the node.
    pub command: String,
}

/// An operator.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorView {
    /// Its name.
    pub name: String,
    /// "viewer" or "admin".
    pub access: String,
    /// When it was added.
    pub created: Option<Moment>,
    /// When its certificate expires.
    pub certificate_expires: Option<Moment>,
}

/// Something is gone.
#[derive(Debug, Clone, Serialize)]
pub struct RemovedView {
    /// "node", "operator" or "token".
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The desired state that says so, where there is one.
    pub desired: Option<GenerationView>,
}

/// The context in use, without its key.
#[derive(Debug, Clone, Serialize)]
pub struct ContextView {
    /// The file.
    pub file: String,
    /// The site.
    pub site: String,
    /// SPIFFE path of the operator.
    pub identity: String,
    /// The coordinators, in the order in which they are tried.
    pub coordinators: Vec<String>,
    /// Serial number of the certificate.
    pub certificate_serial: String,
    /// When the certificate expires.
    pub certificate_expires: Option<Moment>,
}

impl From<v1::Token> for TokenView {
    fn from(token: v1::Token) -> Self {
        TokenView {
            id: token.id,
            node: token.node,
            state: token.state,
            created: Moment::of(token.created_unix_ms),
            expires: Moment::of(token.expires_unix_ms),
            created_by: token.created_by,
        }
    }
}

impl From<v1::Operator> for OperatorView {
    fn from(operator: v1::Operator) -> Self {
        let access = match operator.access() {
            v1::Access::Admin => "admin",
            v1::Access::Viewer => "viewer",
            v1::Access::Unspecified => "unknown",
        };
        OperatorView {
            access: access.to_owned(),
            name: operator.name,
            created: Moment::of(operator.created_unix_ms),
            certificate_expires: Moment::of(operator.certificate_expires_unix_ms),
        }
    }
}

impl ContextView {
    /// Of the context read from `file`.
    pub fn new(file: &std::path::Path, context: &Context) -> Self {
        let credentials = &context.credentials;
        ContextView {
            file: file.display().to_string(),
            site: context.site.to_string(),
            identity: credentials.spiffe_id().principal.path(),
            coordinators: context
                .coordinators
                .iter()
                .map(ToString::to_string)
                .collect(),
            certificate_serial: credentials.serial().to_owned(),
            certificate_expires: Moment::of(credentials.not_after_unix_ms()),
        }
    }
}
