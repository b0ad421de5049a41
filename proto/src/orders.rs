//! What a node is to have, signed by the coordinator that says so.
//!
//! Guarantees: what is believed was signed, for this purpose and this node, by the holder of a
//! coordinator's certificate of this site that is valid at that moment; and it is all that was
//! signed, byte for byte.
//!
//! The idea: an order passes through the node's agent, which reads datagrams from the network. Who
//! carries it out is root, and need not trust the agent for more than the way.
//!
//! Absent: which of two is newer. Whoever takes orders knows what it took before.

use std::time::SystemTime;

use prost::Message;

use crate::credentials::Credentials;
use crate::ids::{NodeId, SiteName};
use crate::spiffe::{Principal, SpiffeId};
use crate::trust::{ChainError, TrustBundle};
use crate::v1;

/// What is asked of the node. A signature for one is good for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Have this.
    Order,
    /// What would be done to have this?
    Question,
}

/// Whom a node believes, and who it is.
#[derive(Debug, Clone, Copy)]
pub struct Believer<'a> {
    /// The CAs of its site.
    pub trust: &'a TrustBundle,
    /// Its site.
    pub site: &'a SiteName,
    /// Its own name.
    pub node: &'a NodeId,
}

/// Why it is not believed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The certificate is not believed.
    #[error("the signer's certificate is not acceptable")]
    Chain(#[from] ChainError),
    /// The certificate is no coordinator's of this site.
    #[error("it is signed by {signer}, which is no coordinator of {site}")]
    OtherSigner {
        /// Whose certificate it is.
        signer: SpiffeId,
        /// The node's site.
        site: SiteName,
    },
    /// The signature does not fit.
    #[error("it is not what its signer signed")]
    Signature,
    /// Signed, but not a message that can be read.
    #[error("it cannot be decoded")]
    Malformed,
    /// It is for another node or site.
    #[error("it is for {node:?} of site {site:?}")]
    OtherNode {
        /// As it says.
        node: String,
        /// As it says.
        site: String,
    },
}

impl Purpose {
    /// Precedes what is signed.
    const fn context(self) -> &'static [u8] {
        match self {
            Self::Order => b"hamesh-role-order-v1\0",
            Self::Question => b"hamesh-role-question-v1\0",
        }
    }

    fn message(self, statement: &[u8]) -> Vec<u8> {
        [self.context(), statement].concat()
    }
}

/// Signs `order` for `node` of the signer's own site, with the CAs that the signer trusts.
pub fn sign(
    credentials: &Credentials,
    purpose: Purpose,
    node: &NodeId,
    order: &v1::RoleOrder,
) -> v1::SignedRole {
    let statement = v1::RoleStatement {
        site: credentials.spiffe_id().site.to_string(),
        node: node.to_string(),
        order: Some(order.clone()),
        ca_der: credentials.trust().ders().to_vec(),
    };
    let statement = statement.encode_to_vec();
    v1::SignedRole {
        signature: credentials.sign(&purpose.message(&statement)),
        statement,
        certificate_der: credentials.leaf_der().to_vec(),
    }
}

/// What was signed, if a coordinator of the believer's site signed it for this purpose and for the
/// believer, with a certificate that is valid `now`.
pub fn verify(
    signed: &v1::SignedRole,
    purpose: Purpose,
    believer: Believer<'_>,
    now: SystemTime,
) -> Result<v1::RoleStatement, OrderError> {
    let leaf = believer.trust.verify_chain(&signed.certificate_der, now)?;
    let coordinator = matches!(leaf.id.principal, Principal::Coordinator(_));
    if !coordinator || leaf.id.site != *believer.site {
        return Err(OrderError::OtherSigner {
            signer: leaf.id,
            site: believer.site.clone(),
        });
    }
    if !leaf.signed(&purpose.message(&signed.statement), &signed.signature) {
        return Err(OrderError::Signature);
    }
    let statement = unverified(signed).ok_or(OrderError::Malformed)?;
    if statement.node != believer.node.as_str() || statement.site != believer.site.as_str() {
        return Err(OrderError::OtherNode {
            node: statement.node,
            site: statement.site,
        });
    }
    Ok(statement)
}

/// What it says, whoever signed it: to tell of one that is not believed.
pub fn unverified(signed: &v1::SignedRole) -> Option<v1::RoleStatement> {
    v1::RoleStatement::decode(signed.statement.as_slice()).ok()
}
