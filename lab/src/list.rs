//! What `list` shows.

use std::fmt::Write as _;

use serde::Serialize;

use crate::faults::Faults;
use crate::lab::{Lab, State};

/// One node, as `list` shows it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub node: String,
    /// What it runs on.
    pub engine: &'static str,
    /// How it is.
    pub state: State,
    /// Its addresses, the management address first.
    pub addresses: Vec<String>,
    /// Its network faults, in words.
    pub faults: Vec<String>,
}

/// Looks at every node.
pub fn rows(lab: &Lab, faults: &Faults) -> Vec<Row> {
    let states: Vec<State> = std::thread::scope(|scope| {
        let looking: Vec<_> = lab
            .topology
            .nodes
            .iter()
            .map(|node| scope.spawn(|| lab.state(node)))
            .collect();
        // A look that panicked found nothing that can be relied on.
        looking
            .into_iter()
            .map(|look| look.join().unwrap_or(State::Changing))
            .collect()
    });
    let row = |(node, state): (&crate::topology::Node, State)| Row {
        node: node.name.clone(),
        engine: node.engine.name(),
        state,
        addresses: node
            .nics
            .iter()
            .map(|nic| nic.address.to_string())
            .collect(),
        faults: words(faults, &node.name),
    };
    lab.topology.nodes.iter().zip(states).map(row).collect()
}

fn words(faults: &Faults, member: &str) -> Vec<String> {
    let cut = faults.cut.contains(member).then(|| "cut".to_owned());
    let loss = faults.loss.get(member).map(|loss| format!("loses {loss}"));
    let side = faults
        .partition
        .iter()
        .position(|group| group.contains(member));
    let side = side.map(|side| format!("partition side {}", side + 1));
    cut.into_iter().chain(loss).chain(side).collect()
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.node.len())
        .max()
        .unwrap_or(4)
        .max(4);
    let mut text = format!(
        "{:width$}  {:7} {:9} {}\n",
        "NODE", "ENGINE", "STATE", "ADDRESSES"
    );
    for row in rows {
        let state = match row.state {
            State::Stopped => "stopped",
            State::Changing => "changing",
            State::Running => "running",
            State::Degraded => "degraded",
            State::Frozen => "frozen",
        };
        let mut rest = row.addresses.join(" ");
        if !row.faults.is_empty() {
            let _ = write!(rest, "  [{}]", row.faults.join(", "));
        }
        let _ = writeln!(
            text,
            "{:width$}  {:7} {state:9} {rest}",
            row.node, row.engine
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_state_addresses_and_faults() {
        let row = Row {
            node: "node-2".into(),
            engine: "nspawn",
            state: State::Frozen,
            addresses: vec!["192.168.56.42".into()],
            faults: vec!["cut".into(), "loses 10 %".into()],
        };
        assert_eq!(
            table(&[row]),
            "NODE    ENGINE  STATE     ADDRESSES\n\
             node-2  nspawn  frozen    192.168.56.42  [cut, loses 10 %]\n"
        );
    }
}
