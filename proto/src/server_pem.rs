//! A certificate with its chain and key, as an operator gives it for a server.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What is told of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPem {
    /// The end of the leaf's validity.
    pub not_after_unix_ms: u64,
    leaf: Vec<u8>,
}

/// Why one cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no PEM, or lacks a part.
    #[error("it is not a PEM file with a certificate, its chain and its private key: {0}")]
    Form(String),
    /// The key is another certificate's.
    #[error("the private key is not that of the first certificate")]
    OtherKey,
    /// It is over.
    #[error("the certificate has expired")]
    Expired,
    /// It does not go by that name.
    #[error("the certificate is not for {0}, which the site document names")]
    OtherName(String),
}

impl ServerPem {
    /// Reads one.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        let form = |error: &dyn std::fmt::Display| Unusable::Form(error.to_string());
        let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
        let leaf = certificates
            .next()
            .ok_or_else(|| form(&"no certificate is in it"))?;
        let leaf = leaf.map_err(|error| form(&error))?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|error| form(&error))?;
        let end = parsed.validity().not_after.timestamp();
        Ok(Self {
            not_after_unix_ms: u64::try_from(end).unwrap_or(0).saturating_mul(1000),
            leaf: leaf.to_vec(),
        })
    }
}

/// Whether it can be used for these names, now.
pub fn check(text: &str, names: &[String], now_unix_ms: u64) -> Result<(), Unusable> {
    let form = |error: &dyn std::fmt::Display| Unusable::Form(error.to_string());
    let pem = ServerPem::read(text)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| form(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    let leaf = vec![CertificateDer::from(pem.leaf.clone())];
    match rustls::sign::CertifiedKey::from_der(leaf, key, &provider) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(Unusable::OtherKey),
        Err(error) => return Err(form(&error)),
    }
    if pem.not_after_unix_ms <= now_unix_ms {
        return Err(Unusable::Expired);
    }
    let leaf = CertificateDer::from(pem.leaf.as_slice());
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| form(&error))?;
    for name in names {
        let server = ServerName::try_from(name.as_str()).map_err(|error| form(&error))?;
        let is_for = leaf.verify_is_valid_for_subject_name(&server);
        is_for.map_err(|_| Unusable::OtherName(name.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_for(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_is_taken_for_the_names_it_has() {
        let (certificate, key) = made_for("www.example.org");
        let text = certificate + &key;
        let names = |name: &str| [name.to_owned()];
        assert_eq!(check(&text, &names("www.example.org"), 1), Ok(()));
        let other = "shop.example.org";
        assert_eq!(
            check(&text, &names(other), 1),
            Err(Unusable::OtherName(other.to_owned()))
        );
        assert_eq!(check(&text, &[], u64::MAX), Err(Unusable::Expired));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (certificate, _) = made_for("www.example.org");
        let (_, key) = made_for("www.example.org");
        assert_eq!(
            check(&(certificate.clone() + &key), &[], 1),
            Err(Unusable::OtherKey)
        );
        assert!(matches!(
            check(&certificate, &[], 1),
            Err(Unusable::Form(_))
        ));
        assert!(matches!(check(&key, &[], 1), Err(Unusable::Form(_))));
        assert!(matches!(check("no PEM", &[], 1), Err(Unusable::Form(_))));
    }
}
