//! The CA, the credentials made with it, and what is refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{
    BACKDATED, CaError, CertificateAuthority, Fingerprint, IssueError, NODE_VALID, Profile, Subject,
};
use hamesh_proto::credentials::{
    ChainError, Credentials, CredentialsError, LiveCredentials, LoadError, PrivateKey, TrustBundle,
};
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::unix_time::unix_ms;
use proptest::prelude::*;
use support::Site;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_issued_certificate_names_exactly_what_the_profile_says() {
    let site = Site::new("thirteen");
    let now = SystemTime::now();
    let key = PrivateKey::generate();
    let issued = site
        .ca
        .issue(&key.csr_der(), &site.profile("agent/node-1"), now)
        .expect("issued");
    let bundle = TrustBundle::new(vec![site.ca.certificate_der().to_vec()]).expect("a bundle");
    let leaf = bundle.verify_chain(&issued.der, now).expect("it chains");
    assert_eq!(leaf.id, site.id("agent/node-1"));
    assert_eq!(leaf.serial, issued.serial);
    assert_eq!(leaf.serial.len(), 32);
    assert_eq!(leaf.public_key, key.public_key());
    assert_eq!(leaf.not_after_unix_ms, issued.not_after_unix_ms);
    assert_eq!(
        issued.not_after_unix_ms / 1000,
        unix_ms(now + NODE_VALID) / 1000
    );
    assert_eq!(
        leaf.not_before_unix_ms / 1000,
        unix_ms(now - BACKDATED) / 1000
    );
}

#[test]
fn a_service_is_believed_where_its_certificate_says_that_it_is() {
    let site = Site::new("thirteen");
    let now = SystemTime::now();
    let profile = Profile {
        subject: Subject::CommonName("postgresql on database-1".to_owned()),
        dns: vec!["database-1".to_owned()],
        ips: vec!["192.0.2.7".parse().unwrap()],
        valid: HOUR,
    };
    let issue = |ca: &CertificateAuthority, at| {
        let issued = ca.issue(&PrivateKey::generate().csr_der(), &profile, at);
        issued.expect("issued").der
    };
    let bundle = TrustBundle::new(vec![site.ca.certificate_der().to_vec()]).expect("a bundle");
    let believed = |der: &[u8], name: &'static str| {
        bundle.verify_service(der, &name.try_into().expect("a name"), now)
    };
    let good = issue(&site.ca, now);
    assert_eq!(believed(&good, "192.0.2.7"), Ok(()));
    assert_eq!(believed(&good, "database-1"), Ok(()));
    let other = believed(&good, "192.0.2.8");
    assert!(matches!(other, Err(ChainError::Other(_))), "{other:?}");
    let old = believed(&issue(&site.ca, now - 2 * HOUR), "192.0.2.7");
    assert!(matches!(old, Err(ChainError::Expired { .. })), "{old:?}");
    let foreign = issue(&Site::new("thirteen").ca, now);
    assert_eq!(believed(&foreign, "192.0.2.7"), Err(ChainError::UnknownCa));
}

#[test]
fn the_longest_names_fit_into_certificates() {
    let longest = "n".repeat(63);
    let site = Site::new(Box::leak(longest.clone().into_boxed_str()));
    for kind in ["agent", "coordinator", "operator"] {
        let path = format!("{kind}/{longest}");
        assert_eq!(site.credentials(&path).spiffe_id(), &site.id(&path));
    }
}

#[test]
fn names_asked_for_in_a_signing_request_are_ignored() {
    let site = Site::new("thirteen");
    let key = PrivateKey::generate();
    let mut params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    let uri = "spiffe://thirteen/coordinator/control-1"
        .try_into()
        .unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(uri));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key).unwrap();
    let issued = site
        .ca
        .issue(
            request.der(),
            &site.profile("agent/node-1"),
            SystemTime::now(),
        )
        .expect("only the key of the request counts");
    let credentials = Credentials::new(
        key,
        issued.der.clone(),
        vec![site.ca.certificate_der().to_vec()],
    )
    .expect("they fit");
    assert_eq!(credentials.spiffe_id(), &site.id("agent/node-1"));
    assert!(
        TrustBundle::new(vec![issued.der.clone()]).is_err(),
        "a leaf is no CA"
    );
    let holds = |text: &str| issued.der.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!holds("evil.example") && !holds("control-1"));
}

#[test]
fn a_request_for_another_algorithm_or_by_another_key_is_refused() {
    let site = Site::new("thirteen");
    let (profile, now) = (site.profile("agent/node-1"), SystemTime::now());
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let other = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let request = rcgen::CertificateParams::default()
            .serialize_request(&other)
            .unwrap();
        let refused = site
            .ca
            .issue(request.der(), &profile, now)
            .expect_err("refused");
        assert_eq!(refused, IssueError::Key);
    }
    let mut request = PrivateKey::generate().csr_der();
    *request.last_mut().unwrap() ^= 1;
    let refused = site.ca.issue(&request, &profile, now).expect_err("refused");
    assert!(matches!(refused, IssueError::Request(_)), "{refused}");
}

#[test]
fn a_certificate_never_outlives_its_ca() {
    let site = Site::new("thirteen");
    let end = std::time::UNIX_EPOCH + Duration::from_millis(site.ca.not_after_unix_ms());
    let request = PrivateKey::generate().csr_der();
    let issued = site
        .ca
        .issue(&request, &site.profile("agent/node-1"), end - HOUR)
        .expect("issued");
    assert_eq!(issued.not_after_unix_ms, site.ca.not_after_unix_ms());
    let refused = site
        .ca
        .issue(&request, &site.profile("agent/node-1"), end + HOUR);
    assert_eq!(refused.expect_err("refused"), IssueError::Expired);
}

#[test]
fn a_ca_comes_back_from_pem_and_issues_what_the_first_one_trusts() {
    let site = Site::new("thirteen");
    let text = site.ca.to_pem();
    let again = CertificateAuthority::from_pem(&text).expect("read");
    assert_eq!(again.fingerprint(), site.ca.fingerprint());
    assert_eq!(again.not_after_unix_ms(), site.ca.not_after_unix_ms());
    let key = PrivateKey::generate();
    let issued = again
        .issue(
            &key.csr_der(),
            &site.profile("agent/node-1"),
            SystemTime::now(),
        )
        .expect("issued");
    Credentials::new(key, issued.der, vec![site.ca.certificate_der().to_vec()]).expect("trusted");
}

#[test]
fn a_ca_with_another_ones_key_is_refused() {
    let (one, two) = (Site::new("thirteen"), Site::new("thirteen"));
    let (key, _) = one
        .ca
        .to_pem()
        .split_once("-----BEGIN CERT")
        .map(own)
        .unwrap();
    let (_, certificate) = two
        .ca
        .to_pem()
        .split_once("-----BEGIN CERT")
        .map(own)
        .unwrap();
    let mixed = format!("{key}-----BEGIN CERT{certificate}");
    assert_eq!(
        CertificateAuthority::from_pem(&mixed).expect_err("refused"),
        CaError::OtherKey
    );
    let leaf = one.credentials("agent/node-1").to_pem();
    let only_leaf = leaf.rsplit_once("-----BEGIN CERT").map(own).unwrap().0;
    assert_eq!(
        CertificateAuthority::from_pem(&only_leaf).expect_err("refused"),
        CaError::NotACa
    );
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn a_store_certificate_carries_no_identity_of_the_site() {
    let site = Site::new("thirteen");
    let profile = Profile {
        subject: Subject::CommonName("hamesh-store".to_owned()),
        ..site.profile("agent/node-1")
    };
    let key = PrivateKey::generate();
    let issued = site
        .ca
        .issue(&key.csr_der(), &profile, SystemTime::now())
        .expect("issued");
    let refused = Credentials::new(key, issued.der, vec![site.ca.certificate_der().to_vec()]);
    assert!(matches!(
        refused,
        Err(CredentialsError::Chain(ChainError::Leaf(_)))
    ));
}

#[test]
fn saved_credentials_come_back_the_same_in_a_file_of_mode_0600() {
    let site = Site::new("thirteen");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.pem");
    let credentials = site.credentials("coordinator/control-1");
    credentials.save(&path).expect("saved");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let again = Credentials::load(&path).expect("loaded");
    assert_eq!(again.spiffe_id(), credentials.spiffe_id());
    assert_eq!(again.serial(), credentials.serial());
    assert_eq!(*again.to_pem(), *credentials.to_pem());
    fs::write(&path, "nothing of use").unwrap();
    assert!(matches!(
        Credentials::load(&path),
        Err(LoadError::Content { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        Credentials::load(&path),
        Err(LoadError::Read { .. })
    ));
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let site = Site::new("thirteen");
    let leaf = site.credentials("agent/node-1").leaf_der().to_vec();
    let refused = Credentials::new(
        PrivateKey::generate(),
        leaf,
        vec![site.ca.certificate_der().to_vec()],
    );
    assert_eq!(refused.expect_err("refused"), CredentialsError::OtherKey);
}

#[test]
fn an_expired_certificate_chains_only_where_expiry_is_ignored() {
    let site = Site::new("thirteen");
    let credentials = site.expired("agent/node-1");
    let now = SystemTime::now();
    assert!(credentials.expired(now));
    assert!(!credentials.expired(now - 90 * Duration::from_secs(60)));
    let bundle = credentials.trust();
    let refused = bundle
        .verify_chain(credentials.leaf_der(), now)
        .expect_err("expired");
    assert!(matches!(refused, ChainError::Expired { .. }), "{refused}");
    bundle
        .verify_chain_ignoring_expiry(credentials.leaf_der())
        .expect("signed by the CA");
    let early = bundle.verify_chain(credentials.leaf_der(), now - 3 * HOUR - BACKDATED);
    assert_eq!(early.expect_err("too early"), ChainError::NotYetValid);
}

#[test]
fn another_sites_ca_does_not_vouch_whether_expiry_counts_or_not() {
    let (here, there) = (Site::new("thirteen"), Site::new("thirteen"));
    let stranger = there.credentials("agent/node-1");
    let bundle = TrustBundle::new(vec![here.ca.certificate_der().to_vec()]).unwrap();
    for refused in [
        bundle.verify_chain(stranger.leaf_der(), SystemTime::now()),
        bundle.verify_chain_ignoring_expiry(stranger.leaf_der()),
    ] {
        assert_eq!(refused.expect_err("a stranger"), ChainError::UnknownCa);
    }
}

#[test]
fn two_thirds_of_the_life_is_the_time_to_renew() {
    let site = Site::new("thirteen");
    let now = SystemTime::now();
    let credentials = site.issued_at("agent/node-1", now, 3 * HOUR);
    let renew_in_s = (credentials.renew_at_unix_ms() - unix_ms(now)) / 1000;
    let expected_s = (2 * HOUR).as_secs();
    assert!(
        (expected_s - 1..=expected_s).contains(&renew_in_s),
        "{renew_in_s} s"
    );
}

#[test]
fn live_credentials_change_for_the_same_identity_only() {
    let site = Site::new("thirteen");
    let live = LiveCredentials::new(site.credentials("agent/node-1"));
    let shared = live.clone();
    let renewed = site.credentials("agent/node-1");
    let serial = renewed.serial().to_owned();
    live.replace(renewed).expect("the same identity");
    assert_eq!(shared.current().serial(), serial);
    let error = live
        .replace(site.credentials("agent/node-2"))
        .expect_err("another identity");
    assert!(error.to_string().contains("agent/node-2"), "{error}");
    assert_eq!(shared.current().serial(), serial);
}

#[test]
fn debug_of_secrets_shows_no_secret() {
    let site = Site::new("thirteen");
    let credentials = site.credentials("agent/node-1");
    let token = EnrolmentToken::generate(site.ca.fingerprint());
    let live = LiveCredentials::new(credentials.clone());
    let shown = format!("{credentials:?} {live:?} {:?} {token:?}", site.ca);
    let pems = format!("{}{}", *credentials.to_pem(), *site.ca.to_pem());
    let secrets = pem::parse_many(pems)
        .unwrap()
        .into_iter()
        .filter(|p| p.tag() == "PRIVATE KEY");
    for secret in secrets {
        let hex: String = secret.contents()[36..68]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let list = format!("{:?}", &secret.contents()[36..68]);
        assert!(!shown.contains(&hex) && !shown.contains(list.trim_matches(['[', ']'])));
    }
    assert!(!shown.contains(token.to_string().split('.').nth(2).unwrap()));
}

#[test]
fn a_fingerprint_is_the_sha_256_of_the_certificate() {
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Fingerprint::of(b"abc").to_string(), expected);
    assert_eq!(
        expected.parse::<Fingerprint>().expect("read"),
        Fingerprint::of(b"abc")
    );
    assert!(expected.to_uppercase().parse::<Fingerprint>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_certificate_with_one_byte_changed_is_refused(
        at in any::<prop::sample::Index>(), with in 1u8..=255
    ) {
        let site = Site::new("thirteen");
        let credentials = site.credentials("agent/node-1");
        let mut der = credentials.leaf_der().to_vec();
        let at = at.index(der.len());
        der[at] ^= with;
        prop_assert!(credentials.trust().verify_chain(&der, SystemTime::now()).is_err());
    }

    #[test]
    fn any_request_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        let site = Site::new("thirteen");
        let profile = site.profile("agent/node-1");
        prop_assert!(site.ca.issue(&bytes, &profile, SystemTime::now()).is_err());
    }

    // The envelope around what is signed has more than one spelling that parsers accept.
    #[test]
    fn a_request_with_one_byte_changed_is_refused_or_still_for_the_same_key(
        at in any::<prop::sample::Index>(), with in 1u8..=255
    ) {
        let site = Site::new("thirteen");
        let key = PrivateKey::generate();
        let mut request = key.csr_der();
        let at = at.index(request.len());
        request[at] ^= with;
        let now = SystemTime::now();
        if let Ok(issued) = site.ca.issue(&request, &site.profile("agent/node-1"), now) {
            let ca = site.ca.certificate_der().to_vec();
            let leaf = TrustBundle::new(vec![ca]).unwrap().verify_chain(&issued.der, now).unwrap();
            prop_assert_eq!(leaf.public_key, key.public_key(), "byte {}", at);
            prop_assert_eq!(leaf.id, site.id("agent/node-1"));
        }
    }

    #[test]
    fn identity_files_of_any_text_are_refused_without_panic(text in ".{0,300}") {
        prop_assert!(Credentials::from_pem(&text).is_err());
        prop_assert!(CertificateAuthority::from_pem(&text).is_err());
    }
}
