//! The command lines of `restore` and `recover`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use hamesh_proto::ids::{NodeId, OperatorName};

use super::{Consent, PassphraseSource};

/// What `recover` does, at length.
pub const ABOUT: &str = "\
Rebuild the site from its agents on this machine, when all coordinators are lost (as root)

Of the backup, which may be of any age, the CA and what goes with it are believed, and of its \
records only what no agent knows: operators, events, the audit trail. The nodes are asked for the \
rest; they find this machine at the address of a coordinator that was lost. Nothing is granted or \
assigned before `coordctl recover finish`, and no address moves.";

/// Restore the site from a backup.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The node of the site document that this machine is
    #[arg(long)]
    pub node: NodeId,
    /// Name of the operator who goes on from here, an admin [default: who called sudo, or root]
    #[arg(long, value_name = "NAME")]
    pub operator: Option<OperatorName>,
    /// Where the passphrase comes from.
    #[command(flatten)]
    pub passphrase: PassphraseSource,
    /// Begin an incarnation above this one, when the clock of an earlier restore was ahead
    #[arg(long, value_name = "INCARNATION", default_value_t = 0)]
    pub above: u64,
    /// Do not ask whether every other coordinator is off
    #[arg(long)]
    pub yes: bool,
}

/// Rebuild the site from its agents.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Recover {
    /// A backup of the site, of any age
    #[arg(value_hint = ValueHint::FilePath, required = true)]
    pub file: Option<PathBuf>,
    /// The node that this machine is: one of the coordinators that were lost
    #[arg(long, required = true)]
    pub node: Option<NodeId>,
    /// The site document, if you have the newest [default: put together from what the nodes hold]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub site_file: Option<PathBuf>,
    /// Name of the operator who goes on from here, an admin [default: who called sudo, or root]
    #[arg(long, value_name = "NAME")]
    pub operator: Option<OperatorName>,
    /// Where the passphrase comes from.
    #[command(flatten)]
    pub passphrase: PassphraseSource,
    /// Do not ask whether every other coordinator is off
    #[arg(long)]
    pub yes: bool,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<RecoverCommand>,
}

/// About a recovery that was begun.
#[derive(Debug, Subcommand)]
pub enum RecoverCommand {
    /// Show which nodes were heard, which are missing, and what is planned
    Status {
        /// As if the site went on without these nodes
        #[arg(long, value_name = "NODE")]
        without: Vec<NodeId>,
    },
    /// Make what the nodes hold the site again
    Finish {
        /// Go on without this node: it is not believed, nor enrolled any more
        #[arg(long, value_name = "NODE")]
        without: Vec<NodeId>,
        /// How to go about it.
        #[command(flatten)]
        consent: Consent,
    },
}
