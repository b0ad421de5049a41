//! Kills Patroni, by systemd, which starts it anew.
//!
//! It is not asked to end: one that is asked first stops PostgreSQL in peace and gives its leader
//! key up, which it may not have, as of what it read before.

use std::time::Duration;

use zbus::Connection;

const UNIT: &str = "patroni.service";
/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;

/// Kills the first process of its unit, and nothing that it started: PostgreSQL goes on.
///
/// # Errors
/// In words. It may be killed all the same.
pub async fn kill() -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, ask()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("systemd did not answer within {PATIENCE:?}")),
    }
}

async fn ask() -> zbus::Result<()> {
    let connection = Connection::system().await?;
    let manager = Some("org.freedesktop.systemd1.Manager");
    let (name, path) = (
        Some("org.freedesktop.systemd1"),
        "/org/freedesktop/systemd1",
    );
    let arguments = (UNIT, "main", SIGKILL);
    connection
        .call_method(name, path, manager, "KillUnit", &arguments)
        .await?;
    Ok(())
}
