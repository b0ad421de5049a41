//! The command line of `hamesh-lab`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::faults::Loss;

/// Runs a whole site on this machine: VMs, networks, faults.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Action,
}

/// How `list` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Bring the site up; run again, it goes on where it was
    Up {
        /// The site to bring up
        #[arg(default_value = "sites/thirteen.yaml")]
        site_file: PathBuf,
        /// Boot the VMs without hamesh on them
        #[arg(long)]
        bare: bool,
        /// Where hamesh's own Debian packages are
        #[arg(long, default_value = "target/debian")]
        packages: PathBuf,
    },
    /// Take everything down and leave nothing behind but the cache
    Down {
        /// Remove the cached base images and packages too
        #[arg(long)]
        purge: bool,
    },
    /// List the nodes, their state and their faults
    List {
        /// How to print them
        #[arg(long, short, value_enum, default_value = "table")]
        output: Format,
    },
    /// Open a shell in a node
    Shell {
        /// The node
        node: String,
    },
    /// Run a command in a node, with its input, output and exit status
    Exec {
        /// The node
        node: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Copy a file into a node
    Push {
        /// The node
        node: String,
        /// The file on this machine
        source: PathBuf,
        /// Its path in the node
        destination: String,
    },
    /// Show a node's journal; what follows `--` goes to journalctl
    Logs {
        /// The node
        node: String,
        /// Show what it printed on its console instead
        #[arg(long)]
        console: bool,
        /// Arguments of journalctl, such as `-u hamesh-agent -f`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Boot nodes that are off
    Start {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Shut nodes down in order
    Stop {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Cut the power of nodes; their disks are kept
    Kill {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Take the disks of nodes that are off; they start again as blank machines
    Wipe {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Stop nodes where they stand; an emulated one stops with its clocks
    Freeze {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Let frozen nodes go on
    Thaw {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Cut nodes (or `client`, `client2:NETWORK`) off from every network; they keep the carrier
    Cut {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Take the carrier from the interfaces of nodes, as pulling their cables does
    Unplug {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Bring the carrier of nodes back
    Plug {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// End the network faults of nodes; of all, and the partition, if none is named
    Heal {
        /// The nodes
        nodes: Vec<String>,
    },
    /// Part the site: `partition A,B "|" C,D`; who is in no group still reaches all
    Partition {
        /// The groups, commas within and `|` between them
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Drop a share of the packets to and from a node; 0 ends it
    Loss {
        /// The node
        node: String,
        /// The share in percent, such as 10 or 2.5
        percent: Loss,
    },
    /// Run a command from outside the site
    Client {
        /// The network to stand on; the one that is not the management network if not given
        #[arg(long)]
        network: Option<String>,
        /// Stand at the second client of the network
        #[arg(long)]
        second: bool,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Bring a port of the site to 127.0.0.1: `forward 8443:192.168.30.130:443`
    Forward {
        /// PORT:ADDRESS:PORT, an IPv6 address in brackets
        #[arg(required_unless_present = "end", value_parser = parse_forward)]
        forward: Option<Forward>,
        /// End the forwarding of this port instead
        #[arg(long, value_name = "PORT", conflicts_with = "forward")]
        end: Option<u16>,
    },
    /// The process behind a running node
    #[command(hide = true)]
    RunNode {
        /// The node
        node: String,
    },
    /// The process behind a forwarded port
    #[command(hide = true)]
    Relay {
        /// What it forwards
        #[arg(value_parser = parse_forward)]
        forward: Forward,
    },
}

/// A port of this machine's loopback and the address in the site it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Where it leads.
    pub target: SocketAddr,
}

impl std::fmt::Display for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.port, self.target)
    }
}

fn parse_forward(text: &str) -> Result<Forward, String> {
    let form = "write it as PORT:ADDRESS:PORT, such as 8443:192.168.30.130:443";
    let (port, target) = text.split_once(':').ok_or(form)?;
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` is not a port; {form}"))?;
    let target = target
        .parse()
        .map_err(|_| format!("`{target}` is not an address and a port; {form}"))?;
    Ok(Forward { port, target })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_forward_is_read_for_both_families() {
        let v4 = parse_forward("8443:192.168.30.130:443").expect("an IPv4 forward");
        assert_eq!(
            (v4.port, v4.target.to_string()),
            (8443, "192.168.30.130:443".to_owned())
        );
        let v6 = parse_forward("1:[fd00::1]:2").expect("an IPv6 forward");
        assert_eq!(v6.to_string(), "1:[fd00::1]:2");
        for text in ["", "8443", "x:1.2.3.4:1", "1:1.2.3.4", "70000:1.2.3.4:1"] {
            assert!(parse_forward(text).is_err(), "{text}");
        }
    }
}
