//! Claims: the table of all, and all about one.

use std::fmt::Write as _;

use crate::ctl::paint::{Cell, Column, Look, Tone, clean, table};
use crate::ctl::time::Moment;
use crate::ctl::views::{
    CandidateView, ClaimState, ClaimView, DrainedView, ExplanationView, MoveView, MovedView,
};

const COLUMNS: [Column; 7] = [
    Column::kept("CLAIM"),
    Column::kept("HOLDER"),
    Column::kept("STATE"),
    Column::dropped("SINCE", 2),
    Column::dropped("ADDRESSES", 3),
    Column::dropped("LEASE", 4),
    Column::dropped("WHY", 1),
];

const WIDE: [Column; 3] = [
    Column::kept("GRANT"),
    Column::kept("LEFT"),
    Column::kept("AWAITED"),
];

/// Every claim, one line each.
pub fn claims(claims: &[ClaimView], now: Moment, wide: bool, look: Look) -> String {
    if claims.is_empty() {
        return "the site has no claims\n".to_owned();
    }
    let mut columns = COLUMNS.to_vec();
    let mut rows = claims
        .iter()
        .map(|claim| row(claim, now))
        .collect::<Vec<_>>();
    let mut look = look;
    if wide {
        columns.extend(WIDE);
        for (row, claim) in rows.iter_mut().zip(claims) {
            row.push(claim.grant.as_ref().map_or_else(Cell::nothing, Cell::plain));
            row.push(left(claim));
            row.push(Cell::plain(claim.awaited.join(" ")));
        }
        look.width = None;
    }
    table(&columns, &rows, look)
}

fn row(claim: &ClaimView, now: Moment) -> Vec<Cell> {
    let state = match (claim.state, claim.paused) {
        (state, false) => state.name().to_owned(),
        (state, true) => format!("{state}, paused"),
    };
    vec![
        Cell::plain(&claim.claim),
        claim
            .holder
            .as_ref()
            .map_or_else(Cell::nothing, Cell::plain),
        Cell::new(tone(claim), state),
        claim
            .since
            .map_or_else(Cell::nothing, |since| Cell::plain(since.ago(now))),
        Cell::plain(claim.addresses.join(" ")),
        Cell::plain(format!("{}ms", claim.ttl_ms)),
        Cell::plain(why(claim)),
    ]
}

fn left(claim: &ClaimView) -> Cell {
    match claim.holder {
        Some(_) => Cell::plain(format!("{}ms", claim.remaining_ms)),
        None => Cell::nothing(),
    }
}

/// What matters most about it now.
fn why(claim: &ClaimView) -> String {
    let asked = claim.moving.as_ref().or(claim.keeps.as_ref());
    asked.unwrap_or(&claim.reason).clone()
}

fn tone(claim: &ClaimView) -> Tone {
    match claim.state {
        _ if !claim.duplicate_macs.is_empty() => Tone::Bad,
        ClaimState::Vacant | ClaimState::BreakGlass => Tone::Bad,
        ClaimState::Moving | ClaimState::Alone => Tone::Doubtful,
        ClaimState::Held if claim.paused || claim.keeps.is_some() => Tone::Doubtful,
        ClaimState::Held => Tone::Good,
    }
}

/// Why a claim is where it is.
pub fn explanation(explanation: &ExplanationView, now: Moment, look: Look) -> String {
    let claim = &explanation.claim;
    let mut text = format!(
        "{}   {}\n",
        look.paint(Tone::Strong, &clean(&claim.claim)),
        clean(&claim.addresses.join(" "))
    );
    let since = claim
        .since
        .map_or(String::new(), |at| format!(" for {}", at.ago(now)));
    let grant = claim
        .grant
        .as_ref()
        .map_or(String::new(), |grant| format!(", grant {grant}"));
    let head = match &claim.holder {
        Some(holder) => format!("held by {holder}{since}{grant}"),
        None => format!("held by nobody{since}"),
    };
    let _ = writeln!(text, "{}", look.paint(tone(claim), &clean(&head)));
    let mut say = |name: &str, what: &str| {
        if !what.is_empty() {
            let _ = writeln!(text, "  {name}: {}", clean(what));
        }
    };
    say("why", &claim.reason);
    say("moving", claim.moving.as_deref().unwrap_or_default());
    say("stays", claim.keeps.as_deref().unwrap_or_default());
    say(
        "paused",
        if claim.paused {
            "nothing moves by itself"
        } else {
            ""
        },
    );
    say("awaits", &awaited(claim));
    say("also answered by", &claim.duplicate_macs.join(" "));
    let version = explanation.group_version;
    let lease = match claim.holder {
        Some(_) => format!("{} ms, {} ms left", claim.ttl_ms, claim.remaining_ms),
        None => format!("{} ms", claim.ttl_ms),
    };
    say("lease", &format!("{lease}; group v{version}"));
    let _ = writeln!(text, "\n{}", look.paint(Tone::Strong, "candidates"));
    text.push_str(&candidates(&explanation.candidates, look));
    if !explanation.moves.is_empty() {
        let _ = writeln!(text, "\n{}", look.paint(Tone::Strong, "last moves"));
        text.push_str(&moves(&explanation.moves, now, look));
    }
    text
}

fn awaited(claim: &ClaimView) -> String {
    let nodes = claim.awaited.join(", ");
    match (nodes.is_empty(), claim.gathering) {
        (true, _) => String::new(),
        (false, true) => format!("{nodes} to leave the coordinators of before the restore"),
        (false, false) => format!("{nodes} to acknowledge the new group"),
    }
}

fn candidates(candidates: &[CandidateView], look: Look) -> String {
    let columns = [
        Column::kept("NODE"),
        Column::kept("HEALTH"),
        Column::kept("PART"),
        Column::dropped("CHECKS", 1),
    ];
    let row = |candidate: &CandidateView| {
        let health = candidate.health.as_deref();
        let tone = match health {
            Some("healthy") => Tone::Good,
            Some("failed") => Tone::Bad,
            Some(_) => Tone::Doubtful,
            None => Tone::Faint,
        };
        let part = match (&candidate.why_not, candidate.holds) {
            (_, true) => Cell::new(Tone::Good, "holds it"),
            (Some(why), false) => Cell::new(Tone::Doubtful, why),
            (None, false) => Cell::plain("could take it"),
        };
        let reason = candidate.health_reason.as_ref();
        vec![
            Cell::plain(&candidate.node),
            health.map_or_else(Cell::nothing, |health| Cell::new(tone, health)),
            part,
            reason.map_or_else(Cell::nothing, Cell::plain),
        ]
    };
    table(
        &columns,
        &candidates.iter().map(row).collect::<Vec<_>>(),
        look,
    )
}

fn moves(moves: &[MoveView], now: Moment, look: Look) -> String {
    let columns = [
        Column::kept("AGE"),
        Column::kept("FROM"),
        Column::kept("TO"),
        Column::kept("WHY"),
    ];
    let named = |node: &Option<String>| {
        let name = node.as_ref();
        name.map_or_else(|| Cell::new(Tone::Faint, "nobody"), Cell::plain)
    };
    let row = |moved: &MoveView| {
        vec![
            moved
                .at
                .map_or_else(Cell::nothing, |at| Cell::plain(at.ago(now))),
            named(&moved.from),
            named(&moved.to),
            Cell::plain(&moved.reason),
        ]
    };
    table(&columns, &moves.iter().map(row).collect::<Vec<_>>(), look)
}

/// What a planned move came to.
pub fn moved(moved: &MovedView) -> String {
    let holder = clean(moved.holder.as_deref().unwrap_or("nobody"));
    match moved.took_us {
        0 => format!("{} was on {holder} already\n", clean(&moved.claim)),
        took => format!(
            "{} is on {holder}, granted after {}.{} ms\n",
            clean(&moved.claim),
            took / 1000,
            took % 1000 / 100
        ),
    }
}

/// What draining a node, or the reverse, came to.
pub fn drained(view: &DrainedView, now: Moment, look: Look) -> String {
    let node = clean(&view.node);
    let already = if view.changed {
        ""
    } else {
        " (it was so already)"
    };
    let mut text = if view.drained {
        format!("{node} is drained: it holds nothing, unless it has to{already}\n")
    } else {
        format!("{node} may hold claims again{already}\n")
    };
    if !view.claims.is_empty() {
        text.push_str(&claims(&view.claims, now, false, look));
    }
    if view.drained {
        let _ = writeln!(
            text,
            "next: coordctl undrain {node}, when it may hold claims again"
        );
    }
    text
}
