//! Private keys: ECDSA P-256, the one algorithm of every hamesh identity.
//!
//! A key never leaves its machine: it is made where it is used, and only a signing request goes
//! out. `Debug` shows the public half alone; the stored form is wiped from memory when dropped.

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use zeroize::Zeroizing;

/// An uncompressed P-256 point: 0x04, X, Y.
pub(crate) const PUBLIC_KEY_BYTES: usize = 65;

/// A P-256 private key; clones share it.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
}

/// The bytes are not a P-256 private key in PKCS#8. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ECDSA P-256 private key in PKCS#8 form")]
pub struct KeyError;

impl PrivateKey {
    /// A new key from the kernel's random numbers.
    ///
    /// # Panics
    /// If the kernel has no random numbers to give.
    pub fn generate() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .expect("the kernel gives random numbers");
        Self::from_pkcs8_der(document.as_ref()).expect("ring reads the key that it wrote")
    }

    /// Reads the PKCS#8 DER form, checking that both halves of the key belong together.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random)
            .map_err(|_| KeyError)?;
        Ok(Self(Arc::new(Inner {
            pkcs8: Zeroizing::new(der.to_vec()),
            pair,
        })))
    }

    /// A PKCS#10 signing request. It asks for no names: the issuer decides those.
    pub fn csr_der(&self) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params
            .serialize_request(self)
            .expect("an empty request can be signed");
        request.der().to_vec()
    }

    /// Signs with ECDSA P-256 / SHA-256, ASN.1 form.
    ///
    /// # Panics
    /// If the kernel has no random numbers to give.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.pair.sign(&SystemRandom::new(), message);
        signature
            .expect("the kernel gives random numbers")
            .as_ref()
            .to_vec()
    }

    /// The uncompressed point, 65 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.0.pair.public_key().as_ref()
    }

    /// The PEM section `PRIVATE KEY`. A secret: write it to 0600 files only.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(crate::pem_text::section(
            crate::pem_text::PRIVATE_KEY,
            &self.0.pkcs8,
        ))
    }

    /// The PKCS#8 DER form. A secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }
}

/// Whether `signature` (ECDSA P-256 / SHA-256, ASN.1) over `message` is that of the key whose
/// uncompressed point is `public_key`.
pub fn signature_is_valid(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key)
        .verify(message, signature)
        .is_ok()
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = crate::hex::encode(self.public_key());
        f.debug_struct("PrivateKey")
            .field("public", &public)
            .finish_non_exhaustive()
    }
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(PrivateKey::sign(self, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let (key, other) = (PrivateKey::generate(), PrivateKey::generate());
        let signature = key.sign(b"message");
        assert!(signature_is_valid(key.public_key(), b"message", &signature));
        assert!(!signature_is_valid(
            key.public_key(),
            b"massage",
            &signature
        ));
        assert!(!signature_is_valid(
            other.public_key(),
            b"message",
            &signature
        ));
        assert!(!signature_is_valid(b"", b"message", &signature));
    }

    #[test]
    fn debug_shows_no_private_byte() {
        let key = PrivateKey::generate();
        let debug = format!("{key:?}");
        // A P-256 PKCS#8 document of this form holds the private scalar in bytes 36 to 68.
        let scalar = crate::hex::encode(&key.pkcs8()[36..68]);
        assert!(
            !debug.contains(&scalar) && !debug.contains("pkcs8"),
            "{debug}"
        );
    }

    proptest! {
        #[test]
        fn reading_a_key_from_any_bytes_never_panics(bytes: Vec<u8>) {
            prop_assert!(PrivateKey::from_pkcs8_der(&bytes).is_err());
        }
    }
}
