//! What others can ask the agent over HTTP: this machine's root over a Unix socket (`/status`,
//! `/metrics`), the site's coordinators and operators over mutual TLS (`/metrics`).
//!
//! Absent: the servers themselves ([`hamesh_proto::metrics_http`]).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::metrics_http::{Page, Pages};
use hamesh_proto::tls::{
    Alpn, ClientAuth, HandshakeLimits, Incoming, ListenerCounters, incoming, server_config,
};
use tokio::net::{TcpListener, UnixListener};

use crate::metrics::Metrics;
use crate::status::Sources;

/// Scrapers are few: what a flood takes must stay small.
const LIMITS: HandshakeLimits = HandshakeLimits {
    handshakes: 8,
    timeout: std::time::Duration::from_secs(5),
    connections: 64,
    per_source: 16,
};

/// Opens the local socket, in place of one that a dead agent left. The process's umask makes it
/// 0600.
///
/// # Errors
/// The system's own.
pub fn bind_local(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path)
}

/// Opens the metrics port on every address of the node.
///
/// # Errors
/// The system's own.
pub async fn bind_metrics(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        // A machine without IPv6.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

/// Starts accepting on the metrics port.
pub fn accept(
    listener: TcpListener,
    credentials: &LiveCredentials,
    counters: &Arc<ListenerCounters>,
) -> Incoming {
    let config = server_config(credentials, ClientAuth::Required, Alpn::Http1);
    incoming(listener, config, LIMITS, Arc::clone(counters))
}

/// The pages for the site.
pub fn site_pages(metrics: Arc<Metrics>, counters: Arc<ListenerCounters>) -> Pages {
    Arc::new(move |path| match path {
        "/metrics" => Some(metrics_page(&metrics, &counters)),
        _ => None,
    })
}

/// The pages for this machine.
pub fn local_pages(
    metrics: Arc<Metrics>,
    counters: Arc<ListenerCounters>,
    status: Sources,
) -> Pages {
    Arc::new(move |path| match path {
        "/metrics" => Some(metrics_page(&metrics, &counters)),
        "/status" => serde_json::to_string_pretty(&status.status())
            .ok()
            .map(Page::json),
        _ => None,
    })
}

fn metrics_page(metrics: &Metrics, counters: &ListenerCounters) -> Page {
    let refused = [&counters.failed, &counters.timed_out, &counters.over_limit];
    let refused: u64 = refused
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed))
        .sum();
    let told = metrics.connections_refused.get();
    metrics
        .connections_refused
        .inc_by(refused.saturating_sub(told));
    Page::metrics(metrics.render())
}
