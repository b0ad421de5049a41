//! Tokens, operators and the context in use.

use std::fmt::Write as _;

use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::time::Moment;
use crate::ctl::views::{ContextView, OperatorView, TokenCreatedView, TokenView};

/// Every token, without secrets.
pub fn tokens(tokens: &[TokenView], now: Moment, look: Look) -> String {
    let columns = [
        Column::kept("ID"),
        Column::kept("NODE"),
        Column::kept("STATE"),
        Column::dropped("EXPIRES", 1),
        Column::dropped("AGE", 2),
        Column::dropped("BY", 3),
    ];
    let rows = tokens.iter().map(|token| {
        let tone = if token.state == "open" {
            Tone::Good
        } else {
            Tone::Faint
        };
        vec![
            Cell::plain(&token.id),
            Cell::plain(&token.node),
            Cell::new(tone, &token.state),
            until(token.expires, now),
            token
                .created
                .map_or_else(Cell::nothing, |at| Cell::plain(at.ago(now))),
            Cell::plain(&token.created_by),
        ]
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

/// What the operator carries to the node.
pub fn token_created(token: &TokenCreatedView, now: Moment) -> String {
    let valid = token
        .expires
        .map_or("an unknown time".to_owned(), |at| at.left(now));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "On {}, as root, within {valid} and once:",
        clean(&token.node)
    );
    let _ = writeln!(text, "\n  {}\n", clean(&token.command));
    let _ = writeln!(text, "The token is a secret and is not shown again.");
    text
}

/// Every operator.
pub fn operators(operators: &[OperatorView], now: Moment, look: Look) -> String {
    let columns = [
        Column::kept("NAME"),
        Column::kept("ACCESS"),
        Column::dropped("CERT", 1),
        Column::dropped("AGE", 2),
    ];
    let rows = operators.iter().map(|operator| {
        vec![
            Cell::plain(&operator.name),
            Cell::plain(&operator.access),
            until(operator.certificate_expires, now),
            operator
                .created
                .map_or_else(Cell::nothing, |at| Cell::plain(at.ago(now))),
        ]
    });
    table(&columns, &rows.collect::<Vec<_>>(), look)
}

/// The context in use.
pub fn context(context: &ContextView, now: Moment) -> String {
    let expires = context
        .certificate_expires
        .map_or("unknown".to_owned(), |at| match at.left(now).as_str() {
            "expired" => format!("expired at {}", at.rfc3339()),
            left => format!("expires in {left}"),
        });
    let mut text = String::new();
    let _ = writeln!(text, "file          {}", clean(&context.file));
    let _ = writeln!(text, "site          {}", context.site);
    let _ = writeln!(text, "identity      {}", context.identity);
    let _ = writeln!(text, "coordinators  {}", context.coordinators.join(", "));
    let _ = writeln!(text, "certificate   {expires}");
    text
}

fn until(expires: Option<Moment>, now: Moment) -> Cell {
    match expires {
        None => Cell::nothing(),
        Some(at) if at.0 <= now.0 => Cell::new(Tone::Doubtful, at.left(now)),
        Some(at) => Cell::plain(at.left(now)),
    }
}
