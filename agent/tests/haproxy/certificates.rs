//! Certificates that it is handed.

use std::net::SocketAddr;

use hamesh_agent::haproxy::certificates::{NotTaken, hand};
use hamesh_agent::haproxy::runtime::ask;
use hamesh_proto::{pem_text, tls};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384,
};

use crate::program::{Haproxy, free};

/// A certificate and its key.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["www".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn shows(at: SocketAddr, certificate: &str) -> bool {
    let certificates = pem_text::certificates(certificate).expect("a certificate");
    tls::shows(at, &certificates[0]).await.is_ok()
}

/// Shows the certificate that is in `edge.pem`, with its key beside it; asks with `client.pem`
/// whether it shows one that is in `client.pem`, too.
async fn proxy(at: SocketAddr, (certificate, key): (&str, &str)) -> Haproxy {
    let config = format!(
        "
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend edge
    bind {at} ssl crt FOLDER/edge.pem
    http-request return status 200
backend databases
    default-server check inter 100ms check-ssl verify required
    default-server crt FOLDER/client.pem ca-file FOLDER/client.pem
    server itself {at}
"
    );
    let client = format!("{certificate}{key}");
    let files = [
        ("edge.pem", certificate),
        ("edge.pem.key", key),
        ("client.pem", &client),
    ];
    Haproxy::start(&files, &config).await
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on_by_the_same_process() {
    let (at, (old, old_key), (new, new_key)) = (free(), made(), made());
    let haproxy = proxy(at, (&old, &old_key)).await;
    assert!(shows(at, &old).await && !shows(at, &new).await);
    let (socket, file) = (haproxy.socket(), haproxy.file("edge.pem"));
    // With all that may stand in a file of an operator.
    let pem = format!("# generated\r\n\r\n{new}\n\nkey\n{new_key}\n");
    hand(&socket, &file, &pem, false).await.expect("taken");
    assert!(shows(at, &new).await && !shows(at, &old).await);
    // A key of another kind.
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let params = CertificateParams::new(["www".to_owned()]).expect("a name");
    let other = params.self_signed(&key).expect("a certificate").pem();
    let pem = other.clone() + &key.serialize_pem();
    hand(&socket, &file, &pem, false).await.expect("taken");
    assert!(shows(at, &other).await);
    hand(&socket, &file, &pem, false)
        .await
        .expect("twice does no harm");
}

#[tokio::test]
async fn what_it_does_not_take_is_told_in_its_words_and_is_not_in_the_way() {
    let (at, (old, old_key), (new, new_key)) = (free(), made(), made());
    let haproxy = proxy(at, (&old, &old_key)).await;
    let (socket, file) = (haproxy.socket(), haproxy.file("edge.pem"));
    let (pem, other_key) = (new.clone() + &new_key, new.clone() + &old_key);
    let strange = haproxy.file("strange.pem");
    let large = pem.clone() + &new.repeat(40);
    for (file, pem) in [
        (&strange, &pem),
        (&file, &new),
        (&file, &other_key),
        (&file, &large),
    ] {
        let refused = hand(&socket, file, pem, false).await;
        assert!(
            matches!(refused, Err(NotTaken::Refused { .. })),
            "{refused:?}"
        );
        assert!(shows(at, &old).await, "after {refused:?}");
    }
    let nobody = hand(&haproxy.folder().join("none"), &file, &pem, false).await;
    assert!(matches!(nobody, Err(NotTaken::Silent(_))), "{nobody:?}");
    let text = hand(&socket, &file, "no PEM", false).await;
    assert!(matches!(text, Err(NotTaken::Form(_))), "{text:?}");
    hand(&socket, &file, &pem, false)
        .await
        .expect("taken after all");
    assert!(shows(at, &new).await);
}

/// A CA, and what makes certificates of it, each with the CA's after it, and their keys.
fn authority() -> impl Fn() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("a CA").pem();
    let issuer = Issuer::new(params, key);
    move || {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["www".to_owned()]).expect("a name");
        params.distinguished_name = DistinguishedName::new();
        let leaf = params.signed_by(&key, &issuer).expect("signed").pem();
        (leaf + &ca, key.serialize_pem())
    }
}

#[tokio::test]
async fn with_the_cas_that_it_trusts_it_takes_certificates_of_the_same_only() {
    let (at, issued, others) = (free(), authority(), authority());
    let (first, first_key) = issued();
    let haproxy = proxy(at, (&first, &first_key)).await;
    haproxy.until("show servers state databases", " 2 0 ").await;
    let (socket, file) = (haproxy.socket(), haproxy.file("client.pem"));
    for _ in 0..3 {
        let (next, key) = issued();
        let handed = hand(&socket, &file, &(next + &key), true).await;
        handed.expect("of the same CA");
    }
    let (other, key) = others();
    let refused = hand(&socket, &file, &(other + &key), true).await;
    assert!(matches!(refused, Err(NotTaken::OtherCas(_))), "{refused:?}");
    let well = ask(&socket, "show servers state databases").await;
    assert!(well.expect("an answer").contains(" 2 0 "));
}
