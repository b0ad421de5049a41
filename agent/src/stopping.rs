//! Whether the agent is being stopped for good, or only restarted: asked of systemd over D-Bus.
//!
//! A restart (also that of an upgrade) moves no claim: what is held stays open in the kernel for
//! the rest of its lease, and the next run of the agent goes on. A stop gives everything back, so
//! that others take it at once. When systemd cannot be asked, nothing is given back: the kernel
//! closes it when the lease runs out, which is safe and only slower.

use std::time::Duration;

use zbus::{Connection, OwnedObjectPath};

/// How long systemd may take to answer: a lease is running out meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);

/// Job id, unit, type, state, the job's path, the unit's path.
type Job = (
    u32,
    String,
    String,
    String,
    OwnedObjectPath,
    OwnedObjectPath,
);

/// Whether systemd is stopping this process's unit without starting it again.
pub async fn for_good() -> bool {
    match tokio::time::timeout(PATIENCE, ask()).await {
        Ok(Ok(stops)) => stops,
        Ok(Err(error)) => {
            tracing::info!(%error, "systemd does not say why it stops the agent: {error}");
            false
        }
        Err(_) => {
            tracing::info!("systemd does not say in time why it stops the agent");
            false
        }
    }
}

async fn ask() -> zbus::Result<bool> {
    let connection = Connection::system().await?;
    let manager = Some("org.freedesktop.systemd1.Manager");
    let (name, path) = (
        Some("org.freedesktop.systemd1"),
        "/org/freedesktop/systemd1",
    );
    let pid = (std::process::id(),);
    let unit = connection
        .call_method(name, path, manager, "GetUnitByPID", &pid)
        .await?;
    let unit: OwnedObjectPath = unit.body().deserialize()?;
    let jobs = connection
        .call_method(name, path, manager, "ListJobs", &())
        .await?;
    let jobs: Vec<Job> = jobs.body().deserialize()?;
    Ok(stops(&unit, &jobs))
}

fn stops(unit: &OwnedObjectPath, jobs: &[Job]) -> bool {
    jobs.iter().any(|job| job.5 == *unit && job.2 == "stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> OwnedObjectPath {
        OwnedObjectPath::try_from(text).expect("a path")
    }

    fn job(kind: &str, unit: &str) -> Job {
        let words = |text: &str| text.to_owned();
        (
            1,
            words("x"),
            words(kind),
            words("running"),
            path("/job/1"),
            path(unit),
        )
    }

    #[test]
    fn only_a_stop_of_the_agents_own_unit_is_for_good() {
        let own = path("/unit/own");
        assert!(stops(&own, &[job("stop", "/unit/own")]));
        assert!(!stops(&own, &[job("restart", "/unit/own")]));
        assert!(!stops(&own, &[job("stop", "/unit/other")]));
        assert!(!stops(&own, &[]));
    }
}
