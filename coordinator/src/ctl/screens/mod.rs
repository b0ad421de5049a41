//! Screens: pure functions from a view, the time and a look to text.

mod access;
#[cfg(test)]
mod adopt_tests;
mod audit;
mod backup;
#[cfg(test)]
mod backup_tests;
mod claims;
mod coordinators;
mod database;
#[cfg(test)]
mod database_tests;
mod events;
#[cfg(test)]
mod fixture;
mod node;
mod nodes;
mod plan;
mod recovery;
#[cfg(test)]
mod recovery_tests;
mod roles;
mod status;
#[cfg(test)]
mod tests;
mod upgrade;
#[cfg(test)]
mod upgrade_tests;

pub use access::{context, operators, token_created, tokens};
pub use audit::audit;
pub use backup::backup;
pub use claims::{claims, drained, explanation, moved};
pub use coordinators::coordinators;
pub use database::{database_restarted, databases, reinit, switched_over, switchover_plan};
pub use events::{event_line, events};
pub use node::node;
pub use nodes::nodes;
pub use plan::{plan, rotation};
pub use recovery::recovery;
pub use roles::{adoption, node_plans, role_progress, roles, secrets, stage};
pub use status::status;
pub use upgrade::{upgrade, upgrade_plan};

/// A size for people: "1.2 GiB".
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// The share of `part` in `whole`: "34%".
fn percent(part: u64, whole: u64) -> Option<String> {
    let hundredfold = u128::from(part) * 100;
    hundredfold
        .checked_div(u128::from(whole))
        .map(|percent| format!("{percent}%"))
}
