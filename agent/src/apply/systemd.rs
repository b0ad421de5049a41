//! What systemd does and says, over D-Bus (`org.freedesktop.systemd1`).
//!
//! Guarantees: a job is waited for to its end, and its result is systemd's own word; every call is
//! bounded in time. One connection for all, made anew after an error.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

use super::program;
use super::trouble::{LINES, Trouble};

/// How long systemd may take to answer: reading all units anew takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a job may take: longer than any service of a role takes to start or stop.
const JOB: Duration = Duration::from_secs(300);
/// How long the journal may take to be read.
const JOURNAL: Duration = Duration::from_secs(20);
/// How many ends of jobs may wait; they are taken while an answer is awaited.
const QUEUE: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// The way to systemd. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    /// `None`: the system bus.
    address: Option<Arc<str>>,
    connection: Arc<Mutex<Option<Connection>>>,
}

/// How a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitNow {
    /// "active", "failed", ...
    pub active: String,
    /// Whether it starts at boot, as far as it can be told to.
    pub enabled: bool,
    /// "loaded", "not-found", "masked", ...
    pub load: String,
    /// systemd's name of this start; empty: it does not run.
    pub invocation: String,
    /// Whether its files were changed since systemd read them.
    pub stale: bool,
}

/// What is done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// `StartUnit`
    Start,
    /// `StopUnit`
    Stop,
    /// `ReloadUnit`
    Reload,
    /// `RestartUnit`
    Restart,
}

impl Job {
    const fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Reload => "ReloadUnit",
            Self::Restart => "RestartUnit",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

impl UnitNow {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }
}

impl Systemd {
    /// Asks over the bus at this address.
    #[cfg(test)]
    pub fn at(address: &str) -> Self {
        Self {
            address: Some(address.into()),
            ..Self::default()
        }
    }

    /// How a unit is now.
    ///
    /// # Errors
    /// [`Trouble`]: systemd could not be asked.
    pub async fn look(&self, unit: &str) -> Result<UnitNow, Trouble> {
        let asked = async {
            let connection = self.connected().await?;
            read(&connection, unit).await
        };
        self.bounded(PATIENCE, asked).await
    }

    /// Does it and waits for its end.
    ///
    /// # Errors
    /// [`Trouble`], with the unit's last words if it was the unit that failed.
    pub async fn job(&self, job: Job, unit: &str) -> Result<(), Trouble> {
        self.read_anew(unit).await?;
        let done = async {
            let connection = self.connected().await?;
            if job != Job::Stop {
                // It may have failed too often to be started; whether it had is of no interest.
                drop(manager(&connection, "ResetFailedUnit", &(unit,)).await);
            }
            run_job(&connection, job, unit).await
        };
        let result = self.bounded(JOB, done).await;
        let result = result.map_err(|it| Trouble::plain(format!("{unit}: {it}")))?;
        if result == "done" || result == "skipped" {
            return Ok(());
        }
        let problem = format!("{unit} did not {}: {result}", job.verb());
        Err(Trouble::with(problem, journal(&[unit]).await))
    }

    /// Has it start at boot, or no more.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn enable(&self, unit: &str, enabled: bool) -> Result<(), Trouble> {
        self.read_anew(unit).await?;
        let done = async {
            let connection = self.connected().await?;
            let (units, runtime, force) = (vec![unit], false, true);
            if enabled {
                manager(&connection, "EnableUnitFiles", &(units, runtime, force)).await?;
            } else {
                manager(&connection, "DisableUnitFiles", &(units, runtime)).await?;
            }
            manager(&connection, "Reload", &()).await.map(drop)
        };
        let done = self.bounded(PATIENCE, done).await;
        done.map_err(|it| Trouble::plain(format!("{unit}: {it}")))
    }

    /// Has systemd read the unit files again, if this unit's were changed.
    async fn read_anew(&self, unit: &str) -> Result<(), Trouble> {
        let now = self.look(unit).await?;
        if !now.stale && now.load != "not-found" {
            return Ok(());
        }
        self.reload().await
    }

    /// Has systemd read all unit files again.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn reload(&self) -> Result<(), Trouble> {
        let done = async {
            let connection = self.connected().await?;
            manager(&connection, "Reload", &()).await.map(drop)
        };
        self.bounded(PATIENCE, done).await
    }

    async fn bounded<T>(
        &self,
        within: Duration,
        asking: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, Trouble> {
        let problem = match timeout(within, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            // An answer, and the connection is good.
            Ok(Err(zbus::Error::MethodError(_, Some(why), _))) => return Err(Trouble::plain(why)),
            Ok(Err(zbus::Error::FDO(why))) => why.to_string(),
            Ok(Err(error)) => format!("systemd could not be asked over D-Bus: {error}"),
            Err(_) => format!("systemd gave no answer within {within:?}"),
        };
        self.connection.lock().await.take();
        Err(Trouble::plain(problem))
    }

    async fn connected(&self) -> zbus::Result<Connection> {
        let mut shared = self.connection.lock().await;
        if let Some(connection) = shared.as_ref() {
            return Ok(connection.clone());
        }
        let connection = match &self.address {
            None => Connection::system().await?,
            Some(address) => {
                let builder = zbus::connection::Builder::address(&**address);
                builder.build().await?
            }
        };
        // Without this systemd signals nothing.
        manager(&connection, "Subscribe", &()).await?;
        *shared = Some(connection.clone());
        Ok(connection)
    }
}

/// The last lines of some units' journals.
pub async fn journal(units: &[&str]) -> Vec<String> {
    let lines = LINES.to_string();
    let mut argv = vec![
        "journalctl",
        "--no-pager",
        "--output",
        "cat",
        "--lines",
        &lines,
    ];
    argv.extend(units.iter().flat_map(|unit| ["--unit", *unit]));
    if units.is_empty() {
        return Vec::new();
    }
    match program::run(&argv, Some(JOURNAL)).await {
        Ok(ran) => ran.lines(),
        Err(trouble) => vec![trouble.problem],
    }
}

async fn run_job(connection: &Connection, job: Job, unit: &str) -> zbus::Result<String> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface(MANAGER)
        .member("JobRemoved")
        .path(PATH)
        .build()?;
    let mut signals = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
    let asked = (unit, "replace");
    let mut asking = std::pin::pin!(manager(connection, job.method(), &asked));
    let mut early = Vec::new();
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer?,
            signal = signals.next() => early.push(ended(signal)?),
        }
    };
    let own: OwnedObjectPath = answer.body().deserialize()?;
    let known = early.into_iter().find(|(path, _)| *path == own);
    if let Some((_, result)) = known {
        return Ok(result);
    }
    loop {
        let (path, result) = ended(signals.next().await)?;
        if path == own {
            return Ok(result);
        }
    }
}

/// The job's path and result.
fn ended(signal: Option<zbus::Result<Message>>) -> zbus::Result<(OwnedObjectPath, String)> {
    let hung_up = || Err(zbus::Error::Failure("the bus hung up".to_owned()));
    let signal = signal.unwrap_or_else(hung_up)?;
    let body = signal.body();
    let (_, path, _, result): (u32, OwnedObjectPath, String, String) = body.deserialize()?;
    Ok((path, result))
}

async fn read(connection: &Connection, unit: &str) -> zbus::Result<UnitNow> {
    // Unlike GetUnit this finds one that is not loaded, or not even installed.
    let path = manager(connection, "LoadUnit", &(unit,)).await?;
    let path: OwnedObjectPath = path.body().deserialize()?;
    let get = async |name: &str| -> zbus::Result<OwnedVariant> {
        let (to, path, asked) = (Some(SYSTEMD), path.as_str(), (UNIT, name));
        let answer = connection.call_method(to, path, Some(PROPERTIES), "Get", &asked);
        answer.await?.body().deserialize()
    };
    let invocation = Vec::<u8>::try_from(get("InvocationID").await?)?;
    // The property is what systemd read some time ago; this is what is on disk.
    let enabled = match manager(connection, "GetUnitFileState", &(unit,)).await {
        Ok(answer) => answer.body().deserialize()?,
        // It has no file.
        Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => String::new(),
        Err(error) => return Err(error),
    };
    Ok(UnitNow {
        active: String::try_from(get("ActiveState").await?)?,
        enabled: starts_at_boot(&enabled),
        load: String::try_from(get("LoadState").await?)?,
        invocation: hamesh_proto::hex::encode(&invocation),
        stale: bool::try_from(get("NeedDaemonReload").await?)?,
    })
}

/// Units that cannot be enabled are started by what they belong to.
fn starts_at_boot(state: &str) -> bool {
    matches!(
        state,
        "enabled" | "static" | "alias" | "indirect" | "generated" | "transient"
    )
}

async fn manager<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    connection
        .call_method(Some(SYSTEMD), PATH, Some(MANAGER), method, body)
        .await
}
