//! Each command: asks the coordinator, shows what it said.

mod access;
mod adopt;
mod backup;
mod claims;
mod context;
mod coordinators;
mod database;
mod following;
mod generate;
mod gossip;
mod init;
mod nodes;
mod passphrase;
mod prompt;
mod recover;
mod restore;
mod roles;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod upgrade;

use std::path::PathBuf;
use std::time::SystemTime;

use super::cli::{Cli, Command};
use super::context::Context;
use super::failure::Failure;
use super::link::Link;
use super::output::Output;

/// What every command has.
struct Session {
    output: Output,
    context: Option<PathBuf>,
}

impl Session {
    /// The context file in use.
    fn context_path(&self) -> Result<PathBuf, Failure> {
        match &self.context {
            Some(path) => Ok(path.clone()),
            None => Context::default_path(),
        }
    }

    /// A connection to the first coordinator that answers.
    async fn link(&self) -> Result<Link, Failure> {
        Link::open(self.context_path()?, SystemTime::now()).await
    }
}

/// Carries out one command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let session = Session {
        output: Output::stdout(cli.output),
        context: cli.context,
    };
    match cli.command {
        Command::Status => status::status(&session).await,
        Command::Nodes => nodes::list(&session).await,
        Command::Node(command) => nodes::run(&session, command).await,
        Command::Events(options) => status::events(&session, &options).await,
        Command::Site => site::show(&session).await,
        Command::Apply(options) => site::apply(&session, &options).await,
        Command::Assign(options) => site::assign(&session, &options).await,
        Command::Adopt(options) => adopt::run(&session, &options).await,
        Command::Role(command) => roles::role(&session, &command).await,
        Command::Db(command) => database::run(&session, command).await,
        Command::Secret(command) => roles::secret(&session, &command).await,
        Command::Certificate(command) => roles::certificate(&session, &command).await,
        Command::Claims => claims::list(&session).await,
        Command::Explain { claim } => claims::explain(&session, &claim).await,
        Command::Move { claim, to } => claims::move_to(&session, &claim, to.as_deref()).await,
        Command::Drain { node } => claims::drain(&session, &node, true).await,
        Command::Undrain { node } => claims::drain(&session, &node, false).await,
        Command::Claim(command) => claims::run(&session, command).await,
        Command::Token(command) => access::token(&session, command).await,
        Command::Operator(command) => access::operator(&session, command).await,
        Command::Gossip(command) => gossip::run(&session, &command).await,
        Command::Backup(options) => backup::run(&session, options).await,
        Command::Upgrade(options) => upgrade::run(&session, &options).await,
        Command::Coordinator(command) => coordinators::run(&session, command).await,
        Command::Context(command) => context::run(&session, command),
        Command::Recover(options) => recover::run(&session, options).await,
        Command::Restore(options) => restore::run(&session, options).await,
        Command::Init(options) => init::run(&session, options).await,
        Command::Generate(what) => generate::run(&what),
    }
}

/// A coordinator's refusal, as a failure.
fn refused(status: tonic::Status) -> Failure {
    Failure::from_status(&status)
}
