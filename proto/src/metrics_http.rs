//! Read-only pages over HTTP/1.1: `/metrics` for a scraper over mutual TLS, and a process's own
//! status on a unix socket.
//!
//! Over TLS only coordinators and operators are answered (a scraper has an operator's certificate
//! with the access `viewer`); an agent gets 403, so that one node taken over does not show the
//! health of all. On a unix socket the socket's own mode decides.
//!
//! Only GET and HEAD, no bodies, no compression, and a time limit on each request's head.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming as Body};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::credentials::LiveCredentials;
use crate::spiffe::Principal;
use crate::tls::{self, Alpn, ConnectError, Expect, Incoming, PeerInfo};
use crate::unix_time::unix_ms;

/// How long a client may take over the head of a request, and idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to a unix socket at one time: a few people and scripts on the node itself.
const UNIX_CONNECTIONS: usize = 32;
/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest page that is fetched; a node's metrics have some tens of kilobytes.
const MAX_FETCHED_BYTES: usize = 16 * 1024 * 1024;

/// What a path holds at the moment it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    content_type: &'static str,
    body: String,
}

/// Renders the page of a path; `None` where there is none. Called for each request, on the
/// runtime's own threads: it must not block.
pub type Pages = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

impl Page {
    /// Metrics in Prometheus' text format, version 0.0.4.
    pub fn metrics(body: String) -> Self {
        Self {
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body,
        }
    }

    /// JSON.
    pub fn json(body: String) -> Self {
        Self {
            content_type: "application/json",
            body,
        }
    }
}

/// Why a page was not fetched. Nothing was changed; fetching again is safe.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The unix socket is not there, or not ours to use.
    #[error("cannot connect to {0}")]
    Socket(String, #[source] std::io::Error),
    /// No TLS connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The other side does not speak HTTP, or broke off.
    #[error("the answer broke off")]
    Http(#[from] hyper::Error),
    /// Too large, or broken off within the page.
    #[error("the page could not be read: {0}")]
    Body(String),
    /// No answer in time.
    #[error("no answer within {FETCH_TIMEOUT:?}")]
    Timeout,
}

/// Serves `pages` to the coordinators and operators among `incoming` until dropped.
pub async fn serve_tls(mut incoming: Incoming, pages: Pages) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = incoming.accept() => {
                let Some(connection) = accepted else { return };
                let reader = Reader::over_tls(connection.peer());
                connections.spawn(serve_one(TokioIo::new(connection), Arc::clone(&pages), reader));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves `pages` to whoever may open the socket until dropped.
pub async fn serve_unix(listener: UnixListener, pages: Pages) {
    let room = Arc::new(Semaphore::new(UNIX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((connection, _)) = accepted else {
                    // Too many open files, say: it does not pass by itself.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
                let pages = Arc::clone(&pages);
                connections.spawn(async move {
                    serve_one(TokioIo::new(connection), pages, Reader::Local).await;
                    drop(permit);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Who reads on a connection. Looked at for each request: a certificate may run out meanwhile.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// Whom the socket's mode lets in.
    Local,
    /// A coordinator or an operator, until their certificate runs out.
    Until { not_after_unix_ms: u64 },
    /// Nobody who may read.
    Stranger,
}

impl Reader {
    fn over_tls(peer: &PeerInfo) -> Self {
        let Some(identity) = &peer.identity else {
            return Self::Stranger;
        };
        match identity.id.principal {
            Principal::Coordinator(_) | Principal::Operator(_) => Self::Until {
                not_after_unix_ms: identity.not_after_unix_ms,
            },
            Principal::Agent(_) => Self::Stranger,
        }
    }

    fn refusal(self, now_unix_ms: u64) -> Option<Response<Full<Bytes>>> {
        let why = match self {
            Self::Local => return None,
            Self::Until { not_after_unix_ms } if now_unix_ms <= not_after_unix_ms => return None,
            Self::Until { .. } => "your certificate ran out on this connection\n",
            Self::Stranger => "only coordinators and operators may read this\n",
        };
        Some(text(StatusCode::FORBIDDEN, why))
    }
}

async fn serve_one<I>(connection: I, pages: Pages, reader: Reader)
where
    I: Read + Write + Unpin,
{
    let service = service_fn(move |request| {
        let response = answer(&request, &pages, reader);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(connection, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a reader of pages broke off");
    }
}

fn answer(request: &Request<Body>, pages: &Pages, reader: Reader) -> Response<Full<Bytes>> {
    if let Some(refusal) = reader.refusal(unix_ms(SystemTime::now())) {
        return refusal;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match pages(request.uri().path()) {
        Some(page) => {
            let mut response = Response::new(Full::from(page.body));
            let content_type = HeaderValue::from_static(page.content_type);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        None => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Fetches `path` (such as `/metrics`) from a member of our site.
pub async fn fetch_tls(
    addr: SocketAddr,
    live: &LiveCredentials,
    expect: Expect,
    path: &str,
) -> Result<(StatusCode, Bytes), FetchError> {
    let config = tls::client_config(live, expect, Alpn::Http1);
    let connection = tls::connect(addr, config).await?;
    fetch(TokioIo::new(connection), path).await
}
/// Fetches `path` (such as `/status`) from a unix socket.
pub async fn fetch_unix(socket: &Path, path: &str) -> Result<(StatusCode, Bytes), FetchError> {
    let connection = UnixStream::connect(socket)
        .await
        .map_err(|error| FetchError::Socket(socket.display().to_string(), error))?;
    fetch(TokioIo::new(connection), path).await
}

async fn fetch<I>(connection: I, path: &str) -> Result<(StatusCode, Bytes), FetchError>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let exchange = async {
        let (mut sender, driver) = hyper::client::conn::http1::handshake(connection).await?;
        let mut driving = JoinSet::new();
        driving.spawn(driver);
        let request = Request::get(path)
            .header(http::header::HOST, "hamesh")
            .body(Empty::<Bytes>::new())
            .map_err(|error| FetchError::Body(error.to_string()))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_FETCHED_BYTES).collect().await;
        let body = body
            .map_err(|error| FetchError::Body(error.to_string()))?
            .to_bytes();
        Ok((head.status, body))
    };
    timeout(FETCH_TIMEOUT, exchange)
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

/// What Debian's `promtool check metrics` has to say against a page; nothing is nothing. For the
/// tests of those who render pages.
///
/// # Errors
/// When promtool (package prometheus) cannot be run.
pub fn promtool_complaints(page: &str) -> std::io::Result<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = promtool.stdin.take() {
        std::io::Write::write_all(&mut input, page.as_bytes())?;
    }
    let output = promtool.wait_with_output()?;
    let mut said = [output.stdout, output.stderr].concat();
    if !output.status.success() && said.is_empty() {
        said = output.status.to_string().into_bytes();
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_whose_certificate_ran_out_is_refused_on_a_standing_connection() {
        let reader = Reader::Until {
            not_after_unix_ms: 1_000,
        };
        assert!(reader.refusal(1_000).is_none());
        let refusal = reader.refusal(1_001).expect("a refusal");
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
        assert!(Reader::Local.refusal(u64::MAX).is_none());
        assert!(Reader::Stranger.refusal(0).is_some());
    }

    #[test]
    fn promtool_complains_of_a_counter_without_its_ending() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n";
        assert_eq!(promtool_complaints(good).expect("promtool"), "");
        let bad = good.replace("a_total", "a");
        let said = promtool_complaints(&bad).expect("promtool");
        assert!(said.contains("_total"), "{said}");
    }
}
