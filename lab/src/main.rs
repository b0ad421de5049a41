//! `hamesh-lab`: a whole site on one Linux machine.
//!
//! Each VM is a container (or has a kernel of its own) that boots a real Debian in a network
//! namespace of its own; bridges and clients live in namespaces too, so no address of a site
//! exists on the host.
//! See `docs/decisions/0004-lab.md`.
//!
//! | module | holds |
//! |---|---|
//! | `topology`, `names`, `files`, `wiring`, `faults`, `recipe`, `engine` | pure: what to make |
//! | `tool`, `cgroup`, `host`, `image`, `pool`, `disk`, `own_kernel`, `qmp` | drivers: make it |
//! | `lab`, `enter`, `run_node`, `forward`, `trouble` | a site that is up |
//! | `up`, `deploy`, `down`, `list` | the larger commands |

use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use nix::sys::stat::Mode;

use crate::cli::{Action, Cli, Format};
use crate::enter::Entry;
use crate::lab::Lab;
use crate::topology::Node;

mod cgroup;
mod cli;
mod databases;
mod deploy;
mod disk;
mod down;
mod engine;
mod enter;
mod faults;
mod files;
mod forward;
mod host;
mod image;
mod lab;
mod list;
mod logs;
mod names;
mod own_kernel;
mod parallel;
mod pool;
mod progress;
mod qmp;
mod recipe;
mod run_node;
mod serve;
mod tool;
mod topology;
mod trouble;
mod up;
mod wiring;

fn main() -> ExitCode {
    // Nodes read what root writes here.
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    match run(Cli::parse().command) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(error) => {
            eprintln!("hamesh-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<i32> {
    match action {
        Action::Up {
            site_file,
            bare,
            packages,
        } => {
            let request = up::Request {
                site_file: &site_file,
                bare,
                packages: &packages,
            };
            up::up(&request)?;
        }
        Action::Down { purge } => {
            host::require_root()?;
            let _lock = host::lock()?;
            down::down(&cgroup::Cgroups::discover()?, purge)?;
        }
        Action::List { output } => show(output)?,
        Action::Shell { node } => return exec(&node, &["bash".into(), "-l".into()], true),
        Action::Exec { node, command } => return exec(&node, &command, false),
        Action::Push {
            node,
            source,
            destination,
        } => return push(&node, &source, &destination),
        Action::Logs {
            node,
            console,
            arguments,
        } => {
            let lab = Lab::open()?;
            return logs::show(&lab, lab.topology.node(&node)?, console, &arguments);
        }
        Action::Start { nodes } => each(&nodes, up::start)?,
        Action::Stop { nodes } => each(&nodes, Lab::stop)?,
        Action::Kill { nodes } => each(&nodes, Lab::kill)?,
        Action::Wipe { nodes } => each(&nodes, Lab::wipe)?,
        Action::Freeze { nodes } => each(&nodes, Lab::freeze)?,
        Action::Thaw { nodes } => each(&nodes, Lab::thaw)?,
        Action::Cut { nodes } => trouble::cut(&Lab::open()?, &nodes)?,
        Action::Unplug { nodes } => each(&nodes, |lab, node| lab.carrier(node, false))?,
        Action::Plug { nodes } => each(&nodes, |lab, node| lab.carrier(node, true))?,
        Action::Heal { nodes } => trouble::heal(&Lab::open()?, &nodes)?,
        Action::Partition { groups } => trouble::partition(&Lab::open()?, &groups.join(" "))?,
        Action::Loss { node, percent } => trouble::lose(&Lab::open()?, &node, percent)?,
        Action::Client {
            network,
            second,
            command,
        } => return client(network.as_deref(), second, &command),
        Action::Forward { forward, end } => match (forward, end) {
            (Some(forward), _) => forward::start(&Lab::open()?, forward)?,
            (None, Some(port)) => forward::end(&Lab::open()?, port)?,
            (None, None) => {}
        },
        Action::RunNode { node } => {
            close_inherited();
            let lab = Lab::open()?;
            run_node::run(&lab, lab.topology.node(&node)?)?;
        }
        Action::Relay { forward } => {
            close_inherited();
            forward::relay(&Lab::open()?, forward)?;
        }
    }
    Ok(0)
}

/// A process that stays closes what its caller had open: a lock held by whoever ran `up` would
/// otherwise be held as long as the site is up.
fn close_inherited() {
    let entries = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}

fn each(names: &[String], work: impl Fn(&Lab, &Node) -> Result<()> + Sync) -> Result<()> {
    let lab = Lab::open()?;
    let nodes: Vec<&Node> = names
        .iter()
        .map(|name| lab.topology.node(name))
        .collect::<Result<_>>()?;
    parallel::each(&nodes, nodes.len(), |node| work(&lab, node))
}

fn exec(node: &str, command: &[String], terminal: bool) -> Result<i32> {
    let lab = Lab::open()?;
    Entry::node(&lab, lab.topology.node(node)?, command, terminal)?.run()
}

fn client(network: Option<&str>, second: bool, command: &[String]) -> Result<i32> {
    let lab = Lab::open()?;
    let network = match network {
        Some(name) => lab.topology.network(name)?,
        None => &lab.topology.networks[lab.topology.outside],
    };
    let client = &network.clients[usize::from(second)];
    Entry::client(&lab, client, command)?.run()
}

fn push(node: &str, source: &Path, destination: &str) -> Result<i32> {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::open()?;
    let file = File::open(source).with_context(|| format!("opening {}", source.display()))?;
    let meta = file
        .metadata()
        .with_context(|| format!("reading {}", source.display()))?;
    anyhow::ensure!(meta.is_file(), "{} is not a file", source.display());
    let mode = format!("{:o}", meta.permissions().mode() & 0o7777);
    let install = ["install", "-D", "-m", &mode, "/dev/stdin", destination].map(ToOwned::to_owned);
    Entry::node(&lab, lab.topology.node(node)?, &install, false)?.run_with_input(Stdio::from(file))
}

fn show(output: Format) -> Result<()> {
    let lab = Lab::open()?;
    let rows = list::rows(&lab, &trouble::current()?);
    match output {
        Format::Table => print!("{}", list::table(&rows)),
        Format::Json => {
            println!(
                "{}",
                serde_json::to_string_pretty(&rows).context("writing the list")?
            );
        }
    }
    Ok(())
}
