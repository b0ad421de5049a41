//! The command line of `apply` and `assign`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use hamesh_roles::Role;

use super::role_names;

/// Make a site document the desired state.
#[derive(Debug, Args)]
pub struct Apply {
    /// The site document
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Do not wait until the nodes have it
    #[arg(long)]
    pub no_wait: bool,
    /// How to go about it.
    #[command(flatten)]
    pub consent: Consent,
}

/// Give a node a role.
#[derive(Debug, Args)]
pub struct Assign {
    /// The node
    pub node: String,
    /// Its role
    #[arg(value_parser = PossibleValuesParser::new(role_names()))]
    pub role: String,
    /// With `none`: remove the data of its former role, too
    #[arg(long)]
    pub purge_data: bool,
    /// Do not wait until the nodes have it
    #[arg(long)]
    pub no_wait: bool,
    /// How to go about it.
    #[command(flatten)]
    pub consent: Consent,
}

/// Of `adopt`, in full.
pub const ADOPT: &str = "\
Take a node of a running site over from what served before, without an outage.

Shows what of the role is there already, what would change, what nobody would say any more, and what
stands in the way; then asks. Until then the document must say `mode: observe` for the node, and
`held_by: others` for the addresses of its role. Nodes that stand by come first; with the last one
the addresses follow. Interrupted, the same command goes on.";

/// Take a node over.
#[derive(Debug, Args)]
pub struct Adopt {
    /// The node
    pub node: String,
    /// The role that it serves in
    #[arg(value_parser = PossibleValuesParser::new(Role::ALL.map(Role::name)))]
    pub role: String,
    /// How to go about it.
    #[command(flatten)]
    pub consent: Consent,
}

/// How to go about a change.
#[derive(Debug, Clone, Copy, Args)]
pub struct Consent {
    /// Show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
