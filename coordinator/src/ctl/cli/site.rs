//! The command line of `apply` and `assign`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};

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
