//! Whether a GET is answered with a status from 200 to 399.
//!
//! Guarantees: reads the head of the answer and no more of it than [`LONGEST_HEAD`]; follows no
//! redirect, asks no DNS.

use std::error::Error;

use hamesh_roles::checks::HttpUrl;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;

use super::{Outcome, tcp};

/// How many bytes the head of an answer may have.
const LONGEST_HEAD: usize = 16 * 1024;

/// Asks once.
pub async fn probe(url: &HttpUrl) -> Outcome {
    let status = ask(url).await.map_err(|error| told(error.as_ref()))?;
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("answered {status}"))
    }
}

async fn ask(url: &HttpUrl) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let stream = tcp::connect(url.server).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&url.path)
        .header(header::HOST, url.server.to_string())
        .header(
            header::USER_AGENT,
            concat!("hamesh/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answer => response,
        // It ends with the answer, or with the reason why there is none: the request knows.
        _ = connection => answer.await,
    };
    Ok(response?.status())
}

/// The error and what is behind it, in one line.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
