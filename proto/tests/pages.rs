//! Metrics over mutual TLS and pages on a unix socket.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::metrics_http::{
    FetchError, Page, Pages, fetch_tls, fetch_unix, serve_tls, serve_unix,
};
use hamesh_proto::tls::{
    Alpn, ClientAuth, ConnectError, Expect, HandshakeLimits, ListenerCounters, incoming,
    server_config,
};
use http::StatusCode;
use support::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

fn pages() -> Pages {
    Arc::new(|path| match path {
        "/metrics" => Some(Page::metrics("hamesh_up 1\n".to_owned())),
        "/status" => Some(Page::json("{}".to_owned())),
        _ => None,
    })
}

async fn agent_pages(site: &Site) -> SocketAddr {
    let live = LiveCredentials::new(site.credentials("agent/node-1"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = server_config(&live, ClientAuth::Required, Alpn::Http1);
    let counters = Arc::new(ListenerCounters::default());
    let incoming = incoming(listener, config, HandshakeLimits::default(), counters);
    tokio::spawn(serve_tls(incoming, pages()));
    addr
}

#[tokio::test]
async fn coordinators_and_operators_read_metrics_and_agents_do_not() {
    let site = Site::new("thirteen");
    let addr = agent_pages(&site).await;
    for (path, status, body) in [
        ("operator/prometheus", StatusCode::OK, "hamesh_up 1\n"),
        ("coordinator/control-1", StatusCode::OK, "hamesh_up 1\n"),
        (
            "agent/node-2",
            StatusCode::FORBIDDEN,
            "only coordinators and operators may read this\n",
        ),
    ] {
        let reader = LiveCredentials::new(site.credentials(path));
        let read = fetch_tls(addr, &reader, Expect::Member, "/metrics")
            .await
            .expect(path);
        assert_eq!(read, (status, body.into()), "{path}");
    }
}

#[tokio::test]
async fn a_reader_of_another_site_gets_no_page() {
    let (site, other) = (Site::new("thirteen"), Site::new("thirteen"));
    let addr = agent_pages(&site).await;
    let reader = LiveCredentials::new(other.credentials("operator/ada"));
    let refused = fetch_tls(addr, &reader, Expect::Member, "/metrics").await;
    let error = refused.expect_err("another site");
    assert!(
        matches!(error, FetchError::Connect(ConnectError::Tls { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_unknown_page_is_404_and_a_post_is_405() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    tokio::spawn(serve_unix(UnixListener::bind(&socket).unwrap(), pages()));
    let (status, body) = fetch_unix(&socket, "/status").await.expect("a page");
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"{}"[..]));
    let (status, _) = fetch_unix(&socket, "/secrets").await.expect("an answer");
    assert_eq!(status, StatusCode::NOT_FOUND);

    let mut raw = UnixStream::connect(&socket).await.unwrap();
    raw.write_all(b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 12];
    raw.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 405");
}

#[tokio::test]
async fn garbage_on_the_socket_harms_no_later_reader() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    tokio::spawn(serve_unix(UnixListener::bind(&socket).unwrap(), pages()));
    for _ in 0..64 {
        let mut raw = UnixStream::connect(&socket).await.unwrap();
        // The server may close before all of it is taken.
        let _ = raw.write_all(&[0xff; 64 * 1024]).await;
        let _ = raw.read_to_end(&mut Vec::new()).await;
    }
    let (status, _) = fetch_unix(&socket, "/metrics").await.expect("a page");
    assert_eq!(status, StatusCode::OK);
    let missing = fetch_unix(&directory.path().join("none"), "/status").await;
    assert!(matches!(missing, Err(FetchError::Socket(..))));
}
