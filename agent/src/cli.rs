//! The command line of `hamesh-agent`, from which its man pages and completions are made.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::token::EnrolmentToken;

/// The agent of a hamesh site: one runs on every VM.
#[derive(Debug, Parser)]
#[command(name = "hamesh-agent", version, propagate_version = true)]
pub struct Cli {
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the agent keeps its things.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// What must survive a reboot: the node's identity, its assignment, the gossip keys.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "HAMESH_STATE_DIR",
        default_value = "/var/lib/hamesh-agent"
    )]
    pub state_dir: PathBuf,
    /// What lives as long as the agent runs: its local socket.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "HAMESH_RUNTIME_DIR",
        default_value = "/run/hamesh-agent"
    )]
    pub runtime_dir: PathBuf,
    /// What hamesh-apply.service keeps: the node's orders, and whom it believes them.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "HAMESH_APPLY_DIR",
        default_value = "/var/lib/hamesh-apply"
    )]
    pub apply_dir: PathBuf,
}

impl Places {
    /// The local socket of the running agent.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("agent.sock")
    }
}

/// The agent's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent (systemd does this)
    Run(Run),
    /// Make this machine a node of a site, with a token from `coordctl token create`
    Enroll(Enroll),
    /// Get a new certificate in place of one that has expired, after `coordctl node re-enrol`
    #[command(name = "re-enroll")]
    ReEnroll(ReEnroll),
    /// Show what the running agent knows
    Status(Status),
    /// Print the running agent's metrics, as Prometheus reads them
    Metrics,
    /// Load or remove the fence around the claimed addresses
    Fence(Fence),
    /// Open a claim on this node by hand when no coordinator can: the last resort
    #[command(name = "break-glass")]
    BreakGlass(BreakGlass),
    /// Install the version of hamesh that the coordinator ordered (what hamesh-upgrade.service
    /// does, as root)
    Upgrade,
    /// Keep this machine as its role asks (what hamesh-apply.service does, as root)
    Apply,
    /// Write man pages or shell completions
    #[command(hide = true)]
    Generate(Generate),
}

/// `run`
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Where metrics are served over mutual TLS; 0 for any free port
    #[arg(long, value_name = "PORT", env = "HAMESH_METRICS_PORT",
          default_value_t = hamesh_proto::ports::AGENT_METRICS)]
    pub metrics_port: u16,
}

/// `enroll`
#[derive(Debug, Args)]
pub struct Enroll {
    /// The enrolment port of a coordinator
    #[arg(long, value_name = "IP:PORT", value_parser = enrolment_address)]
    pub coordinator: SocketAddr,
    /// The token; it is good for one node, once
    #[arg(long, env = "HAMESH_TOKEN", hide_env_values = true)]
    pub token: EnrolmentToken,
    /// The node that the token was made for [default: this machine's host name]
    #[arg(long)]
    pub node: Option<NodeId>,
    /// Replace the identity that this machine has already
    #[arg(long)]
    pub replace: bool,
    /// Do not start hamesh-agent.service afterwards
    #[arg(long)]
    pub no_start: bool,
}

/// `re-enroll`
#[derive(Debug, Args)]
pub struct ReEnroll {
    /// The enrolment port of a coordinator [default: those known]
    #[arg(long, value_name = "IP:PORT", value_parser = enrolment_address)]
    pub coordinator: Option<SocketAddr>,
    /// Do not start hamesh-agent.service afterwards
    #[arg(long)]
    pub no_start: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `fence`
#[derive(Debug, Args)]
pub struct Fence {
    /// What to do
    #[command(subcommand)]
    pub action: FenceAction,
}

/// What to do with the fence.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum FenceAction {
    /// Load it for the addresses that are on disk (hamesh-fence.service does this at boot)
    Load,
    /// Remove every claimed address and the fence; the agent must not run
    Clear,
}

/// `break-glass`
#[derive(Debug, Args)]
pub struct BreakGlass {
    /// What to do
    #[command(subcommand)]
    pub action: BreakGlassAction,
}

/// What to do with a claim by hand.
#[derive(Debug, Subcommand)]
pub enum BreakGlassAction {
    /// Open a claim here, whoever else may hold it, until it is closed or the machine reboots
    Open {
        /// The claim, such as vip/edge
        claim: ClaimId,
        /// Two nodes that answer for one address damage what is behind it
        #[arg(long)]
        i_made_sure_that_no_other_node_holds_it: bool,
    },
    /// Close a claim that was opened by hand
    Close {
        /// The claim, such as vip/edge
        claim: ClaimId,
    },
    /// Show what was opened by hand here
    Status,
}

/// Ways to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// What to write
    #[arg(value_enum)]
    pub what: Generated,
    /// Where to
    pub directory: PathBuf,
}

/// What is made from the command line's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// Man pages
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}

/// Takes `IP:PORT`, or an IP alone with the port that coordinators listen on.
fn enrolment_address(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| {
            let ip = text.parse::<std::net::IpAddr>()?;
            Ok::<_, std::net::AddrParseError>((ip, hamesh_proto::ports::ENROLMENT).into())
        })
        .map_err(|_| format!("{text:?} is not an address; write IP:7444"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_address_may_leave_out_the_port() {
        assert_eq!(
            enrolment_address("192.0.2.1"),
            Ok(([192, 0, 2, 1], 7444).into())
        );
        assert_eq!(
            enrolment_address("192.0.2.1:9"),
            Ok(([192, 0, 2, 1], 9).into())
        );
        assert_eq!(
            enrolment_address("::1"),
            Ok("[::1]:7444".parse().expect("an address"))
        );
        assert!(enrolment_address("control-1").is_err());
    }
}
