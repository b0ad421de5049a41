//! What a browser sees from outside, and what a scan does.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{EDGE, NAME, OUTER};
use crate::scenarios::World;
use crate::site::COORDINATOR;

/// Only hamesh's own ports, and what Debian's packages would open.
const UDP: &str = "53,68,123,161,5353,7443,7445,7450";
/// Holds nothing but the certificate of the site's CA, for curl.
const CA_FILE: &str = "site-ca.pem";

/// A browser that trusts the site's CA is served over HTTP/2, sent on from http, and told to keep
/// to the rules.
pub fn served(world: &World) -> Result<()> {
    let page = fetch(world, &["--http2", "--dump-header", "-"])?;
    for part in [
        "HTTP/2 200",
        "x-content-type-options: nosniff",
        "served by node-",
    ] {
        ensure!(page.contains(part), "`{part}` is not in:\n{page}");
    }
    let plain = format!("http://{NAME}/a?b=c");
    let sent_on = curl(world, &["--head", &plain], 80)?;
    let wanted = format!("location: https://{NAME}/a?b=c");
    ensure!(sent_on.to_lowercase().contains(&wanted), "{sent_on}");
    let old = fetch(world, &["--tls-max", "1.1"]);
    ensure!(old.is_err(), "TLS 1.1 is taken: {old:?}");
    // Every backend has its turn.
    let mut backends = std::collections::BTreeSet::new();
    for _ in 0..12 {
        backends.insert(fetch(world, &[])?);
    }
    ensure!(backends.len() == 3, "served by {backends:?}");
    Ok(())
}

/// From outside nothing but http and https answers, on the site's address and on the machines'.
pub fn closed(world: &World) -> Result<()> {
    let machines = ["192.168.30.131", "192.168.30.132"];
    let scan = |kind: &[&str]| -> Result<String> {
        let lead = [
            "nmap",
            "-Pn",
            "-n",
            "-T5",
            "--max-retries",
            "1",
            "--min-rate",
            "10000",
        ];
        let words = [&lead[..], kind, &[EDGE], &machines].concat();
        world.site.lab.client("untrust", &words)
    };
    let tcp = scan(&["-p-"])?;
    let open = tcp.lines().filter(|line| line.contains("/tcp"));
    let open: Vec<&str> = open
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    // A machine that stands by answers on its own address, too.
    ensure!(
        open == ["80/tcp", "443/tcp"].repeat(3),
        "open are {open:?}:\n{tcp}"
    );
    let udp = scan(&["-sU", "-p", UDP])?;
    let answers = |line: &&str| line.contains("/udp") && !line.contains("open|filtered");
    let answering: Vec<&str> = udp.lines().filter(answers).collect();
    // Nmap folds ports that are all alike into one line.
    ensure!(answering.is_empty(), "{answering:?} answer:\n{udp}");
    ensure!(
        !udp.contains("closed udp"),
        "some answer that they are closed:\n{udp}"
    );
    // From inside, what the role needs is there: metrics, on the machine's own address.
    for node in OUTER {
        let address = world.site.lab.address(node)?;
        let metrics = format!("http://{address}:8404/metrics");
        let script = format!("curl --silent --fail --max-time 10 {metrics}");
        let told = world.site.sh(COORDINATOR, &script)?;
        ensure!(told.contains("haproxy_process_uptime_seconds"), "{told}");
    }
    Ok(())
}

/// Fetches the page, with further options.
pub fn fetch(world: &World, options: &[&str]) -> Result<String> {
    let url = format!("https://{NAME}/");
    curl(world, &[options, &[&url]].concat(), 443)
}

fn curl(world: &World, options: &[&str], port: u16) -> Result<String> {
    let folder = std::env::temp_dir().join(format!("hamesh-tests-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let ca = folder.join(CA_FILE);
    if !ca.exists() {
        std::fs::write(&ca, site_ca(world)?)?;
    }
    let (ca, resolve) = (ca.display().to_string(), format!("{NAME}:{port}:{EDGE}"));
    let lead = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "10",
    ];
    let trust = ["--cacert", &ca, "--resolve", &resolve];
    let told = world
        .site
        .lab
        .client("untrust", &[&lead[..], &trust, options].concat());
    // Another site has another CA.
    std::fs::remove_dir_all(&folder)?;
    told
}

/// The certificate of the site's CA, as operators have it.
pub(super) fn site_ca(world: &World) -> Result<String> {
    let text = world
        .site
        .sh(COORDINATOR, "cat /root/.config/hamesh/context.json")?;
    let context: Value = serde_json::from_str(&text)?;
    let pem = context["identity_pem"].as_str().unwrap_or_default();
    let begin = "-----BEGIN CERTIFICATE-----";
    let last = pem.rfind(begin).map(|at| &pem[at..]);
    ensure!(
        pem.matches(begin).count() >= 2,
        "there is no CA in the context"
    );
    Ok(last.unwrap_or_default().to_owned())
}
