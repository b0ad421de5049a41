//! Every way into the site, and every way that is closed.

use std::time::Duration;

use hamesh_proto::ca::{CertificateAuthority, Fingerprint};
use hamesh_proto::credentials::{LiveCredentials, PrivateKey};
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::{re_enrol, v1};
use tonic::Code;

use crate::testing::{TestSite, credentials};

fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> Code {
    result.expect_err("it must be refused").code()
}

fn enrolments(site: &TestSite, result: &str) -> u64 {
    site.running
        .core
        .metrics
        .enrolments
        .with_label_values(&[result])
        .get()
}

#[tokio::test]
async fn a_token_lets_its_node_in_once() {
    let site = TestSite::start().await;
    let token = site.token("node-1").await;
    let key = PrivateKey::generate();
    let response = site
        .enrol_with("node-1", &token, &key)
        .await
        .expect("enrolled");
    assert_eq!(response.coordinators[0].api, "192.168.56.31:7443");
    let agent = credentials(key, response.bundle);
    assert_eq!(
        agent.current().spiffe_id().to_string(),
        "spiffe://small/agent/node-1"
    );

    let thief = PrivateKey::generate();
    assert_eq!(
        code(site.enrol_with("node-1", &token, &thief).await),
        Code::PermissionDenied
    );
    assert_eq!(
        (enrolments(&site, "enrolled"), enrolments(&site, "used")),
        (1, 1)
    );
    assert!(
        site.event_kinds()
            .await
            .contains(&"node.enrolled".to_owned())
    );
}

#[tokio::test]
async fn a_node_that_lost_the_answer_asks_again_with_the_same_key() {
    let site = TestSite::start().await;
    let token = site.token("node-1").await;
    let key = PrivateKey::generate();
    let first = site
        .enrol_with("node-1", &token, &key)
        .await
        .expect("enrolled");
    drop(first);
    let again = site
        .enrol_with("", &token, &key)
        .await
        .expect("enrolled again");
    let agent = credentials(key, again.bundle);
    site.session(&agent).await.assignment().await;
    assert_eq!(enrolments(&site, "enrolled_again"), 1);
}

#[tokio::test]
async fn of_two_machines_with_one_token_one_gets_in() {
    let site = TestSite::start().await;
    let token = site.token("node-1").await;
    let (left, right) = (PrivateKey::generate(), PrivateKey::generate());
    let (left, right) = tokio::join!(
        site.enrol_with("node-1", &token, &left),
        site.enrol_with("node-1", &token, &right),
    );
    assert_eq!(
        [left, right].iter().filter(|result| result.is_ok()).count(),
        1
    );
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_counted() {
    let site = TestSite::start().await;
    let ca = site.running.core.authority.ca().fingerprint();
    let key = PrivateKey::generate();
    let stranger = EnrolmentToken::generate(ca).to_string();
    assert_eq!(
        code(site.enrol_with("node-1", &stranger, &key).await),
        Code::Unauthenticated
    );

    // The right id with another secret.
    let right = site.token("node-1").await;
    let (right_parts, wrong_parts): (Vec<_>, Vec<_>) =
        (right.split('.').collect(), stranger.split('.').collect());
    let forged = [
        right_parts[0],
        right_parts[1],
        wrong_parts[2],
        right_parts[3],
    ]
    .join(".");
    assert_eq!(
        code(site.enrol_with("node-1", &forged, &key).await),
        Code::Unauthenticated
    );
    assert_eq!(enrolments(&site, "wrong_token"), 2);

    assert_eq!(
        code(site.enrol_with("node-1", "nonsense", &key).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(site.enrol_with("node-2", &right, &key).await),
        Code::PermissionDenied
    );
    assert_eq!(
        (
            enrolments(&site, "malformed"),
            enrolments(&site, "other_node")
        ),
        (1, 1)
    );
    // None of it has spent the token.
    site.enrol_with("node-1", &right, &key)
        .await
        .expect("enrolled");
}

#[tokio::test]
async fn expired_and_revoked_tokens_let_nobody_in() {
    let site = TestSite::start().await;
    let key = PrivateKey::generate();
    let created = v1::CreateTokenRequest {
        node: "node-1".to_owned(),
        valid_s: 600,
    };
    let revoked = site
        .admin()
        .create_token(created)
        .await
        .expect("a token")
        .into_inner();
    let request = v1::RevokeTokenRequest { id: revoked.id };
    site.admin().revoke_token(request).await.expect("revoked");
    let refused = site.enrol_with("node-1", &revoked.token, &key).await;
    assert_eq!(code(refused), Code::PermissionDenied);

    let late = site.token("node-1").await;
    site.clock.advance(Duration::from_secs(601));
    let refused = site.enrol_with("node-1", &late, &key).await;
    assert_eq!(code(refused), Code::PermissionDenied);
    assert_eq!(
        (enrolments(&site, "revoked"), enrolments(&site, "expired")),
        (1, 1)
    );

    let listed = site
        .admin()
        .list_tokens(v1::ListTokensRequest {})
        .await
        .expect("listed");
    let mut states: Vec<_> = listed
        .into_inner()
        .tokens
        .into_iter()
        .map(|token| token.state)
        .collect();
    states.sort();
    assert_eq!(states, ["expired", "revoked"]);
}

#[tokio::test]
async fn a_new_enrolment_revokes_the_identity_that_the_node_had() {
    let site = TestSite::start().await;
    let old = site.enrol("node-1").await;
    let mut session = site.session(&old).await;
    assert_eq!(session.assignment().await.id.expect("an id").generation, 1);
    let new = site.enrol("node-1").await;
    assert_eq!(session.end().await.code(), Code::Unauthenticated);
    let assignment = site.session(&new).await.assignment().await;
    assert_eq!(assignment.revoked_serials, [old.current().serial()]);
    assert_eq!(assignment.id.expect("an id").generation, 2);
}

#[tokio::test]
async fn a_node_that_slept_past_its_expiry_comes_back_through_an_opened_window() {
    let site = TestSite::start().await;
    let agent = site.enrol("node-1").await;
    let (old, key) = (agent.current(), PrivateKey::generate());
    let request = re_enrol::request(&old, key.csr_der(), "0");
    let refused = site.enrolment().re_enrol(request.clone()).await;
    assert_eq!(code(refused), Code::PermissionDenied);

    let window = v1::AllowReEnrolRequest {
        node: "node-1".to_owned(),
        valid_s: 600,
    };
    site.admin().allow_re_enrol(window).await.expect("opened");
    let forged = re_enrol::request(&site.enrol("node-2").await.current(), key.csr_der(), "0");
    let forged = v1::ReEnrolRequest {
        old_certificate_der: old.leaf_der().to_vec(),
        ..forged
    };
    assert_eq!(
        code(site.enrolment().re_enrol(forged).await),
        Code::Unauthenticated
    );

    let bundle = site
        .enrolment()
        .re_enrol(request.clone())
        .await
        .expect("let in")
        .into_inner();
    let back = credentials(key, bundle.bundle);
    site.session(&back).await.assignment().await;
    site.enrolment()
        .re_enrol(request)
        .await
        .expect("the same key may ask again");
    let other = re_enrol::request(&old, PrivateKey::generate().csr_der(), "0");
    assert_eq!(
        code(site.enrolment().re_enrol(other).await),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn an_opened_window_does_not_let_in_a_removed_nodes_certificate() {
    let site = TestSite::start().await;
    let removed = site.enrol("node-1").await;
    let request = v1::RemoveNodeRequest {
        node: "node-1".to_owned(),
    };
    site.admin().remove_node(request).await.expect("removed");
    site.enrol("node-1").await;
    let window = v1::AllowReEnrolRequest {
        node: "node-1".to_owned(),
        valid_s: 600,
    };
    site.admin().allow_re_enrol(window).await.expect("opened");
    let key = PrivateKey::generate();
    let request = re_enrol::request(&removed.current(), key.csr_der(), "0");
    assert_eq!(
        code(site.enrolment().re_enrol(request).await),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn an_enrolling_node_does_not_believe_another_ca() {
    let site = TestSite::start().await;
    let other = CertificateAuthority::create(
        &"small".parse().expect("a name"),
        "other",
        std::time::SystemTime::now(),
    );
    let pinned: Fingerprint = other.fingerprint();
    let channel = hamesh_proto::tls::pinned_channel(site.running.enrolment, pinned);
    let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
    let refused = client.enrol(v1::EnrolRequest::default()).await;
    assert_eq!(code(refused), Code::Unavailable);
}

#[tokio::test]
async fn a_token_of_a_removed_node_is_worth_nothing() {
    let site = TestSite::start().await;
    let token = site.token("node-1").await;
    let key = PrivateKey::generate();
    site.enrol_with("node-1", &token, &key)
        .await
        .expect("enrolled");
    let request = v1::RemoveNodeRequest {
        node: "node-1".to_owned(),
    };
    site.admin().remove_node(request).await.expect("removed");
    let refused = site.enrol_with("node-1", &token, &key).await;
    assert_eq!(code(refused), Code::PermissionDenied);
}

#[tokio::test]
async fn two_sites_of_one_name_do_not_talk_to_each_other() {
    let (site, other) = (TestSite::start().await, TestSite::start().await);
    let foreign: LiveCredentials = other.enrol("node-1").await;
    let request = v1::RenewCertificateRequest::default();
    let refused = site.agents(&foreign).renew_certificate(request).await;
    assert_eq!(code(refused), Code::Unavailable);
}
