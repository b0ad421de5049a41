//! Where the log goes: to journald with structured fields, or to a person's terminal.
//!
//! Under systemd (`JOURNAL_STREAM` is set) every event becomes one journal entry whose fields are
//! the event's own, in capitals (`node` becomes `NODE`), beside those given to [`init`]; elsewhere
//! it becomes one line on standard error. Nothing writes log files. `HAMESH_LOG` holds the filter
//! (`info`, `hamesh_agent=debug`, ...), `info` without it.

use std::env::{self, VarError};
use std::io;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

const FILTER_VARIABLE: &str = "HAMESH_LOG";

/// Why logging could not be set up. Nothing else was changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error("HAMESH_LOG={value:?} is not a log filter; try `info` or `hamesh_agent=debug`")]
    Filter {
        /// What the variable holds.
        value: String,
        /// What the parser says of it.
        source: ParseError,
    },
    /// The filter is not UTF-8.
    #[error("HAMESH_LOG is not UTF-8; try `info`")]
    FilterEncoding,
    /// systemd says that there is a journal, but its socket does not answer.
    #[error("JOURNAL_STREAM is set, but the journal's socket cannot be opened")]
    Journal(#[source] io::Error),
    /// Logging was set up twice in one process.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Sets up logging for the whole process. `fields` go with every journal entry; write their names
/// in capitals (`NODE`, `SITE`).
///
/// # Errors
/// See [`LoggingError`].
pub fn init(program: &str, fields: &[(&str, &str)]) -> Result<(), LoggingError> {
    let registry = tracing_subscriber::registry().with(filter()?);
    if env::var_os("JOURNAL_STREAM").is_some() {
        let journal = tracing_journald::layer()
            .map_err(LoggingError::Journal)?
            .with_field_prefix(None)
            .with_syslog_identifier(program.to_owned())
            .with_priority_mappings(priorities())
            .with_custom_fields(fields.iter().copied());
        registry
            .with(journal)
            .try_init()
            .map_err(LoggingError::Twice)
    } else {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_target(false);
        registry.with(lines).try_init().map_err(LoggingError::Twice)
    }
}

fn filter() -> Result<EnvFilter, LoggingError> {
    let value = match env::var(FILTER_VARIABLE) {
        Ok(value) => value,
        Err(VarError::NotPresent) => "info".to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(LoggingError::FilterEncoding),
    };
    EnvFilter::try_new(&value).map_err(|source| LoggingError::Filter { value, source })
}

/// syslog(3) levels: what tracing calls "info" is informational there, not a notice.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}
