//! A request from outside goes through the rendered edge and the rendered inner proxy to servers
//! that play those of the site "full".

use std::fs;

use anyhow::{Result, ensure};

use crate::files::Files;
use crate::network::{Daemon, Network};
use crate::support::{PASSWORD, desired};

/// Plays workers, API servers and databases. The third database's certificate is another node's.
const SERVERS: &str = r#"defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend worker
    bind 192.168.56.42:30080
    http-request return status 200 if { path /healthz }
    http-request set-var(txn.for) req.fhdr(x-forwarded-for)
    http-request return status 200 content-type text/plain \
        hdr Referrer-Policy no-referrer \
        lf-string "for=%[var(txn.for)] count=%[req.hdr_cnt(x-forwarded-for)] \
proto=%[req.hdr(x-forwarded-proto)] host=%[req.hdr(x-forwarded-host)] \
forged=%[req.hdr(forwarded)]%[req.hdr(x-real-ip)]"
frontend api
    bind 192.168.56.31:6443 ssl crt FOLDER/control-1.pem
    http-request return status 200 content-type text/plain string "api server"
frontend patroni-leader
    bind 192.168.56.51:8008 ssl crt FOLDER/database-1.pem \
        ca-file FOLDER/database-1.pem verify required
    http-request return status 200 if METH_OPTIONS { path /primary }
    http-request return status 503
frontend patroni-replica
    bind 192.168.56.52:8008 ssl crt FOLDER/database-2.pem \
        ca-file FOLDER/database-1.pem verify required
    http-request return status 200 if METH_OPTIONS { path /replica } { url_param(lag) 16MB }
    http-request return status 503
frontend patroni-false
    bind 192.168.56.53:8008 ssl crt FOLDER/node-1.pem
    http-request return status 200
frontend leader
    bind 192.168.56.51:5432
    http-request return status 200 content-type text/plain string "leader here"
frontend replica
    bind 192.168.56.52:5432
    http-request return status 200 content-type text/plain string "replica here"
frontend false
    bind 192.168.56.53:5432
    http-request return status 200 content-type text/plain string "nobody of the site"
"#;

struct Stage {
    network: Network,
    servers: Daemon,
    _proxies: [Daemon; 2],
    _files: Files,
}

impl Stage {
    fn new() -> Result<Self> {
        let (files, network) = (Files::new()?, Network::new()?);
        addresses(&network)?;
        for name in ["control-1", "database-1", "database-2", "node-1"] {
            let (chain, key) = files.issue(vec![name.to_owned()])?;
            fs::write(files.folder().join(format!("{name}.pem")), chain + &key)?;
        }
        let folder = files.folder().display().to_string();
        let config = files.folder().join("servers.cfg");
        // HAProxy has no lines that go on in the next one.
        let text = SERVERS.replace("\\\n", "").replace("FOLDER", &folder);
        fs::write(&config, text)?;
        let servers = network.servers.haproxy(&config)?;
        let (edge, inner) = ("haproxy-ext-1", "haproxy-int-1");
        let (outside, inside) = (desired("full", edge, ""), desired("full", inner, ""));
        network.edge.load(&outside, files.folder())?;
        let proxies = [
            network.edge.haproxy(&files.lay_out(edge, &outside)?)?,
            network.inner.haproxy(&files.lay_out(inner, &inside)?)?,
        ];
        Ok(Self {
            network,
            servers,
            _proxies: proxies,
            _files: files,
        })
    }
}

fn addresses(network: &Network) -> Result<()> {
    network.outer.addresses(&[("edge", "192.168.30.1/24")])?;
    network.edge.addresses(&[
        ("untrust", "192.168.30.131/24"),
        ("untrust", "192.168.30.130/32"),
        ("trust", "192.168.56.10/24"),
    ])?;
    network
        .inner
        .addresses(&[("trust", "192.168.56.21/24"), ("trust", "192.168.56.20/32")])?;
    network.servers.ip("route add 192.168.56.21/32 dev trust")?;
    for server in [31, 42, 51, 52, 53] {
        let address = format!("192.168.56.{server}/32");
        network.servers.addresses(&[("trust", &address)])?;
        network
            .inner
            .ip(&format!("route add {address} dev servers"))?;
    }
    Ok(())
}

const HTTPS: &str = "https://192.168.30.130/page";

#[test]
fn the_web_is_answered_over_https_by_a_server_that_is_well_with_honest_headers() -> Result<()> {
    let stage = Stage::new()?;
    let outer = &stage.network.outer;
    let forged = "-H X-Forwarded-For:1.2.3.4 -H Forwarded:for=1.2.3.4 -H X-Real-IP:1.2.3.4";
    let honest = "for=192.168.30.1 count=1 proto=https host=192.168.30.130 forged=";
    let answer = outer.is_answered(&format!("{forged} {HTTPS}"), &["HTTP/2 200", honest])?;
    ensure!(answer.ends_with("forged="), "{answer}");
    for header in [
        "strict-transport-security: max-age=31536000",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "x-frame-options: DENY",
        r#"x-odd: it's "100%" $HOME ${HOME} %[src] \ # {a} ; `b`"#,
    ] {
        ensure!(
            answer.contains(&format!("{header}\r\n")),
            "no {header} in\n{answer}"
        );
    }
    let plain = "http://192.168.30.130/page?a=1";
    let there = "location: https://192.168.30.130/page?a=1";
    outer.is_answered(plain, &["HTTP/1.1 301", there])?;
    outer.is_answered(&format!("-d x=1 {plain}"), &["HTTP/1.1 308", there])?;
    outer.is_answered("https://192.168.30.130/hamesh-healthz", &[" 404"])?;

    let many = outer.asks("https://192.168.30.130/page?[1-2]");
    ensure!(many.is_err() || !many?.contains(" 429"), "two are no flood");
    let flood = vec![HTTPS; 220].join(" ");
    let flood = outer.asks(&flood)?;
    ensure!(flood.contains("HTTP/2 429"), "no end to the flood");

    drop(stage.servers);
    let inner = "http://192.168.56.20/hamesh-healthz";
    stage.network.edge.is_answered(inner, &[" 503 "])?;
    Ok(())
}

#[test]
fn the_edge_says_503_with_its_headers_once_nothing_answers_behind_it() -> Result<()> {
    let stage = Stage::new()?;
    let outer = &stage.network.outer;
    outer.is_answered(HTTPS, &["HTTP/2 200"])?;
    drop(stage.servers);
    outer.is_answered(HTTPS, &["HTTP/2 503", "x-frame-options: DENY"])?;
    Ok(())
}

#[test]
fn databases_and_api_servers_are_reached_by_what_they_say_of_themselves() -> Result<()> {
    let stage = Stage::new()?;
    let edge = &stage.network.edge;
    // At their start servers count as well until they were looked at.
    for (port, wanted) in [(5000, "leader here"), (5001, "replica here")] {
        let url = format!("http://192.168.56.20:{port}/");
        edge.is_answered(&url, &[wanted])?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        for _ in 0..20 {
            let answer = edge.asks(&url)?;
            ensure!(answer.contains(wanted), "{port}: {answer}");
        }
    }
    edge.is_answered("https://192.168.56.20:6443/version", &["api server"])?;
    Ok(())
}

#[test]
fn statistics_are_shown_for_the_password_and_metrics_to_the_management_network() -> Result<()> {
    let stage = Stage::new()?;
    let inner = &stage.network.inner;
    let url = "http://192.168.56.10:8404";
    inner.is_answered(&format!("{url}/metrics"), &["haproxy_process_nbthread"])?;
    inner.is_answered(&format!("{url}/"), &["401", "realm=\"hamesh\""])?;
    for wrong in ["hamesh:wrong", "hamesh:#", &format!("admin:{PASSWORD}")] {
        inner.is_answered(&format!("-u {wrong} {url}/"), &["401"])?;
    }
    let right = format!("-u hamesh:{PASSWORD} {url}/;csv");
    inner.is_answered(&right, &["200", "forward,internal,"])?;
    ensure!(
        !stage
            .network
            .outer
            .reaches("http://192.168.30.131:8404/metrics")
    );
    let local = "http://127.0.0.1:8405/healthz";
    stage.network.edge.is_answered(local, &["200"])?;
    Ok(())
}
