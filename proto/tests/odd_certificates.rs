//! Certificates that the site's own CA signed, but that are not as hamesh issues them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::time::SystemTime;

use hamesh_proto::credentials::{BundleError, ChainError, LeafError, TrustBundle, Usage};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use support::Site;

/// A site, and its CA in hands that issue anything.
struct Careless {
    bundle: TrustBundle,
    issuer: Issuer<'static, KeyPair>,
}

impl Careless {
    fn new() -> Self {
        let site = Site::new("thirteen");
        let ca_der = site.ca.certificate_der().to_vec();
        let text = site.ca.to_pem();
        let key = text.split("-----BEGIN CERTIFICATE").next().unwrap();
        let key = KeyPair::from_pem(key).unwrap();
        let issuer = Issuer::from_ca_cert_der(&ca_der.clone().into(), key).unwrap();
        Self {
            bundle: TrustBundle::new(vec![ca_der]).unwrap(),
            issuer,
        }
    }

    fn verify(&self, params: &CertificateParams, usage: Usage) -> Result<(), ChainError> {
        self.verify_with(params, &KeyPair::generate().unwrap(), usage)
    }

    fn verify_with(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
        usage: Usage,
    ) -> Result<(), ChainError> {
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        self.bundle
            .verify_for(certificate.der(), SystemTime::now(), usage)
            .map(|_| ())
    }
}

/// As hamesh would issue it.
fn regular() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("spiffe://thirteen/agent/node-1")];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[test]
fn a_regular_certificate_is_believed_in_both_uses() {
    let careless = Careless::new();
    careless
        .verify(&regular(), Usage::Client)
        .expect("as a client");
    careless
        .verify(&regular(), Usage::Server)
        .expect("as a server");
}

#[test]
fn a_certificate_for_one_use_is_not_believed_in_the_other() {
    let careless = Careless::new();
    for (purpose, good, bad) in [
        (
            ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Client,
            Usage::Server,
        ),
        (
            ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Server,
            Usage::Client,
        ),
    ] {
        let mut params = regular();
        params.extended_key_usages = vec![purpose];
        careless.verify(&params, good).expect("its own use");
        let refused = careless.verify(&params, bad).expect_err("the other use");
        assert!(matches!(refused, ChainError::Other(_)), "{refused:?}");
    }
}

#[test]
fn two_identities_none_or_one_of_another_form_are_refused() {
    let careless = Careless::new();
    let node = uri("spiffe://thirteen/agent/node-1");
    let dns = SanType::DnsName("node-1".try_into().unwrap());
    for names in [
        vec![],
        vec![dns],
        vec![node.clone(), uri("spiffe://thirteen/coordinator/control-1")],
        vec![node.clone(), node],
        vec![uri("https://thirteen/agent/node-1")],
        vec![uri("spiffe://thirteen/root/node-1")],
    ] {
        let mut params = regular();
        params.subject_alt_names = names;
        let refused = careless
            .verify(&params, Usage::Client)
            .expect_err("refused");
        assert!(
            matches!(
                refused,
                ChainError::Leaf(LeafError::Names | LeafError::Identity(_))
            ),
            "{refused:?} for {:?}",
            params.subject_alt_names
        );
    }
}

#[test]
fn a_key_of_another_algorithm_is_refused() {
    let careless = Careless::new();
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let refused = careless.verify_with(&regular(), &key, Usage::Client);
        assert_eq!(refused, Err(ChainError::Leaf(LeafError::Key)));
    }
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&other).unwrap();
    let refused = TrustBundle::new(vec![ca.der().to_vec()]).expect_err("a P-384 CA");
    assert_eq!(refused, BundleError::NotACa(0));
}

#[test]
fn neither_a_ca_nor_what_a_lesser_ca_signed_is_believed() {
    let careless = Careless::new();
    let mut params = regular();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let key = KeyPair::generate().unwrap();
    let refused = careless
        .verify_with(&params, &key, Usage::Client)
        .expect_err("a CA");
    assert!(matches!(refused, ChainError::Other(_)), "{refused:?}");

    let lesser = Issuer::new(params, key);
    let leaf = regular()
        .signed_by(&KeyPair::generate().unwrap(), &lesser)
        .unwrap();
    let refused = careless.bundle.verify_chain(leaf.der(), SystemTime::now());
    assert_eq!(
        refused.expect_err("signed by the lesser one"),
        ChainError::UnknownCa
    );
}

#[test]
fn a_bundle_without_a_ca_or_with_too_many_is_refused() {
    let der = Site::new("thirteen").ca.certificate_der().to_vec();
    assert_eq!(
        TrustBundle::new(vec![]).expect_err("none"),
        BundleError::Empty
    );
    let many = TrustBundle::new(vec![der.clone(); 9]).expect_err("nine");
    assert_eq!(many, BundleError::TooMany);
    let odd = TrustBundle::new(vec![der, vec![1, 2, 3]]).expect_err("not a certificate");
    assert_eq!(odd, BundleError::NotACa(1));
}
