//! `context ...`: the file that says who you are and whom to ask.

use std::path::Path;

use super::Session;
use crate::ctl::cli::ContextCommand;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::ContextView;

/// `context ...`
pub fn run(session: &Session, command: ContextCommand) -> Result<(), Failure> {
    match command {
        ContextCommand::Show => {
            let path = session.context_path()?;
            show(session, &path, &Context::load(&path)?)
        }
        ContextCommand::Import { file, replace } => import(session, &file, replace),
    }
}

fn show(session: &Session, path: &Path, context: &Context) -> Result<(), Failure> {
    let view = ContextView::new(path, context);
    session
        .output
        .show(&view, |_| screens::context(&view, Moment::now()))
}

fn import(session: &Session, file: &Path, replace: bool) -> Result<(), Failure> {
    let path = session.context_path()?;
    let context = Context::load(file)?;
    let kept = replace || !path.exists();
    if !kept && !Context::load(&path)?.is_of_same_operator(&context) {
        let message = format!(
            "{} holds another operator's or site's context",
            path.display()
        );
        return Err(Failure::invalid(
            message,
            "nothing was changed; keep both and choose with --context, or add --replace",
        ));
    }
    context.save(&path)?;
    show(session, &path, &context)?;
    session.output.tell(format!(
        "next: remove {}, then `coordctl status`",
        file.display()
    ))
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
