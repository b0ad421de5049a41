//! The end of `up` on a site whose proxies are configured: something to serve, every node with what
//! its role makes of it, and the page on this machine's loopback.
//!
//! Until Kubernetes serves the page, a stand-in does, in the lab alone: Debian's nginx on the nodes
//! that the site names as backends. Everything in front of it is the site's own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hamesh_roles::site::{EdgeProxy, WebBackends};
use hamesh_roles::{Role, Site};

use crate::cli::Forward;
use crate::databases;
use crate::deploy::shell;
use crate::forward;
use crate::lab::Lab;
use crate::parallel;
use crate::progress::Step;
use crate::tool::{Tool, quote};
use crate::topology::Node;

/// The first port of the loopback that is tried, and how many after it.
const PORTS: std::ops::Range<u16> = 8443..8463;
/// How long the page may take once every node has its role: an address that was never held is
/// taken half a minute after its candidates are well.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(300);

/// Serves, if the site says what its proxies are to do.
pub fn serve(lab: &Lab, coordinator: &Node, site: &Site) -> Result<()> {
    let Some(inner) = &site.internal_proxy else {
        return Ok(());
    };
    stand_in(lab, site, &inner.web)?;
    let step = Step::begin("Give every node what its role makes of it", None);
    shell(lab, coordinator, "coordctl role follow")?;
    step.finish("done");
    if let Some(edge) = &site.edge_proxy {
        let url = page(lab, site, edge)?;
        println!("\nThe site serves at {url}\n");
    }
    match &site.database {
        Some(cluster) => databases::served(lab, site, cluster),
        None => Ok(()),
    }
}

fn stand_in(lab: &Lab, site: &Site, web: &WebBackends) -> Result<()> {
    let names: Vec<String> = site.with_role(web.role).map(ToString::to_string).collect();
    let nodes: Vec<&Node> = names
        .iter()
        .map(|name| lab.topology.node(name))
        .collect::<Result<_>>()?;
    let step = Step::begin(
        "Put the stand-in web server on its nodes",
        Some(nodes.len()),
    );
    parallel::each(&nodes, parallel::processors(), |node| {
        let (config, page) = (nginx(web), format!("hamesh lab: served by {}\n", node.name));
        // What answers already is left alone: it may be serving.
        let answers = format!("http://127.0.0.1:{}{}", web.port, web.check);
        let script = format!(
            "curl --silent --fail --output /dev/null {} || \
             {{ DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light && \
             printf %s {} > /etc/nginx/sites-available/default && \
             printf %s {} > /var/www/html/index.html && \
             systemctl enable --quiet nginx && systemctl restart nginx; }}",
            quote(&answers),
            quote(&config),
            quote(&page)
        );
        shell(lab, node, &script)?;
        step.advance(&node.name);
        Ok(())
    })?;
    step.finish(&format!("on {} nodes", nodes.len()));
    Ok(())
}

fn nginx(web: &WebBackends) -> String {
    let (port, check) = (web.port, web.check.to_string());
    // A location is a path; what follows it is part of a question.
    let check = check.split('?').next().unwrap_or("/").to_owned();
    format!(
        "server {{\n    listen {port};\n    listen [::]:{port};\n    root /var/www/html;\n    \
         location = {check} {{ return 200 \"well\\n\"; }}\n}}\n"
    )
}

/// Brings the page to the loopback and waits until it is there.
fn page(lab: &Lab, site: &Site, edge: &EdgeProxy) -> Result<String> {
    let step = Step::begin("Wait for the page", None);
    let address =
        address(site, Role::EdgeProxy).context("no virtual address is held by edge proxies")?;
    let target = SocketAddr::new(address, 443);
    let name = edge.names.first().context("the edge has no name")?;
    let port = forwarded(lab, target)?;
    let begun = Instant::now();
    let url = format!("https://{name}:{port}/");
    let resolve = format!("{name}:{port}:127.0.0.1");
    loop {
        // The lab's certificate is of the site's own CA, which this machine does not know.
        let answer = Tool::new("curl", ["--silent", "--show-error", "--fail", "--insecure"])
            .arg("--max-time")
            .arg("5")
            .arg("--resolve")
            .arg(&resolve)
            .arg(&url)
            .run();
        match answer {
            Ok(text) => {
                step.finish(text.trim());
                break;
            }
            Err(error) if begun.elapsed() > PATIENCE => {
                bail!("the page is not served: {error:#}");
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    Ok(format!(
        "https://127.0.0.1:{port}/ (try: curl --insecure --resolve {resolve} {url})"
    ))
}

/// Where nodes of a role answer together.
pub fn address(site: &Site, role: Role) -> Option<IpAddr> {
    let mut vips = site.vips.values();
    let vip = vips.find(|vip| vip.role == role)?;
    vip.addresses.first().copied()
}

/// The port that leads there, of an earlier `up` or a new one.
fn forwarded(lab: &Lab, target: SocketAddr) -> Result<u16> {
    let mut last = None;
    for port in PORTS {
        match forward::ensure(lab, Forward { port, target }) {
            Ok(()) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no port was tried")))
        .context("no port of this machine's loopback is free for the page")
}
