//! Who may talk to whom over TLS, on 127.0.0.1.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use echo::{Echo, who_am_i};
use hamesh_proto::ca::{Fingerprint, NODE_VALID};
use hamesh_proto::credentials::{Credentials, LiveCredentials};
use hamesh_proto::tls::{
    Alpn, ClientAuth, ConnectError, Expect, channel, client_config, connect, pinned_channel,
    pinned_config,
};
use support::Site;
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
    }
    // An enrolling node pins the CA that signed what the coordinator shows.
    let enrolment = Echo::start(&server, ClientAuth::None).await;
    who_am_i(pinned_channel(enrolment.addr, new.ca.fingerprint()))
        .await
        .expect("the issuer");
    let status = who_am_i(pinned_channel(enrolment.addr, old.ca.fingerprint())).await;
    assert!(reason(&status.expect_err("not the issuer")).contains("NotPinned"));
    server
        .replace(new.credentials("coordinator/control-1"))
        .expect("the rotation ends: only the new CA");
    let late = live(old.trusting("agent/node-1", now, NODE_VALID, both()));
    let status = who_am_i(channel(echo.addr, &late, Expect::Coordinator)).await;
    assert!(reason(&status.expect_err("the old CA is retired")).contains("CA"));
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
