//! The command line of `upgrade`.

use clap::Args;
use hamesh_proto::version::PackageVersion;

use super::Consent;

/// What the command does, at length.
pub const ABOUT: &str = "\
Upgrade hamesh itself, one node after the other: coordinators, then agents

The packages come from where apt on each node finds them: put them there first. Coordinators come \
first, the one that leads last among them, then the other nodes, standbys of a claim before its \
holder; each one is to be well before the next begins. What has the version already is passed \
over, so that the same command goes on where an earlier one stopped. An earlier version is taken \
too, if it reads what the coordinators have written.";

/// Upgrade hamesh itself.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The version of the packages, as apt on the nodes knows it
    #[arg(long, value_name = "VERSION")]
    pub to: PackageVersion,
    /// Only these nodes [default: all]
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Leave these nodes out: those that are off, say
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// How to go about it.
    #[command(flatten)]
    pub consent: Consent,
}
