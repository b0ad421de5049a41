//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use hamesh_proto::ids::{NodeId, OperatorName};
use hamesh_roles::Role;

pub use self::database::DatabaseCommand;
pub use self::recover::{Recover, RecoverCommand, Restore};
pub use self::roles::{CertificateCommand, RoleCommand, SecretCommand};
pub use self::site::{Adopt, Apply, Assign, Consent};
pub use self::upgrade::Upgrade;
use super::output::Form;
use super::time::parse_span;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 the command or a file is wrong, 3 no coordinator could be reached, \
4 refused.";

/// Shows a hamesh site, plans and applies changes to it, and admits nodes and operators.
#[derive(Debug, Parser)]
#[command(name = "coordctl", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Form of the output
    #[arg(long, short, global = true, value_enum, default_value_t = Form::Table)]
    pub output: Form,

    /// Context file: the site, its coordinators and your identity
    /// [default: ~/.config/hamesh/context.json]
    #[arg(long, global = true, env = "HAMESH_CONTEXT", value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub context: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What `coordctl` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole site on one screen
    Status,
    /// List the nodes (the same as `node list`)
    Nodes,
    /// Look at nodes, remove them, let them come back
    #[command(subcommand)]
    Node(NodeCommand),
    /// Show what happened
    Events(Events),
    /// Print the site document as it is stored
    Site,
    /// Make a site document the desired state
    Apply(Apply),
    /// Give a node a role, or none
    Assign(Assign),
    /// Take a node of a running site over from what served before, without an outage
    #[command(long_about = site::ADOPT)]
    Adopt(Adopt),
    /// Look at what the nodes' roles make of them, and try again what failed
    #[command(subcommand)]
    Role(RoleCommand),
    /// Look at the databases, have another node lead them, restart or copy one anew
    #[command(subcommand)]
    Db(DatabaseCommand),
    /// List what roles need and nobody may see, and make it anew
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Give the certificates that browsers are shown
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// List the claims and who holds them
    Claims,
    /// Say why a claim is where it is
    Explain {
        /// The claim: vip/NAME
        claim: String,
    },
    /// Move a claim to another node, without an interruption
    Move {
        /// The claim: vip/NAME
        claim: String,
        /// Where to [default: the best of the other candidates]
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
    /// Let a node give back what it holds, grant it nothing, and have proxies send it nothing new
    Drain {
        /// The node
        node: String,
    },
    /// Let a drained node hold claims, and be sent requests, again
    Undrain {
        /// The node
        node: String,
    },
    /// Pause claims, and confirm what a changing group waits for
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Make, list and revoke enrolment tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, list and remove operators
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Look after the gossip between the nodes
    #[command(subcommand)]
    Gossip(GossipCommand),
    /// Write everything that the coordinators know to an encrypted file, or check such a file
    Backup(Backup),
    /// Upgrade hamesh itself, one node after the other: coordinators, then agents
    #[command(long_about = upgrade::ABOUT)]
    Upgrade(Upgrade),
    /// List, add and remove coordinators
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Show or import the context file
    #[command(subcommand)]
    Context(ContextCommand),
    /// Restore the site from a backup on this machine, its only coordinator (as root)
    Restore(Restore),
    /// Rebuild the site from its agents on this machine, when all coordinators are lost (as root)
    #[command(long_about = recover::ABOUT)]
    Recover(Recover),
    /// Set up a new site on this machine, its first coordinator (as root)
    Init(Init),
    /// Write man pages or shell completions
    #[command(subcommand, hide = true)]
    Generate(Generate),
}

/// About nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes
    List,
    /// Show everything about one node
    Show {
        /// The node
        node: String,
    },
    /// Refuse a node from now on; its name stays in the site for another machine
    Remove {
        /// The node
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let a node whose certificate has expired come back by itself
    ReEnrol {
        /// The node
        node: String,
        /// For how long: 90s, 30m, 12h, 7d
        #[arg(long, value_parser = parse_span, default_value = "1h", value_name = "SPAN")]
        valid: Duration,
    },
}

/// About claims.
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Let nothing of a claim move by itself
    Pause {
        /// The claim: vip/NAME
        claim: String,
    },
    /// Let a paused claim move by itself again
    Resume {
        /// The claim: vip/NAME
        claim: String,
    },
    /// Confirm that a node is switched off, so that no changing group waits for it
    ConfirmFenced {
        /// The node
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Show what happened.
#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// How many past events to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub last: u32,
    /// Show instead who asked for which change, and what became of it; also what was refused
    #[arg(long, conflicts_with = "follow")]
    pub audit: bool,
}

/// About enrolment tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token that enrols one node, once
    Create {
        /// The node
        node: String,
        /// For how long: 90s, 30m, 12h, 7d
        #[arg(long, value_parser = parse_span, default_value = "1h", value_name = "SPAN")]
        valid: Duration,
    },
    /// List the tokens, without their secrets
    List,
    /// Make a token useless
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
    },
}

/// About operators.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Admit an operator, and write the context file to hand over
    Add {
        /// Name of the operator
        name: OperatorName,
        /// What the operator may do
        #[arg(long, value_enum)]
        access: Access,
        /// Where to write the context file; it holds a private key
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: PathBuf,
        /// On a coordinator, as root: use its identity, when no admin is left who could
        #[arg(long)]
        as_coordinator: bool,
    },
    /// List the operators
    List,
    /// Refuse an operator from now on
    Remove {
        /// Name of the operator
        name: OperatorName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// Look at everything that is no secret
    Viewer,
    /// Everything
    Admin,
}

/// About coordinators.
#[derive(Debug, Subcommand)]
pub enum CoordinatorCommand {
    /// List the coordinators, and say which one leads
    List,
    /// Make a node a coordinator, one of three as a rule
    Add {
        /// The node; the site document must name it among the coordinators
        node: String,
    },
    /// Make a node no coordinator any more, also when its machine was lost
    Remove {
        /// The node
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// About gossip.
#[derive(Debug, Subcommand)]
pub enum GossipCommand {
    /// Replace the key that encrypts gossip, without an interruption
    RotateKey,
}

/// Write or check a backup.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backup {
    /// Where to write the backup
    #[arg(value_hint = ValueHint::FilePath, required = true)]
    pub file: Option<PathBuf>,
    /// Where the passphrase comes from.
    #[command(flatten)]
    pub passphrase: PassphraseSource,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
}

/// About backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Check a backup, without any coordinator, and say what is in it
    Verify {
        /// The backup
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Where the passphrase comes from.
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
    /// Set the passphrase of the backups that the site document asks for
    Passphrase {
        /// Where the passphrase comes from.
        #[command(flatten)]
        passphrase: PassphraseSource,
    },
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, Args)]
pub struct PassphraseSource {
    /// File whose first line is the passphrase [default: ask for it]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
}

/// About the context file.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Show the context in use, without its key
    Show,
    /// Make FILE the context in use
    Import {
        /// A context file that an admin made with `operator add`
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Even if another site's or operator's context is in use
        #[arg(long)]
        replace: bool,
    },
}

/// Set up a new site.
#[derive(Debug, Args)]
pub struct Init {
    /// The site document
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub site_file: PathBuf,
    /// The node of the document that this machine is
    #[arg(long)]
    pub node: NodeId,
    /// Name of the first operator, an admin [default: who called sudo, or root]
    #[arg(long, value_name = "NAME")]
    pub operator: Option<OperatorName>,
}

/// What is made for packages.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// A man page for each command
    Man {
        /// Where to
        directory: PathBuf,
    },
    /// Completions for bash, zsh and fish
    Completions {
        /// Where to
        directory: PathBuf,
    },
}

/// What `assign` calls no role.
pub const NO_ROLE: &str = "none";

/// The names that `assign` takes.
pub fn role_names() -> impl Iterator<Item = &'static str> {
    Role::ALL.into_iter().map(Role::name).chain([NO_ROLE])
}

mod database;
mod recover;
mod roles;
mod site;
#[cfg(test)]
mod tests;
mod upgrade;
