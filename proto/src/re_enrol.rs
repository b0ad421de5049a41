//! How a node whose certificate has expired shows that it is still itself.
//!
//! It signs its new request with the old key. Whether an admin has opened the window for the node,
//! and whether the old certificate was revoked, is for the coordinator to know.

use crate::credentials::Credentials;
use crate::leaf::Leaf;
use crate::trust::{ChainError, TrustBundle};
use crate::v1;

/// Precedes what is signed, so that a signature made for one purpose is good for no other.
const CONTEXT: &[u8] = b"hamesh-re-enrol-v1\0";

/// Why a request is refused. Nothing was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReEnrolError {
    /// The old certificate is not from this site.
    #[error("the old certificate is not acceptable")]
    Chain(#[from] ChainError),
    /// The old key did not sign this request.
    #[error("the request is not signed by the key of the old certificate")]
    Signature,
}

/// The request of the holder of `old`, for the new key whose signing request is `csr_der`.
pub fn request(old: &Credentials, csr_der: Vec<u8>, agent_version: &str) -> v1::ReEnrolRequest {
    v1::ReEnrolRequest {
        old_certificate_der: old.leaf_der().to_vec(),
        signature: old.sign(&message(&csr_der)),
        csr_der,
        agent_version: agent_version.to_owned(),
    }
}

/// Whose certificate it was, if the request is by the holder of its key.
pub fn verify(request: &v1::ReEnrolRequest, trust: &TrustBundle) -> Result<Leaf, ReEnrolError> {
    let leaf = trust.verify_chain_ignoring_expiry(&request.old_certificate_der)?;
    if !leaf.signed(&message(&request.csr_der), &request.signature) {
        return Err(ReEnrolError::Signature);
    }
    Ok(leaf)
}

fn message(csr_der: &[u8]) -> Vec<u8> {
    [CONTEXT, csr_der].concat()
}
