//! The command line of `db`.

use clap::Subcommand;

use super::Consent;

/// About the databases.
#[derive(Debug, Subcommand)]
pub enum DatabaseCommand {
    /// Show who leads the databases, who follows how closely, and what is wrong
    Status,
    /// Have another member lead: writes pause for a few seconds, and none is lost
    Switchover {
        /// Who is to lead [default: the synchronous standby, or who is least behind]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// How to go about it.
        #[command(flatten)]
        consent: Consent,
    },
    /// Restart PostgreSQL on a node
    Restart {
        /// The node
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Throw a replica's data away, and copy it anew from the leader
    Reinit {
        /// The node
        node: String,
        /// Do not wait until it follows again
        #[arg(long)]
        no_wait: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
