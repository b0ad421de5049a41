//! Brings a site up, step by step. Every step looks at what is there and does what is missing, so
//! `up` after an interrupted `up` goes on where that one was.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use hamesh_roles::{Engine, Site};

use crate::host;
use crate::image;
use crate::lab::{Lab, State};
use crate::names::{self, STATE};
use crate::parallel;
use crate::pool;
use crate::progress::Step;
use crate::topology::Node;
use crate::{own_kernel, trouble};

/// What to bring up.
#[derive(Debug)]
pub struct Request<'a> {
    /// The site.
    pub site_file: &'a Path,
    /// Whether to stop once the VMs have booted.
    pub bare: bool,
    /// Where hamesh's packages are.
    pub packages: &'a Path,
}

/// Brings the site up.
pub fn up(request: &Request<'_>) -> Result<()> {
    host::require_root()?;
    let text = fs::read_to_string(request.site_file)
        .with_context(|| format!("reading {}", request.site_file.display()))?;
    let lab = Lab::of(&text, request.site_file)?;
    let _lock = host::lock()?;
    refuse_another_site(&text)?;
    prepare_host(&lab)?;
    build_images(&lab)?;
    let own = match request.bare {
        true => Vec::new(),
        false => pool::own_packages(request.packages)?,
    };
    let step = Step::begin("Fill the package pool", None);
    let filled = pool::ensure(&own)?;
    fs::create_dir_all(STATE).with_context(|| format!("creating {STATE}"))?;
    own_kernel::ensure_pool_disk(&lab.topology, filled)?;
    step.finish(if filled { "filled" } else { "nothing new" });
    let step = Step::begin("Wire the networks", None);
    host::build_fabric(&lab.topology)?;
    trouble::change(&lab, |_| {})?;
    // From here on the other commands know the site.
    fs::write(names::site_file(), &text).context("keeping the site")?;
    step.finish(&format!("{} networks", lab.topology.networks.len()));
    boot(&lab)?;
    if request.bare {
        Ok(())
    } else {
        let site = Site::parse(&text).map_err(|_| anyhow::anyhow!("the site changed meanwhile"))?;
        crate::deploy::deploy(&lab, &site, &own)
    }
}

fn refuse_another_site(text: &str) -> Result<()> {
    match fs::read_to_string(names::site_file()) {
        Ok(known) if known != text => {
            bail!("another site is up (or this one has changed since); `hamesh-lab down` first")
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn prepare_host(lab: &Lab) -> Result<()> {
    let step = Step::begin("Prepare this machine", None);
    let mut wanted = host::PACKAGES.to_vec();
    for engine in Engine::ALL.into_iter().filter(|e| lab.topology.runs(*e)) {
        wanted.extend(host::engine_packages(engine));
    }
    let installed = host::install_packages(&wanted)?;
    host::raise_settings()?;
    own_kernel::check(&lab.topology)?;
    if installed.is_empty() {
        step.finish("nothing to install");
    } else {
        step.finish(&format!("installed {}", installed.join(", ")));
    }
    Ok(())
}

fn build_images(lab: &Lab) -> Result<()> {
    // The pool is worked out against the container image, so that one is always needed.
    let mut engines = vec![Engine::Nspawn];
    let others = [Engine::Uml, Engine::Qemu];
    engines.extend(others.into_iter().filter(|e| lab.topology.runs(*e)));
    own_kernel::ensure_key(&lab.topology)?;
    for engine in engines {
        let known = image::path(engine).exists();
        let step = Step::begin(&format!("Build the {engine} base image"), None);
        image::ensure(engine, &lab.cgroups)?;
        step.finish(if known { "in the cache" } else { "built" });
    }
    Ok(())
}

fn boot(lab: &Lab) -> Result<()> {
    let nodes = &lab.topology.nodes;
    let step = Step::begin("Boot the VMs", Some(nodes.len()));
    parallel::each(nodes, nodes.len(), |node| {
        start(lab, node)?;
        step.advance(&node.name);
        Ok(())
    })?;
    step.finish(&format!("{} are up", nodes.len()));
    Ok(())
}

/// Boots a node, unless it is up, and waits for it.
pub fn start(lab: &Lab, node: &Node) -> Result<()> {
    if !lab.is_on(node) {
        lab.prepare_disk(node)?;
        lab.power_on(node)?;
    }
    match lab.wait_booted(node)? {
        State::Running => Ok(()),
        State::Degraded | State::Stopped | State::Changing | State::Frozen => {
            eprintln!(
                "{}: some unit failed; `hamesh-lab exec {0} -- systemctl --failed`",
                node.name
            );
            Ok(())
        }
    }
}
