//! Probes over the network, against servers that behave and that do not.

use std::net::SocketAddr;
use std::time::Duration;

use hamesh_roles::{Check, CheckKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::super::Outcome;
use super::super::probe::once;
use super::{GENEROUS, tcp};

/// A server that says `words` to whoever asks, `times` times over, and then hangs up.
async fn server(words: &'static [u8], times: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked).await;
        for _ in 0..times {
            if stream.write_all(words).await.is_err() {
                return;
            }
        }
    });
    address
}

fn http(server: SocketAddr) -> Check {
    let url = format!("http://{server}/healthz").parse().expect("a URL");
    let mut check = Check::new(CheckKind::Http(url));
    check.every = GENEROUS;
    check.timeout = GENEROUS;
    check
}

async fn asked(words: &'static [u8], times: usize) -> Outcome {
    once(&http(server(words, times).await)).await
}

#[tokio::test]
async fn an_accepted_connection_passes_and_a_refused_one_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut check = tcp(port);
    check.timeout = GENEROUS;
    assert_eq!(once(&check).await, Ok(()));
    drop(listener);
    let why = once(&check).await.expect_err("refused");
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_connection_that_meets_itself_is_none() {
    // Connections start from the even ports of their range in turn: so many attempts come by all.
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (40_000..50_000).step_by(2).find(free).expect("a free port");
    let mut check = tcp(port);
    check.timeout = GENEROUS;
    for _ in 0..30_000 {
        let why = once(&check).await.expect_err("nobody listens");
        assert!(why.contains("refused"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_connection_is_given_up() {
    // A backlog of one that is full: what comes after waits for ever.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = socket.listen(1).expect("listening");
    let port = listener.local_addr().expect("bound").port();
    let mut check = tcp(port);
    check.timeout = Duration::from_millis(50);
    let mut waiting = Vec::new();
    let why = loop {
        let connect = tokio::net::TcpStream::connect(("127.0.0.1", port));
        match tokio::time::timeout(Duration::from_millis(50), connect).await {
            Ok(stream) => waiting.push(stream.expect("connected")),
            Err(_) => break once(&check).await.expect_err("no answer"),
        }
        assert!(waiting.len() < 100, "the backlog never fills");
    };
    assert_eq!(why, "no answer within 50ms");
}

#[tokio::test]
async fn a_good_status_passes_whatever_follows() {
    for words in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhalf of",
    ] {
        let shown = String::from_utf8_lossy(words);
        assert_eq!(asked(words, 1).await, Ok(()), "{shown}");
    }
    // A body without an end is not read.
    assert_eq!(
        asked(b"HTTP/1.1 200 OK\r\n\r\n0123456789", 100_000).await,
        Ok(())
    );
}

#[tokio::test]
async fn any_other_answer_fails_with_its_reason() {
    for (words, reason) in [
        (
            &b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..],
            "answered 503 Service Unavailable",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 Not Found"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP version"),
        (b"\x16\x03\x01\x00\xee\xff\xff\x00", "HTTP version"),
        (b"HTTP/1.1 20 \xff\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", "header"),
        (b"", "connection closed"),
        (b"HTTP/1.1 200 O", "connection closed"),
    ] {
        let why = asked(words, 1).await.expect_err(reason);
        assert!(why.contains(reason), "{why} / {reason}");
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_not_read_to_its_end() {
    let start = b"HTTP/1.1 200 OK\r\nX-Long: ";
    let why = asked(start, 10_000_000).await.expect_err("too large");
    assert!(!why.is_empty(), "{why}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut check = http(listener.local_addr().expect("bound"));
    check.timeout = Duration::from_millis(30);
    assert_eq!(once(&check).await, Err("no answer within 30ms".to_owned()));
}

#[tokio::test]
async fn a_server_that_answers_byte_by_byte_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut check = http(listener.local_addr().expect("bound"));
    check.timeout = Duration::from_millis(100);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(once(&check).await, Err("no answer within 100ms".to_owned()));
}
