//! Which systemd units have failed, asked of systemd over D-Bus (`org.freedesktop.systemd1`).
//!
//! Guarantees: a list that could not be read is not an empty list; [`Units::Unknown`] says why.
//! One call at a time, given up after [`PATIENCE`]; the connection is kept, and made anew after an
//! error.
//!
//! Absent: signals of single units. A poll of one small answer is cheaper on a busy node, and a
//! health figure may be some seconds old.

use std::time::Duration;

use zbus::{Connection, OwnedObjectPath};

/// How long systemd may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How many failed units are named, so that facts stay small.
const MOST: usize = 32;

/// What is known of failed units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Units {
    /// Their names, sorted; none when all is well.
    Failed(Vec<String>),
    /// The list could not be read, and why.
    Unknown(String),
}

/// Asks systemd, over a connection that it keeps.
#[derive(Debug)]
pub struct UnitsObserver {
    /// `None`: the system bus.
    address: Option<String>,
    connection: Option<Connection>,
}

/// One row of `ListUnitsFiltered`: name, description, load state, active state, sub state,
/// followed unit, path, job id, job type, job path.
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

impl UnitsObserver {
    /// Asks over the system bus.
    pub fn system() -> Self {
        Self {
            address: None,
            connection: None,
        }
    }

    /// Asks over the bus at a D-Bus address.
    pub fn at(address: &str) -> Self {
        Self {
            address: Some(address.to_owned()),
            connection: None,
        }
    }

    /// The failed units now.
    pub async fn read(&mut self) -> Units {
        match tokio::time::timeout(PATIENCE, self.ask()).await {
            Ok(Ok(rows)) => Units::Failed(names(rows)),
            Ok(Err(error)) => {
                self.connection = None;
                Units::Unknown(format!("systemd could not be asked over D-Bus: {error}"))
            }
            Err(_) => {
                self.connection = None;
                Units::Unknown(format!(
                    "systemd did not answer over D-Bus within {PATIENCE:?}"
                ))
            }
        }
    }

    async fn ask(&mut self) -> zbus::Result<Vec<Row>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let reply = connection
            .call_method(
                Some("org.freedesktop.systemd1"),
                "/org/freedesktop/systemd1",
                Some("org.freedesktop.systemd1.Manager"),
                "ListUnitsFiltered",
                &(vec!["failed"],),
            )
            .await?;
        self.connection = Some(connection);
        reply.body().deserialize()
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        match &self.address {
            None => Connection::system().await,
            Some(address) => {
                zbus::connection::Builder::address(address.as_str())
                    .build()
                    .await
            }
        }
    }
}

fn names(rows: Vec<Row>) -> Vec<String> {
    let mut names: Vec<String> = rows.into_iter().map(|row| row.0).collect();
    names.sort();
    names.truncate(MOST);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_unknown_and_not_an_empty_list() {
        let mut units = UnitsObserver::at("unix:path=/nonexistent/bus");
        match units.read().await {
            Units::Unknown(why) => assert!(why.contains("could not be asked"), "{why}"),
            Units::Failed(names) => panic!("read {names:?} from nowhere"),
        }
    }
}
