//! Connections whose other end vanished without a word.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use echo::{Echo, who_am_i};
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::tls::{Alpn, ClientAuth, Expect, USER_TIMEOUT, channel, client_config, connect};
use hamesh_proto::v1;
use hamesh_proto::v1::enrolment_client::EnrolmentClient;
use support::Site;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Far above what it takes, so that a busy machine does not fail the test.
const GENEROUS: Duration = Duration::from_secs(60);

/// Forwards one connection to `target` until `frozen`, then holds both ends open in silence.
async fn freezable_proxy(target: SocketAddr, mut frozen: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(target).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
            _ = frozen.wait_for(|frozen| *frozen) => {}
        }
        std::future::pending::<()>().await;
    });
    addr
}

#[tokio::test]
async fn both_ends_notice_that_the_other_has_gone_silent() {
    let site = Site::new("thirteen");
    let server = LiveCredentials::new(site.credentials("coordinator/control-1"));
    let client = LiveCredentials::new(site.credentials("agent/node-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let (freeze, frozen) = watch::channel(false);
    let proxy = freezable_proxy(echo.addr, frozen).await;
    let channel = channel(proxy, &client, Expect::Coordinator);
    who_am_i(channel.clone()).await.expect("the way is open");
    let pending = tokio::spawn(async move {
        EnrolmentClient::new(channel)
            .re_enrol(v1::ReEnrolRequest::default())
            .await
    });
    // Long enough for several keep-alives: an idle call over a live connection stays.
    tokio::time::sleep(3 * hamesh_proto::tls::KEEP_ALIVE_EVERY).await;
    assert!(!pending.is_finished(), "a live connection was cut");
    assert_eq!(echo.abandoned.load(std::sync::atomic::Ordering::Relaxed), 0);

    freeze.send(true).unwrap();
    let ended = tokio::time::timeout(GENEROUS, pending).await;
    ended
        .expect("the client waits for ever")
        .unwrap()
        .expect_err("nobody answered");
    echo.counted("abandoned", &echo.abandoned, 1).await;
}

#[tokio::test]
async fn connections_send_small_messages_at_once_and_give_up_unacknowledged_ones() {
    let site = Site::new("thirteen");
    let server = LiveCredentials::new(site.credentials("coordinator/control-1"));
    let client = LiveCredentials::new(site.credentials("agent/node-1"));
    let echo = Echo::start(&server, ClientAuth::Required).await;
    let config = client_config(&client, Expect::Coordinator, Alpn::H2);
    let stream = connect(echo.addr, config).await.expect("connected");
    let (tcp, _) = stream.get_ref();
    assert!(tcp.nodelay().unwrap());
    let user_timeout = socket2::SockRef::from(tcp).tcp_user_timeout().unwrap();
    assert_eq!(user_timeout, Some(USER_TIMEOUT));
}
