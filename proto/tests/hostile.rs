//! Clients that mean harm: wrong protocols, floods, stolen certificates, random bytes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use echo::{Echo, who_am_i};
use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::tls::{
    Alpn, ClientAuth, Expect, HandshakeLimits, channel, client_config, connect, server_config,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use support::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn live(credentials: Credentials) -> LiveCredentials {
    LiveCredentials::new(credentials)
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

#[tokio::test]
async fn random_bytes_from_a_member_end_its_connection_and_nothing_else() {
    let seed = [0x68; 32];
    println!("seed {seed:?}");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let member = live(site.credentials("agent/node-1"));
    let config = client_config(&member, Expect::Coordinator, Alpn::H2);
    for round in 0..200 {
        let bytes = proptest::collection::vec(proptest::num::u8::ANY, 1..2000);
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        let mut stream = connect(echo.addr, Arc::clone(&config))
            .await
            .expect("a member");
        // Half of the rounds get past the preface, into the frames.
        if round % 2 == 0 {
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        }
        // The server may hang up before it has taken them all.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    who_am_i(channel(echo.addr, &member, Expect::Coordinator))
        .await
        .expect("still there");
}

#[tokio::test]
async fn one_source_at_its_bound_leaves_room_for_another() {
    let site = Site::new("thirteen");
    let server = live(site.credentials("coordinator/control-1"));
    let limits = HandshakeLimits {
        per_source: 3,
        ..HandshakeLimits::default()
    };
    let echo = Echo::start_with(&server, ClientAuth::Required, limits).await;
    let member = live(site.credentials("agent/node-1"));
    let config = client_config(&member, Expect::Coordinator, Alpn::H2);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(
            connect(echo.addr, Arc::clone(&config))
                .await
                .expect("below the bound"),
        );
    }
    connect(echo.addr, Arc::clone(&config))
        .await
        .expect_err("above the bound");
    echo.counted("over the limit", &echo.counters.over_limit, 1)
        .await;

    // All of 127.0.0.0/8 is this machine: another source address of it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(echo.addr).await.unwrap();
    let name = ServerName::from(echo.addr.ip());
    let mut other = tokio_rustls::TlsConnector::from(Arc::clone(&config))
        .connect(name, tcp)
        .await
        .expect("another source");
    other
        .read_exact(&mut [0; 9])
        .await
        .expect("the server's first frame");

    // What is given back can be had again.
    drop(held);
    let began = std::time::Instant::now();
    while connect(echo.addr, Arc::clone(&config)).await.is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "no room: {:?}",
            echo.counters
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
