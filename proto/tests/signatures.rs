//! Facts and re-enrolment: only the holder of the key speaks for the node.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::time::SystemTime;

use hamesh_proto::credentials::{ChainError, Credentials, PrivateKey};
use hamesh_proto::facts::{self, FactsError, MAX_FACTS_BYTES};
use hamesh_proto::re_enrol::{self, ReEnrolError};
use hamesh_proto::v1;
use proptest::prelude::*;
use support::Site;

fn facts_of(node: &str) -> v1::Facts {
    v1::Facts {
        node: node.to_owned(),
        sequence: 7,
        role: "database".to_owned(),
        ..v1::Facts::default()
    }
}

fn verify(signed: &v1::SignedFacts, own: &Credentials) -> Result<v1::Facts, FactsError> {
    let node = "node-1".parse().unwrap();
    facts::verify(
        signed,
        own.trust(),
        &node,
        SystemTime::now(),
        &BTreeSet::new(),
    )
}

#[test]
fn facts_signed_by_their_node_are_believed() {
    let credentials = Site::new("thirteen").credentials("agent/node-1");
    let signed = facts::sign(&credentials, &facts_of("node-1"));
    assert_eq!(verify(&signed, &credentials), Ok(facts_of("node-1")));
}

#[test]
fn a_member_cannot_speak_for_another() {
    let site = Site::new("thirteen");
    let own = site.credentials("agent/node-1");
    for other in ["agent/node-2", "coordinator/node-1", "operator/node-1"] {
        let signed = facts::sign(&site.credentials(other), &facts_of("node-1"));
        let refused = verify(&signed, &own).expect_err(other);
        assert_eq!(refused, FactsError::OtherSigner(site.id(other)));
    }
    let about_another = facts::sign(&own, &facts_of("node-2"));
    let refused = verify(&about_another, &own).expect_err("not about the signer");
    assert_eq!(refused, FactsError::OtherNode("node-2".to_owned()));
    // Another's certificate over one's own signature.
    let mut borrowed = facts::sign(&site.credentials("agent/node-2"), &facts_of("node-1"));
    borrowed.certificate_der = own.leaf_der().to_vec();
    assert_eq!(verify(&borrowed, &own), Err(FactsError::Signature));
}

#[test]
fn expired_revoked_and_foreign_signers_are_not_believed() {
    let site = Site::new("thirteen");
    let own = site.credentials("agent/node-1");
    let expired = facts::sign(&site.expired("agent/node-1"), &facts_of("node-1"));
    let refused = verify(&expired, &own).expect_err("expired");
    assert!(
        matches!(refused, FactsError::Chain(ChainError::Expired { .. })),
        "{refused:?}"
    );

    let foreign = Site::new("thirteen").credentials("agent/node-1");
    let refused = verify(&facts::sign(&foreign, &facts_of("node-1")), &own).expect_err("foreign");
    assert_eq!(refused, FactsError::Chain(ChainError::UnknownCa));

    let revoked = BTreeSet::from([own.serial().to_owned()]);
    let signed = facts::sign(&own, &facts_of("node-1"));
    let node = "node-1".parse().unwrap();
    let refused = facts::verify(&signed, own.trust(), &node, SystemTime::now(), &revoked);
    assert_eq!(refused, Err(FactsError::Revoked(own.serial().to_owned())));
}

#[test]
fn oversized_facts_are_refused_before_anything_is_computed() {
    let own = Site::new("thirteen").credentials("agent/node-1");
    let mut signed = facts::sign(&own, &facts_of("node-1"));
    signed.facts.resize(MAX_FACTS_BYTES + 1, 0);
    assert_eq!(verify(&signed, &own), Err(FactsError::TooLarge));
}

#[test]
fn the_old_key_proves_a_re_enrolment_even_after_expiry() {
    let site = Site::new("thirteen");
    let old = site.expired("agent/node-1");
    let csr = PrivateKey::generate().csr_der();
    let request = re_enrol::request(&old, csr, "0.1.0");
    let leaf = re_enrol::verify(&request, old.trust()).expect("the old key signed");
    assert_eq!(
        (&leaf.id, leaf.serial.as_str()),
        (old.spiffe_id(), old.serial())
    );

    let mut swapped = request.clone();
    swapped.csr_der = PrivateKey::generate().csr_der();
    assert_eq!(
        re_enrol::verify(&swapped, old.trust()),
        Err(ReEnrolError::Signature)
    );
    let mut stolen = request.clone();
    stolen.old_certificate_der = site.expired("agent/node-2").leaf_der().to_vec();
    assert_eq!(
        re_enrol::verify(&stolen, old.trust()),
        Err(ReEnrolError::Signature)
    );
    let elsewhere = Site::new("thirteen").credentials("agent/node-1");
    let refused = re_enrol::verify(&request, elsewhere.trust());
    assert_eq!(refused, Err(ReEnrolError::Chain(ChainError::UnknownCa)));
}

#[test]
fn a_signature_over_facts_is_no_re_enrolment_and_the_reverse() {
    let own = Site::new("thirteen").credentials("agent/node-1");
    let signed = facts::sign(&own, &facts_of("node-1"));
    let request = v1::ReEnrolRequest {
        old_certificate_der: signed.certificate_der.clone(),
        csr_der: signed.facts.clone(),
        signature: signed.signature.clone(),
        agent_version: String::new(),
    };
    assert_eq!(
        re_enrol::verify(&request, own.trust()),
        Err(ReEnrolError::Signature)
    );
    let request = re_enrol::request(&own, signed.facts, "0.1.0");
    let signed = v1::SignedFacts {
        facts: request.csr_der,
        signature: request.signature,
        certificate_der: request.old_certificate_der,
    };
    assert_eq!(verify(&signed, &own), Err(FactsError::Signature));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_as_signed_facts_or_re_enrolment_are_refused_without_panic(
        facts: Vec<u8>, signature: Vec<u8>, certificate: Option<Vec<u8>>
    ) {
        let own = Site::new("thirteen").credentials("agent/node-1");
        let certificate_der = certificate.unwrap_or_else(|| own.leaf_der().to_vec());
        let request = v1::ReEnrolRequest {
            old_certificate_der: certificate_der.clone(),
            csr_der: facts.clone(),
            signature: signature.clone(),
            agent_version: String::new(),
        };
        prop_assert!(re_enrol::verify(&request, own.trust()).is_err());
        let signed = v1::SignedFacts { facts, signature, certificate_der };
        prop_assert!(verify(&signed, &own).is_err());
    }

    #[test]
    fn facts_with_one_byte_changed_anywhere_are_refused(
        part in 0usize..3, at in any::<prop::sample::Index>(), with in 1u8..=255
    ) {
        let own = Site::new("thirteen").credentials("agent/node-1");
        let mut signed = facts::sign(&own, &facts_of("node-1"));
        let bytes = match part {
            0 => &mut signed.facts,
            1 => &mut signed.signature,
            _ => &mut signed.certificate_der,
        };
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        prop_assert!(verify(&signed, &own).is_err(), "part {part}, byte {at}");
    }
}
