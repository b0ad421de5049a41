//! What systemd says of a service, over D-Bus (`org.freedesktop.systemd1`), as it changes.
//!
//! Guarantees: a change that systemd signals is read at once; what was not signalled is read after
//! [`READ_AGAIN`]; what cannot be read within [`PATIENCE`] is unknown. All services share one
//! connection, made anew after an error.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hamesh_roles::checks::UnitName;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

use super::process::UnitState;
use crate::observe::units::PATIENCE;

/// How often a service is looked at though nothing was signalled.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How long until systemd is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many signals of one service may wait. They are taken while an answer is awaited, so this
/// never fills: a full queue would hold up every answer.
const QUEUE: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The way to systemd that all checks share.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    /// `None`: the system bus.
    address: Option<Arc<str>>,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Systemd {
    /// Asks over the bus at a D-Bus address.
    pub fn at(address: &str) -> Self {
        Self {
            address: Some(address.into()),
            connection: Arc::default(),
        }
    }

    /// Tells every state of `unit` until nobody listens.
    pub async fn tell(&self, unit: &UnitName, told: &watch::Sender<UnitState>) {
        while !told.is_closed() {
            let error = match self.connected().await {
                Ok(connection) => observe(&connection, unit, told).await,
                Err(error) => error,
            };
            self.connection.lock().await.take();
            let why = format!("systemd could not be asked over D-Bus: {error}");
            told.send_replace(UnitState::Unknown(why));
            sleep(RETRY).await;
        }
    }

    async fn connected(&self) -> zbus::Result<Connection> {
        let mut shared = self.connection.lock().await;
        if let Some(connection) = shared.as_ref() {
            return Ok(connection.clone());
        }
        let connection = patient(async {
            let connection = match &self.address {
                None => Connection::system().await?,
                Some(address) => {
                    let builder = zbus::connection::Builder::address(address.as_ref());
                    builder.build().await?
                }
            };
            // Without this systemd signals nothing.
            manager(&connection, "Subscribe", &()).await?;
            Ok(connection)
        })
        .await?;
        *shared = Some(connection.clone());
        Ok(connection)
    }
}

/// Until the connection is of no use: why.
async fn observe(
    connection: &Connection,
    unit: &UnitName,
    told: &watch::Sender<UnitState>,
) -> zbus::Error {
    match observe_path(connection, unit, told).await {
        Ok(()) => zbus::Error::Failure("the bus hung up".to_owned()),
        Err(error) => error,
    }
}

async fn observe_path(
    connection: &Connection,
    unit: &UnitName,
    told: &watch::Sender<UnitState>,
) -> zbus::Result<()> {
    // Unlike GetUnit this finds one that is not loaded, or not even installed.
    let load = async { manager(connection, "LoadUnit", &(unit.as_str(),)).await };
    let path: OwnedObjectPath = patient(load).await?.body().deserialize()?;
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface(PROPERTIES)
        .member("PropertiesChanged")
        .path(path.as_str())
        .build()?;
    let mut signals = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
    loop {
        // A signal that comes while the state is read may be of a change after that.
        let mut changed = false;
        let mut reading = std::pin::pin!(patient(read(connection, &path, unit)));
        let state = loop {
            tokio::select! {
                state = &mut reading => break state?,
                signal = signals.next() => match signal {
                    Some(_) => changed = true,
                    None => return Ok(()),
                }
            }
        };
        told.send_replace(state);
        let again = if changed { Duration::ZERO } else { READ_AGAIN };
        tokio::select! {
            () = told.closed() => return Ok(()),
            signal = signals.next() => if signal.is_none() {
                return Ok(());
            },
            () = sleep(again) => {}
        }
    }
}

async fn read(
    connection: &Connection,
    path: &OwnedObjectPath,
    unit: &UnitName,
) -> zbus::Result<UnitState> {
    let get = async |interface: &str, name: &str| -> zbus::Result<OwnedVariant> {
        let asked = (interface, name);
        let answer = connection
            .call_method(
                Some(SYSTEMD),
                path.as_str(),
                Some(PROPERTIES),
                "Get",
                &asked,
            )
            .await?;
        answer.body().deserialize()
    };
    let active = String::try_from(get(UNIT, "ActiveState").await?)?;
    if !matches!(active.as_str(), "active" | "reloading" | "refreshing") {
        let loaded = String::try_from(get(UNIT, "LoadState").await?)?;
        let why = match loaded.as_str() {
            "loaded" => format!("{unit} is {active}"),
            loaded => format!("{unit} is {active} ({loaded})"),
        };
        return Ok(UnitState::NotRunning(why));
    }
    Ok(match u32::try_from(get(SERVICE, "MainPID").await?)? {
        0 => UnitState::NotRunning(format!("{unit} has no main process")),
        pid => UnitState::Running { pid },
    })
}

async fn manager<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    let (path, interface) = (
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
    );
    connection
        .call_method(Some(SYSTEMD), path, Some(interface), method, body)
        .await
}

async fn patient<T>(asking: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        Err(zbus::Error::Failure(format!(
            "no answer within {PATIENCE:?}"
        )))
    })
}
