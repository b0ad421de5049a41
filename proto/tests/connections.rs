//! Who may talk to whom over TLS, on 127.0.0.1.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use echo::{Echo, who_am_i};
use hamesh_proto::ca::{Fingerprint, NODE_VALID};
use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::tls::{
    Alpn, ClientAuth, ConnectError, Expect, HandshakeLimits, channel, client_config, connect,
    pinned_channel, pinned_config, server_config,
};
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use support::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;

fn live(credentials: Credentials) -> LiveCredentials {
    LiveCredentials::new(credentials)
}

fn reason(status: &Status) -> String {
    match ConnectError::find(status) {
        Some(found) => format!("{found:?}"),
        None => panic!("no connect error in {status:?}"),
    }
}

#[tokio::test]
async fn members_of_a_site_know_each_other_by_identity() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    for path in ["agent/node-1", "operator/ada", "coordinator/control-2"] {
        let client = live(site.credentials(path));
        let seen = who_am_i(channel(echo.addr, &client, Expect::Coordinator)).await;
        let expected = (
            site.id(path).to_string(),
            client.current().serial().to_owned(),
        );
        assert_eq!(seen.expect("welcome"), expected);
    }
    echo.counted("established", &echo.counters.established, 3)
        .await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let refused = connect(echo.addr, pinned_config(site.ca.fingerprint())).await;
    let error = refused.expect_err("no certificate");
    assert!(
        matches!(error, ConnectError::Refused { .. }) && error.is_refusal(),
        "{error:?}"
    );
    echo.counted("failed", &echo.counters.failed, 1).await;
}

#[tokio::test]
async fn an_expired_client_is_refused_by_the_server_and_told_so() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let client = live(site.expired("agent/node-1"));
    let status = who_am_i(channel(echo.addr, &client, Expect::Coordinator)).await;
    let why = reason(&status.expect_err("expired"));
    assert!(why.contains("Refused") && why.contains("expired"), "{why}");
    echo.counted("failed", &echo.counters.failed, 1).await;
}

#[tokio::test]
async fn an_expired_server_is_refused_by_the_client() {
    let site = Site::new("thirteen");
    let server = live(site.expired("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let client = live(site.credentials("agent/node-1"));
    let status = who_am_i(channel(echo.addr, &client, Expect::Coordinator))
        .await
        .unwrap_err();
    let error = ConnectError::find(&status).expect("a connect error");
    assert!(error.is_refusal() && error.server_expired(), "{error:?}");
}

#[tokio::test]
async fn another_sites_certificate_is_refused_by_either_side() {
    let (here, there) = (Site::new("thirteen"), Site::new("thirteen"));
    let server = live(here.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;

    let stranger = live(there.credentials("agent/node-1"));
    let status = who_am_i(channel(echo.addr, &stranger, Expect::Coordinator)).await;
    let why = reason(&status.expect_err("the stranger does not know this CA"));
    assert!(why.contains("UnknownIssuer"), "{why}");

    // A stranger that trusts our CA is refused by the server instead.
    let believing = Site::new("thirteen");
    let both = vec![
        believing.ca.certificate_der().to_vec(),
        here.ca.certificate_der().to_vec(),
    ];
    let stranger = live(believing.trusting("agent/node-1", SystemTime::now(), NODE_VALID, both));
    let status = who_am_i(channel(echo.addr, &stranger, Expect::Coordinator)).await;
    let why = reason(&status.expect_err("not from this site's CA"));
    assert!(why.contains("Refused") && why.contains("CA"), "{why}");
}

#[tokio::test]
async fn an_identity_of_another_site_name_is_refused_even_from_a_trusted_ca() {
    let mut site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    site.name = "fourteen";
    let client = live(site.credentials("agent/node-1"));
    let why = reason(
        &who_am_i(channel(echo.addr, &client, Expect::Coordinator))
            .await
            .expect_err("refused"),
    );
    assert!(why.contains("OtherSite"), "{why}");
    echo.counted("failed", &echo.counters.failed, 1).await;
}

#[tokio::test]
async fn an_agents_or_operators_certificate_cannot_stand_in_for_a_coordinator() {
    let site = Site::new("thirteen");
    let client = live(site.credentials("agent/node-2"));
    for impostor in ["agent/control-1", "operator/control-1"] {
        let echo = Echo::start(&live(site.credentials(impostor)), ClientAuth::Required).await;
        let status = who_am_i(channel(echo.addr, &client, Expect::Coordinator)).await;
        let why = reason(&status.expect_err(impostor));
        assert!(why.contains("NotExpected"), "{why}");
        // Nor for an enrolling node, which knows no more than the CA.
        let status = who_am_i(pinned_channel(echo.addr, site.ca.fingerprint())).await;
        let why = reason(&status.expect_err(impostor));
        assert!(why.contains("NotExpected"), "{why}");
    }
}

#[tokio::test]
async fn one_expected_principal_is_not_another() {
    let site = Site::new("thirteen");
    let echo = Echo::start(
        &live(site.credentials("agent/node-1")),
        ClientAuth::Required,
    )
    .await;
    let client = live(site.credentials("agent/node-2"));
    let exactly = |path: &str| Expect::Exactly(path.parse().unwrap());
    who_am_i(channel(echo.addr, &client, exactly("agent/node-1")))
        .await
        .expect("the one");
    who_am_i(channel(echo.addr, &client, Expect::Member))
        .await
        .expect("a member");
    for other in ["agent/node-3", "coordinator/node-1"] {
        let status = who_am_i(channel(echo.addr, &client, exactly(other))).await;
        assert!(reason(&status.expect_err(other)).contains("NotExpected"));
    }
}

#[tokio::test]
async fn an_enrolling_node_talks_only_to_a_coordinator_of_the_pinned_ca() {
    let (site, other) = (Site::new("thirteen"), Site::new("thirteen"));
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::None).await;
    let seen = who_am_i(pinned_channel(echo.addr, site.ca.fingerprint())).await;
    assert_eq!(seen.expect("pinned").0, "nobody");
    let status = who_am_i(pinned_channel(echo.addr, other.ca.fingerprint())).await;
    let why = reason(&status.expect_err("another CA"));
    assert!(why.contains("NotPinned"), "{why}");
    // The leaf's own fingerprint is not that of a CA.
    let leaf = Fingerprint::of(server.current().leaf_der());
    assert!(who_am_i(pinned_channel(echo.addr, leaf)).await.is_err());
}

#[tokio::test]
async fn a_revoked_serial_number_is_refused_at_the_next_handshake() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let client = live(site.credentials("agent/node-1"));
    let revoked = BTreeSet::from([client.current().serial().to_owned()]);
    who_am_i(channel(echo.addr, &client, Expect::Coordinator))
        .await
        .expect("welcome");
    server.set_revoked(revoked);
    let status = who_am_i(channel(echo.addr, &client, Expect::Coordinator)).await;
    let why = reason(&status.expect_err("revoked"));
    assert!(why.contains("Refused") && why.contains("revoked"), "{why}");
    server.set_revoked(BTreeSet::new());
    who_am_i(channel(echo.addr, &client, Expect::Coordinator))
        .await
        .expect("welcome again");
}

#[tokio::test]
async fn renewed_certificates_are_used_by_running_listeners_and_channels() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let client = live(site.credentials("agent/node-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let config = client_config(&client, Expect::Coordinator, Alpn::H2);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let stream = connect(echo.addr, Arc::clone(&config))
            .await
            .expect("connected");
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(
            shown,
            server.current().leaf_der(),
            "the server shows its current one"
        );
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let own = who_am_i(channel(echo.addr, &client, Expect::Coordinator))
            .await
            .unwrap()
            .1;
        assert_eq!(
            own,
            client.current().serial(),
            "the client shows its current one"
        );
        seen.push((shown, own));
        server
            .replace(site.credentials("coordinator/control-1"))
            .expect("the same identity");
        client
            .replace(site.credentials("agent/node-1"))
            .expect("the same identity");
    }
    assert!(
        seen[0].0 != seen[1].0 && seen[0].1 != seen[1].1,
        "both were renewed"
    );
}

#[tokio::test]
async fn while_a_ca_is_rotated_members_of_both_cas_know_each_other() {
    let (old, new) = (Site::new("thirteen"), Site::new("thirteen"));
    let now = SystemTime::now();
    let both = || {
        vec![
            old.ca.certificate_der().to_vec(),
            new.ca.certificate_der().to_vec(),
        ]
    };
    let server = live(new.trusting("coordinator/control-1", now, NODE_VALID, both()));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    for site in [&old, &new] {
        let client = live(site.trusting("agent/node-1", now, NODE_VALID, both()));
        who_am_i(channel(echo.addr, &client, Expect::Coordinator))
            .await
            .expect("either CA");
        // A node that enrols pins either of them only where the server's own chain ends.
        let pinned = who_am_i(pinned_channel(echo.addr, site.ca.fingerprint())).await;
        assert!(pinned.is_err(), "the listener asks for a certificate");
    }
    server
        .replace(new.credentials("coordinator/control-1"))
        .expect("the rotation ends: only the new CA");
    let late = live(old.trusting("agent/node-1", now, NODE_VALID, both()));
    let status = who_am_i(channel(echo.addr, &late, Expect::Coordinator)).await;
    assert!(reason(&status.expect_err("the old CA is retired")).contains("CA"));
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused_and_1_3_is_what_is_spoken() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let client = live(site.credentials("agent/node-1"));
    let config = client_config(&client, Expect::Coordinator, Alpn::H2);
    let stream = connect(echo.addr, config).await.expect("connected");
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );

    let mut tcp = TcpStream::connect(echo.addr).await.unwrap();
    tcp.write_all(&TLS12_CLIENT_HELLO).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer)
        .await
        .expect("an alert, then the end");
    // Record type alert (21), level fatal (2), description protocol_version (70): RFC 8446, 6.
    assert_eq!(
        (answer[0], &answer[5..7]),
        (21, &[2, 70][..]),
        "{answer:02x?}"
    );
    echo.counted("failed", &echo.counters.failed, 1).await;
}

/// A ClientHello of TLS 1.2: ECDHE-ECDSA with AES-128-GCM, P-256, no `supported_versions`.
const TLS12_CLIENT_HELLO: [u8; 83] = {
    let mut hello = [0x5a; 83];
    let head = [22, 3, 1, 0, 78, 1, 0, 0, 74, 3, 3];
    let tail = [
        0, // no session id
        0, 2, 0xc0, 0x2b, // one cipher suite
        1, 0, // no compression
        0, 31, // extensions
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
        0, 11, 0, 2, 1, 0, // ec_point_formats
        0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms: ecdsa_secp256r1_sha256
        0, 23, 0, 0, // extended_master_secret
        0xff, 1, 0, 1, 0, // renegotiation_info
    ];
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    // 32 bytes of the client's random stay as they are.
    at = 0;
    while at < tail.len() {
        hello[head.len() + 32 + at] = tail[at];
        at += 1;
    }
    hello
};

#[tokio::test]
async fn what_is_not_tls_is_refused_and_the_listener_lives_on() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4000],
        b"PRI * HTTP/2.0\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(echo.addr).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        // A reset instead of an orderly end is as good a refusal.
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    }
    echo.counted("failed", &echo.counters.failed, 3).await;
    let client = live(site.credentials("agent/node-1"));
    who_am_i(channel(echo.addr, &client, Expect::Coordinator))
        .await
        .expect("still there");
}

#[tokio::test]
async fn a_flood_of_silent_connections_is_bounded_timed_out_and_then_over() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let limits = HandshakeLimits {
        handshakes: 8,
        timeout: Duration::from_millis(500),
        ..HandshakeLimits::default()
    };
    let echo = Echo::start_with(&server, ClientAuth::Required, limits).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(echo.addr).await.unwrap());
    }
    echo.counted("over the limit", &echo.counters.over_limit, 1)
        .await;
    let settled = || {
        let counters = &echo.counters;
        counters.timed_out.load(Ordering::Relaxed) + counters.over_limit.load(Ordering::Relaxed)
    };
    while settled() < 40 {
        echo.counted("timed out", &echo.counters.timed_out, 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The server has closed each of them.
    for mut tcp in silent {
        assert!(matches!(tcp.read(&mut [0]).await, Ok(0) | Err(_)));
    }
    let client = live(site.credentials("agent/node-1"));
    who_am_i(channel(echo.addr, &client, Expect::Coordinator))
        .await
        .expect("room again");
}

#[tokio::test]
async fn a_client_that_sends_its_hello_byte_by_byte_is_timed_out() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let limits = HandshakeLimits {
        timeout: Duration::from_millis(300),
        ..HandshakeLimits::default()
    };
    let echo = Echo::start_with(&server, ClientAuth::Required, limits).await;
    let mut tcp = TcpStream::connect(echo.addr).await.unwrap();
    for byte in [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(1)) {
        if tcp.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if echo.counters.timed_out.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    echo.counted("timed out", &echo.counters.timed_out, 1).await;
}

#[tokio::test]
async fn a_dialled_address_that_never_answers_is_an_error_in_time() {
    let site = Site::new("thirteen");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = live(site.credentials("agent/node-1"));
    let config = client_config(&client, Expect::Coordinator, Alpn::H2);
    let silent = connect(listener.local_addr().unwrap(), Arc::clone(&config)).await;
    let error = silent.expect_err("nobody accepts");
    assert!(
        matches!(error, ConnectError::Timeout { .. }) && !error.is_refusal(),
        "{error:?}"
    );
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = connect(addr, config).await.expect_err("nobody listens");
    assert!(
        matches!(error, ConnectError::Tcp { .. }) && !error.is_refusal(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_session_ticket_is_neither_given_nor_taken() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let config = server_config(&server, ClientAuth::None, Alpn::H2);
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.ticketer.enabled() && !config.session_storage.can_cache());
    let echo = Echo::start(&server, ClientAuth::None).await;
    // A client that would resume: rustls' default store, and a verifier of its own.
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(site.ca.certificate_der().to_vec().into())
        .unwrap();
    let mut eager =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    eager.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(eager));
    for _ in 0..2 {
        let tcp = TcpStream::connect(echo.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, tcp).await.expect("connected");
        stream
            .read_exact(&mut [0; 9])
            .await
            .expect("the server's first frame");
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_certificate_shown_without_its_key_is_refused() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let stolen = site.credentials("operator/ada");
    let thief = site.credentials("agent/node-1");
    let pem = thief.to_pem();
    let key = pem::parse(pem.as_bytes()).unwrap().into_contents();
    let signer = rustls::crypto::ring::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.into()));
    let chain = vec![stolen.leaf_der().to_vec().into()];
    let forged = rustls::sign::CertifiedKey::new(chain, signer.unwrap());
    let mut config =
        Arc::unwrap_or_clone(client_config(&live(thief), Expect::Coordinator, Alpn::H2));
    config.client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(Arc::new(forged)));
    connect(echo.addr, Arc::new(config))
        .await
        .expect_err("the signature is another key's");
    echo.counted("failed", &echo.counters.failed, 1).await;
}
