//! Asking before something is changed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::ctl::failure::Failure;

/// Asks `question`; anything but "y" or "yes" is no.
///
/// Without a terminal nobody can answer: that is a failure, not a no.
pub fn confirmed(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::invalid(
            format!("{question} Nobody can be asked: standard input is not a terminal"),
            "nothing was changed; look at the plan with --dry-run where there is one, and repeat \
             the command with --yes",
        ));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::Failed {
            message: "nothing was changed".into(),
            next: None,
        }),
        Err(error) => Err(Failure::Failed {
            message: format!("cannot read the answer: {error}"),
            next: None,
        }),
    }
}
