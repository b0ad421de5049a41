//! One question to a service of this node over HTTPS, as the node.
//!
//! Guarantees: the other side is a service of the site, at the address that its certificate names;
//! no more than [`LONGEST`] bytes of an answer are read, and no longer than it is waited for.

use std::net::SocketAddr;
use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::tls::{ConnectError, connect, service_config};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use crate::held::describe;

/// How many bytes of an answer are read: a cluster's members take some hundred each.
const LONGEST: usize = 256 * 1024;
/// How many bytes the head of an answer may have.
const LONGEST_HEAD: usize = 16 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// This path.
    Get(&'a str),
    /// This path, with what is asked for.
    Post(&'a str, &'a Value),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP's code.
    pub status: u16,
    /// All of it.
    pub body: Bytes,
}

/// Why nothing did.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was not asked.
    #[error("{}", describe(.0))]
    Connect(ConnectError),
    /// It was asked, and nobody knows what it made of it.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// It was asked, and broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

impl<'a> Ask<'a> {
    /// Where to.
    pub fn path(&self) -> &'a str {
        match self {
            Self::Get(path) | Self::Post(path, _) => path,
        }
    }
}

/// Asks once.
///
/// # Errors
/// [`AskError`] says whether it was asked at all.
pub async fn ask(
    server: SocketAddr,
    credentials: &LiveCredentials,
    ask: Ask<'_>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let stream = connect(server, service_config(credentials)).await;
    let stream = stream.map_err(AskError::Connect)?;
    let answered = timeout(patience, exchange(stream, server, ask)).await;
    let answered = answered.map_err(|_| AskError::Late(patience))?;
    answered.map_err(|error| AskError::Broken(describe(error.as_ref())))
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    server: SocketAddr,
    ask: Ask<'_>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let (method, body) = match ask {
        Ask::Get(_) => (Method::GET, Bytes::new()),
        Ask::Post(_, terms) => (Method::POST, Bytes::from(terms.to_string())),
    };
    let request = Request::builder()
        .method(method)
        .uri(ask.path())
        .header(header::HOST, server.to_string())
        .header(
            header::USER_AGENT,
            concat!("hamesh/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(body))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST)
            .collect()
            .await?;
        let body = body.to_bytes();
        Ok(Reply { status, body })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It ends with the answer, or with the reason why there is none: the request knows.
        _ = connection => answer.await,
    }
}
