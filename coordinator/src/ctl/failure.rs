//! What can go wrong with a command: what it tells, what to do next, and its exit code.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use hamesh_roles::Diagnostic;

/// How a program that calls `coordctl` tells failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// The command, a file or a name is wrong: nothing was tried.
    Invalid = 2,
    /// No coordinator could be reached.
    Unreachable = 3,
    /// The coordinator does not allow it.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no context file.
    #[error("there is no context file at {}", .path.display())]
    NoContext {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The context file is there and cannot be used.
    #[error("the context file {} cannot be used: {reason}", .path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operator's certificate is too old to be renewed.
    #[error("the certificate of {operator} expired {ago} ago")]
    Expired {
        /// SPIFFE path of the operator.
        operator: String,
        /// "2d"
        ago: String,
    },
    /// No coordinator answered.
    #[error("no coordinator could be reached{}", listed(.tried))]
    Unreachable {
        /// Each address, and why it failed.
        tried: Vec<(String, String)>,
    },
    /// Coordinators answer, and none of them leads.
    #[error("no coordinator leads at present: most of them are gone, or do not reach each other")]
    Leaderless,
    /// A document has faults.
    #[error("{file} has {}", counted(.file, .faults))]
    Document {
        /// The file's name.
        file: String,
        /// Everything that is wrong with it.
        faults: Vec<Diagnostic>,
    },
    /// The command or a name in it is wrong.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do.
        next: String,
    },
    /// The coordinator refused.
    #[error("refused: {message}")]
    Refused {
        /// In the coordinator's words.
        message: String,
    },
    /// It was tried and did not succeed.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What to do.
        next: Option<String>,
    },
}

impl Failure {
    /// Something is wrong with what was asked for.
    pub fn invalid(message: impl Into<String>, next: impl Into<String>) -> Failure {
        Failure::Invalid {
            message: message.into(),
            next: next.into(),
        }
    }

    /// Something did not work, and this is the way on.
    pub fn failed(message: impl Into<String>, next: impl Into<String>) -> Failure {
        Failure::Failed {
            message: message.into(),
            next: Some(next.into()),
        }
    }

    /// A file of the operator's could not be read or written.
    pub fn file(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
        let message = format!("cannot {doing} {}: {error}", path.display());
        Failure::Failed {
            message,
            next: None,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::NoContext { .. }
            | Failure::Context { .. }
            | Failure::Document { .. }
            | Failure::Invalid { .. } => Exit::Invalid,
            Failure::Expired { .. } | Failure::Refused { .. } => Exit::Refused,
            Failure::Unreachable { .. } | Failure::Leaderless => Exit::Unreachable,
            Failure::Failed { .. } => Exit::Failed,
        }
    }

    /// What to do next.
    pub fn next(&self) -> Option<String> {
        let next = match self {
            Failure::NoContext { .. } => {
                "on the coordinator, run `coordctl init` as root; on another machine, let an admin \
                 run `coordctl operator add NAME --access admin --out context.json`, bring the \
                 file here and run `coordctl context import context.json`"
            }
            Failure::Context { .. } => {
                "import a good one with `coordctl context import FILE`, or name one with --context"
            }
            Failure::Expired { .. } => {
                "let an admin run `coordctl operator remove` and `coordctl operator add` for you, \
                 or, if there is none, run `coordctl operator add NEW-NAME --access admin --out \
                 context.json --as-coordinator` as root on the coordinator; then `coordctl context \
                 import context.json --replace`"
            }
            Failure::Unreachable { .. } => {
                "check the network, and on the coordinator `systemctl status hamesh-coordinator \
                 hamesh-store`; the nodes go on without a coordinator meanwhile"
            }
            Failure::Leaderless => {
                "on each coordinator, `systemctl status hamesh-coordinator hamesh-store`; the \
                 nodes go on without a leader meanwhile"
            }
            Failure::Document { .. } => "mend the document and run the command again",
            Failure::Refused { .. } => {
                "ask an admin of the site, or use an admin's context with --context"
            }
            Failure::Invalid { next, .. } => next,
            Failure::Failed { next, .. } => return next.clone(),
        };
        Some(next.to_owned())
    }

    /// From a coordinator's answer. What the coordinator says includes what to do.
    pub fn from_status(status: &tonic::Status) -> Failure {
        use tonic::Code;
        let message = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => Failure::Refused { message },
            Code::InvalidArgument | Code::OutOfRange => {
                Failure::invalid(message, "nothing was changed")
            }
            Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::ResourceExhausted => Failure::Failed {
                message,
                next: None,
            },
            // The coordinator itself said so: what breaks on the way has a source.
            Code::Unavailable if std::error::Error::source(status).is_none() => Failure::failed(
                format!("the coordinator cannot do that now: {message}"),
                "nothing was changed: try again; `coordctl status` shows what is wrong",
            ),
            Code::Unimplemented => Failure::failed(
                "the coordinator does not know this command",
                "upgrade hamesh-coordinator, or use the coordctl of its version",
            ),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Failure::failed(
                format!("the coordinator did not finish: {}", words(status)),
                "see with `coordctl status` and `coordctl events` whether anything was changed \
                 before trying again",
            ),
        }
    }
}

/// A status and what lies behind it, each said once.
fn words(status: &tonic::Status) -> String {
    let mut told = vec![status.message().to_owned()];
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let text = error.to_string();
        if !told.iter().any(|earlier| earlier.contains(&text)) {
            told.push(text);
        }
        source = error.source();
    }
    told.retain(|text| !text.is_empty());
    if told.is_empty() {
        status.code().to_string()
    } else {
        told.join(": ")
    }
}

/// An error and all its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// Most reasons name the address already.
fn listed(tried: &[(String, String)]) -> String {
    let lines = tried.iter().map(
        |(address, reason)| match reason.contains(address.as_str()) {
            true => format!("\n  {reason}"),
            false => format!("\n  {address}: {reason}"),
        },
    );
    lines.collect()
}

/// "2 faults", and each in a line of its own.
fn counted(file: &str, faults: &[Diagnostic]) -> String {
    let lines = faults
        .iter()
        .map(|fault| format!("\n  {}", fault.in_file(file)));
    let count = faults.len();
    format!(
        "{count} fault{}{}",
        plural(count),
        lines.collect::<String>()
    )
}

/// "s" unless it is one.
pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What is printed on stderr.
pub struct Told<'a>(pub &'a Failure);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.0)?;
        match self.0.next() {
            Some(next) => writeln!(f, "next: {next}"),
            None => Ok(()),
        }
    }
}
