//! What must hold between the databases and the rest of a document.

use super::read::Draft;
use crate::role::Role;

/// How many members there must be for one of them to be lost without harm.
const ENOUGH: usize = 3;
/// How many there may be: each takes part in every vote.
const MOST: usize = 7;

/// Tells every contradiction.
pub(super) fn check(draft: &mut Draft) {
    if draft.database.is_none() {
        return;
    }
    let nodes = draft.nodes.values();
    let members = nodes
        .filter(|node| node.role == Some(Role::Database))
        .count();
    let report = &mut draft.report;
    let path = "database";
    if members > MOST {
        let message = format!("{members} nodes have the role `database`, and {MOST} are the most");
        report.error(path, message, None);
    } else if members == 0 {
        // Sites grow step by step.
        let message = "no node has the role `database`: there is nowhere to keep anything";
        report.warn(path, message.to_owned(), None);
    } else if members < ENOUGH {
        let have = if members == 1 {
            "node has"
        } else {
            "nodes have"
        };
        let message = format!("{members} {have} the role `database`: none may be lost");
        let hint = format!("{ENOUGH} nodes go on when one is lost");
        report.warn(path, message, Some(hint));
    } else if members % 2 == 0 {
        let message = format!(
            "{members} nodes have the role `database`: no more may be lost \
                               than of {}",
            members - 1
        );
        report.warn(path, message, Some("make it an odd number".to_owned()));
    }
}
