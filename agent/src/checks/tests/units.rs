//! The words of systemd, over a real message bus: a test plays systemd on it.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use zbus::message::{Message, Type};
use zbus::{Connection, MessageStream, OwnedObjectPath, OwnedVariant};

use super::super::process::UnitState;
use super::super::units::Systemd;
use super::GENEROUS;
use crate::testing::Bus;

const PATH: &str = "/org/freedesktop/systemd1/unit/haproxy_2eservice";

/// What the unit is: ActiveState, LoadState, MainPID.
type Unit = Arc<Mutex<(&'static str, &'static str, u32)>>;

/// Plays systemd for as long as it is not dropped.
struct Played {
    connection: Connection,
    task: tokio::task::JoinHandle<()>,
    unit: Unit,
}

impl Played {
    async fn start(bus: &Bus) -> Self {
        let connection = bus.connect().await;
        connection
            .request_name("org.freedesktop.systemd1")
            .await
            .expect("the name");
        let unit: Unit = Arc::new(Mutex::new(("active", "loaded", 4711)));
        let mut calls = MessageStream::from(connection.clone());
        let (answerer, told) = (connection.clone(), Arc::clone(&unit));
        let task = tokio::spawn(async move {
            while let Some(Ok(call)) = calls.next().await {
                if call.message_type() == Type::MethodCall {
                    let now = *told.lock().expect("whole");
                    answer(&answerer, &call, now).await;
                }
            }
        });
        Self {
            connection,
            task,
            unit,
        }
    }

    async fn change(&self, active: &'static str, load: &'static str, pid: u32) {
        *self.unit.lock().expect("whole") = (active, load, pid);
        let interface = "org.freedesktop.DBus.Properties";
        let changed = std::collections::HashMap::<&str, OwnedVariant>::new();
        let body = (
            "org.freedesktop.systemd1.Unit",
            changed,
            vec!["ActiveState"],
        );
        self.connection
            .emit_signal(None::<&str>, PATH, interface, "PropertiesChanged", &body)
            .await
            .expect("signalled");
    }
}

async fn answer(connection: &Connection, call: &Message, unit: (&str, &str, u32)) {
    let header = call.header();
    let member = header.member().expect("a method").to_string();
    let answered = match member.as_str() {
        "Subscribe" => connection.reply(&header, &()).await,
        "LoadUnit" => {
            let path = OwnedObjectPath::try_from(PATH).expect("a path");
            connection.reply(&header, &(path,)).await
        }
        "Get" => {
            let (_, name): (String, String) = call.body().deserialize().expect("names");
            let value: zbus::Variant<'_> = match name.as_str() {
                "ActiveState" => unit.0.into(),
                "LoadState" => unit.1.into(),
                "MainPID" => unit.2.into(),
                other => panic!("asked for {other}"),
            };
            connection.reply(&header, &(value,)).await
        }
        _ => return,
    };
    answered.expect("answered");
}

async fn reads(states: &mut watch::Receiver<UnitState>, wanted: &UnitState) {
    let found = timeout(GENEROUS, states.wait_for(|state| state == wanted))
        .await
        .is_ok();
    assert!(found, "wanted {wanted:?}, read {:?}", *states.borrow());
}

fn not_running(why: &str) -> UnitState {
    UnitState::NotRunning(why.to_owned())
}

#[tokio::test]
async fn every_change_that_systemd_signals_is_read() {
    let bus = Bus::start();
    let played = Played::start(&bus).await;
    let (told, mut states) = watch::channel(UnitState::Unasked);
    let systemd = Systemd::at(bus.address());
    let unit = "haproxy.service".parse().expect("a unit");
    let task = tokio::spawn(async move { systemd.tell(&unit, &told).await });
    reads(&mut states, &UnitState::Running { pid: 4711 }).await;
    for (active, load, pid, state) in [
        (
            "deactivating",
            "loaded",
            4711,
            not_running("haproxy.service is deactivating"),
        ),
        (
            "failed",
            "loaded",
            0,
            not_running("haproxy.service is failed"),
        ),
        ("active", "loaded", 42, UnitState::Running { pid: 42 }),
        ("reloading", "loaded", 43, UnitState::Running { pid: 43 }),
        (
            "active",
            "loaded",
            0,
            not_running("haproxy.service has no main process"),
        ),
        (
            "inactive",
            "not-found",
            0,
            not_running("haproxy.service is inactive (not-found)"),
        ),
    ] {
        played.change(active, load, pid).await;
        reads(&mut states, &state).await;
    }
    task.abort();
    played.task.abort();
}

#[tokio::test]
async fn a_bus_that_is_gone_is_unknown() {
    let bus = Bus::start();
    let played = Played::start(&bus).await;
    let (told, mut states) = watch::channel(UnitState::Unasked);
    let systemd = Systemd::at(bus.address());
    let unit = "haproxy.service".parse().expect("a unit");
    let task = tokio::spawn(async move { systemd.tell(&unit, &told).await });
    reads(&mut states, &UnitState::Running { pid: 4711 }).await;
    drop(bus);
    let unknown = |state: &UnitState| matches!(state, UnitState::Unknown(_));
    let lost = timeout(GENEROUS, states.wait_for(unknown)).await.is_ok();
    assert!(lost, "read {:?}", *states.borrow());
    task.abort();
    played.task.abort();
}
