//! A certificate authority: the site's, and (a second one) the store's.
//!
//! It decides every name in what it issues; of a signing request only the public key is used. A
//! certificate never outlives its CA. There are no intermediate CAs and no revocation lists:
//! certificates are short-lived, and the few serial numbers that are revoked travel with the
//! assignment.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::digest;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::SiteName;
use crate::key::{PUBLIC_KEY_BYTES, PrivateKey};
use crate::leaf;
use crate::pem_text::{self, PemError};
use crate::random;
use crate::spiffe::SpiffeId;
use crate::unix_time::unix_s;

/// How long a CA is valid.
pub const CA_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long an agent's or a coordinator's certificate is valid.
pub const NODE_VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an operator's certificate is valid.
pub const OPERATOR_VALID: Duration = Duration::from_secs(30 * 24 * 3600);
/// Certificates are valid from this long before they are issued: coordinators whose clocks are an
/// hour off, each to another side, still believe what each of them issues.
pub const BACKDATED: Duration = Duration::from_secs(3 * 60 * 60);

/// The last second of the year 9999, the end of what X.509 can express.
const LAST_S: u64 = 253_402_300_799;
/// A request is a key and a signature; a real one has about 250 bytes.
const MAX_REQUEST_BYTES: usize = 4096;

/// The SHA-256 of a certificate's DER form; 64 lower-case hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// The text is not a fingerprint. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 fingerprint (64 lower-case hexadecimal digits)")]
pub struct FingerprintError;

/// A CA with its private key.
pub struct CertificateAuthority {
    issuer: Issuer<'static, PrivateKey>,
    der: Vec<u8>,
    not_after_s: u64,
}

/// Why a stored CA cannot be used. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// Not PEM text with one key and one certificate.
    #[error("the stored CA is damaged; restore it from a backup")]
    Pem(#[from] PemError),
    /// More than one certificate.
    #[error("the stored CA must hold exactly one certificate")]
    NotOne,
    /// The certificate is not that of a CA.
    #[error("the certificate stored beside the CA's key is not a CA certificate")]
    NotACa,
    /// The key belongs to another certificate.
    #[error("the CA's private key does not belong to its certificate; restore both from a backup")]
    OtherKey,
}

/// What is asked of the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whom the certificate names.
    pub subject: Subject,
    /// DNS names, for clients that go by those.
    pub dns: Vec<String>,
    /// IP addresses, likewise.
    pub ips: Vec<IpAddr>,
    /// How long it is valid, cut to the CA's own life.
    pub valid: Duration,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An identity of the site, as a URI name.
    Spiffe(SpiffeId),
    /// A program that goes by DNS names, addresses and a common name (the store's).
    CommonName(String),
}

/// A fresh certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub der: Vec<u8>,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// The end of its validity.
    pub not_after_unix_ms: u64,
}

/// Why nothing was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Not a PKCS#10 request, or its signature is not by its own key.
    #[error("the signing request is not acceptable ({0}); nothing was issued")]
    Request(String),
    /// Another algorithm.
    #[error("the signing request is not for an ECDSA P-256 key; nothing was issued")]
    Key,
    /// A name of the profile cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate; nothing was issued")]
    Name(String),
    /// The CA has run out.
    #[error("the CA has expired or the clock is wrong; nothing was issued")]
    Expired,
}

impl Fingerprint {
    /// That of the certificate `der`.
    pub fn of(der: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(hash)
    }
}

impl CertificateAuthority {
    /// A new CA of `site`. `common_name` tells the site's from the store's.
    ///
    /// # Panics
    /// If the kernel has no random numbers to give.
    pub fn create(site: &SiteName, common_name: &str, now: SystemTime) -> Self {
        let key = PrivateKey::generate();
        let (not_before_s, not_after_s) = validity(now, CA_VALID, LAST_S);
        let mut params = CertificateParams::default();
        params.not_before = date(not_before_s);
        params.not_after = date(not_after_s);
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, site.as_str());
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .expect("a CA of plain names can be signed");
        let der = certificate.der().to_vec();
        Self {
            issuer: Issuer::new(params, key),
            der,
            not_after_s,
        }
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote.
    pub fn from_pem(text: &str) -> Result<Self, CaError> {
        let (key, mut certificates) = pem_text::parse(text)?;
        let (Some(der), true) = (certificates.pop(), certificates.is_empty()) else {
            return Err(CaError::NotOne);
        };
        let facts = leaf::ca_facts(&der).ok_or(CaError::NotACa)?;
        if facts.public_key != key.public_key() {
            return Err(CaError::OtherKey);
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(der.as_slice()), key)
            .map_err(|_| CaError::NotACa)?;
        Ok(Self {
            issuer,
            der,
            not_after_s: facts.not_after_s,
        })
    }

    /// Private key and certificate. The site's greatest secret: write it to 0600 files only.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = self.issuer.key().to_pem();
        text.push_str(&pem_text::certificate(&self.der));
        text
    }

    /// The CA's certificate.
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// What enrolling nodes pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// The end of the CA's own life.
    pub fn not_after_unix_ms(&self) -> u64 {
        self.not_after_s * 1000
    }

    /// Signs with the CA's key what is no certificate. The message names its purpose.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(message)
    }

    /// Whether this CA signed it.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public_key = self.issuer.key().public_key();
        crate::key::signature_is_valid(public_key, message, signature)
    }

    /// Signs a certificate for the key in `csr_der`, with the names of `profile` and no others.
    pub fn issue(
        &self,
        csr_der: &[u8],
        profile: &Profile,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        if csr_der.len() > MAX_REQUEST_BYTES {
            return Err(IssueError::Request("it is too long".to_owned()));
        }
        let mut request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
                .map_err(|error| IssueError::Request(error.to_string()))?;
        let public: &[u8] = rcgen::PublicKeyData::der_bytes(&request.public_key);
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256
            || public.len() != PUBLIC_KEY_BYTES
        {
            return Err(IssueError::Key);
        }
        if unix_s(now) >= self.not_after_s {
            return Err(IssueError::Expired);
        }
        let (not_before_s, not_after_s) = validity(now, profile.valid, self.not_after_s);
        let serial = serial();
        request.params = leaf_params(profile, not_before_s, not_after_s, &serial)?;
        let certificate = request
            .signed_by(&self.issuer)
            .map_err(|error| IssueError::Request(error.to_string()))?;
        Ok(Issued {
            der: certificate.der().to_vec(),
            serial: crate::hex::encode(&serial),
            not_after_unix_ms: not_after_s * 1000,
        })
    }
}

fn leaf_params(
    profile: &Profile,
    not_before_s: u64,
    not_after_s: u64,
    serial: &[u8],
) -> Result<CertificateParams, IssueError> {
    let text = |text: &str| {
        rcgen::string::Ia5String::try_from(text).map_err(|_| IssueError::Name(text.to_owned()))
    };
    let mut params = CertificateParams::default();
    params.not_before = date(not_before_s);
    params.not_after = date(not_after_s);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let common_name = match &profile.subject {
        Subject::Spiffe(id) => {
            params
                .subject_alt_names
                .push(SanType::URI(text(&id.to_string())?));
            // A path with the longest of names would not fit into a common name (64 bytes).
            id.principal.name().to_owned()
        }
        Subject::CommonName(name) => name.clone(),
    };
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    for name in &profile.dns {
        params.subject_alt_names.push(SanType::DnsName(text(name)?));
    }
    params
        .subject_alt_names
        .extend(profile.ips.iter().copied().map(SanType::IpAddress));
    Ok(params)
}

/// First and last second, both within what the CA and X.509 allow.
fn validity(now: SystemTime, valid: Duration, last_s: u64) -> (u64, u64) {
    let now_s = unix_s(now).min(LAST_S);
    let not_after_s = now_s.saturating_add(valid.as_secs()).min(last_s);
    (now_s.saturating_sub(BACKDATED.as_secs()), not_after_s)
}

fn date(unix_s: u64) -> time::OffsetDateTime {
    time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(unix_s)
}

/// 126 random bits, positive and always 16 bytes long (RFC 5280 section 4.1.2.2 asks for at most
/// 20 bytes).
fn serial() -> [u8; 16] {
    let mut serial: [u8; 16] = random::bytes();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::hex::encode(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        crate::hex::decode(text).map(Self).ok_or(FingerprintError)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}
