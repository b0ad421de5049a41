//! Reading certificates: what one says, before or after it was checked who signed it.

use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::key::{self, PUBLIC_KEY_BYTES};
use crate::spiffe::{SpiffeError, SpiffeId};

/// A real one has about 600 bytes; anything much larger is an attack on the parser.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// What a certificate of a site says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub id: SpiffeId,
    /// Lower-case hexadecimal, without leading zero bytes.
    pub serial: String,
    /// The uncompressed P-256 point, 65 bytes.
    pub public_key: Vec<u8>,
    /// The beginning of its validity.
    pub not_before_unix_ms: u64,
    /// The end of its validity.
    pub not_after_unix_ms: u64,
}

/// Why bytes are not a certificate of a site. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not X.509.
    #[error("not an X.509 certificate")]
    Malformed,
    /// Another algorithm.
    #[error("the certificate's key is not ECDSA P-256")]
    Key,
    /// None, or more than one, URI name.
    #[error("the certificate must carry exactly one URI name")]
    Names,
    /// The URI name is not an identity.
    #[error("the certificate's URI name is not an identity")]
    Identity(#[from] SpiffeError),
}

impl Leaf {
    /// What `der` says. Who signed it is not looked at: [`crate::trust::TrustBundle`] does that.
    pub(crate) fn parse_unverified(der: &[u8]) -> Result<Self, LeafError> {
        let certificate = parse(der).ok_or(LeafError::Malformed)?;
        let public_key = public_key(&certificate).ok_or(LeafError::Key)?;
        let (not_before_s, not_after_s) = validity(&certificate).ok_or(LeafError::Malformed)?;
        let serial = certificate.raw_serial();
        let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
        Ok(Self {
            id: uri(&certificate)?.parse()?,
            serial: crate::hex::encode(&serial[zeros..]),
            public_key,
            not_before_unix_ms: not_before_s.saturating_mul(1000),
            not_after_unix_ms: not_after_s.saturating_mul(1000),
        })
    }

    /// Whether `signature` over `message` is by the key of this certificate.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        key::signature_is_valid(&self.public_key, message, signature)
    }
}

/// What a CA's certificate says.
pub(crate) struct CaFacts {
    pub public_key: Vec<u8>,
    pub not_after_s: u64,
}

/// `None` if `der` is not the certificate of a P-256 CA.
pub(crate) fn ca_facts(der: &[u8]) -> Option<CaFacts> {
    let certificate = parse(der)?;
    let (_, not_after_s) = validity(&certificate)?;
    if !certificate.is_ca() {
        return None;
    }
    Some(CaFacts {
        public_key: public_key(&certificate)?,
        not_after_s,
    })
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

fn public_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let info = certificate.public_key();
    let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let point = info.subject_public_key.data.as_ref();
    let is_p256 = info.algorithm.algorithm == x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve == x509_parser::oid_registry::OID_EC_P256
        && point.len() == PUBLIC_KEY_BYTES;
    is_p256.then(|| point.to_vec())
}

fn validity(certificate: &X509Certificate<'_>) -> Option<(u64, u64)> {
    let validity = certificate.validity();
    let not_before = u64::try_from(validity.not_before.timestamp()).ok()?;
    let not_after = u64::try_from(validity.not_after.timestamp()).ok()?;
    Some((not_before, not_after))
}

fn uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, LeafError> {
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            for name in &names.general_names {
                if let GeneralName::URI(uri) = name {
                    uris.push(*uri);
                }
            }
        }
    }
    match uris.as_slice() {
        [uri] => Ok(uri),
        _ => Err(LeafError::Names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_any_bytes_never_panics(bytes: Vec<u8>) {
            prop_assert!(Leaf::parse_unverified(&bytes).is_err());
            prop_assert!(ca_facts(&bytes).is_none());
        }
    }
}
