//! The command line of `role`, `secret` and `certificate`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum, ValueHint};

/// About roles.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// Show how each node is with its role
    Status,
    /// Follow the nodes until every one has what it is to have, or one has failed
    Follow,
    /// Try again what failed
    Retry {
        /// The nodes [default: all on which something failed]
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
    },
}

/// About the secrets of roles.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// List the secrets, without their values
    List,
    /// Make a new value; the nodes take it up one after the other, without an interruption
    Rotate {
        /// Its name as `secret list` shows it, or `certificates`: new keys for all services
        name: String,
    },
}

/// About certificates that operators give.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Give the certificate that the edge proxies show to browsers
    Set {
        /// Whose certificate
        #[arg(value_enum)]
        name: Certificate,
        /// PEM: the certificate, its chain and its private key
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// A certificate that an operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Certificate {
    /// The one that the edge proxies show to browsers
    EdgeProxy,
}
