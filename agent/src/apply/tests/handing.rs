//! A certificate that HAProxy does not take is taken up by a reload: systemd is played on a message
//! bus of the test's own, HAProxy at its socket.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hamesh_proto::digest::sha1_hex;
use hamesh_proto::pem_text;
use hamesh_roles::engine::plan::Reason;
use hamesh_roles::engine::{Action, Desired, File, Live, Resource, Step, Unit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio_stream::StreamExt as _;
use zbus::message::{Message, Type};
use zbus::{Connection, MessageStream, OwnedObjectPath};

use super::{desired, file};
use crate::apply::machine::Machine;
use crate::apply::store::{Loaded, Store};
use crate::apply::systemd::Systemd;
use crate::assignment::AssignmentId;
use crate::testing::Bus;

const UNIT: &str = "haproxy.service";
const PATH: &str = "/org/freedesktop/systemd1/unit/haproxy_2eservice";
const JOB: &str = "/org/freedesktop/systemd1/job/1";
const INVOCATION: [u8; 2] = [0x0a, 0x1b];

/// Plays a systemd under which the unit runs; gives which jobs it was asked for.
async fn systemd(bus: &Bus) -> Arc<Mutex<Vec<String>>> {
    let connection = bus.connect().await;
    let name = connection.request_name("org.freedesktop.systemd1");
    name.await.expect("the name");
    let mut calls = MessageStream::from(connection.clone());
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&jobs);
    tokio::spawn(async move {
        while let Some(Ok(call)) = calls.next().await {
            if call.message_type() == Type::MethodCall {
                answer(&connection, &call, &asked).await;
            }
        }
    });
    jobs
}

async fn answer(connection: &Connection, call: &Message, jobs: &Mutex<Vec<String>>) {
    let header = call.header();
    let member = header.member().expect("a method").to_string();
    let path = |path| OwnedObjectPath::try_from(path).expect("a path");
    let answered = match member.as_str() {
        "Subscribe" | "ResetFailedUnit" => connection.reply(&header, &()).await,
        "LoadUnit" => connection.reply(&header, &(path(PATH),)).await,
        "GetUnitFileState" => connection.reply(&header, &("enabled",)).await,
        "Get" => {
            let (_, name): (String, String) = call.body().deserialize().expect("names");
            let value: zbus::Variant<'_> = match name.as_str() {
                "ActiveState" => "active".into(),
                "LoadState" => "loaded".into(),
                "NeedDaemonReload" => false.into(),
                "InvocationID" => INVOCATION.to_vec().into(),
                other => panic!("asked for {other}"),
            };
            connection.reply(&header, &(value,)).await
        }
        job => {
            jobs.lock().expect("whole").push(job.to_owned());
            connection
                .reply(&header, &(path(JOB),))
                .await
                .expect("answered");
            let done = (1_u32, path(JOB), UNIT, "done");
            let (at, of) = (
                "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager",
            );
            connection
                .emit_signal(None::<&str>, at, of, "JobRemoved", &done)
                .await
        }
    };
    answered.expect("answered");
}

/// Plays HAProxy's runtime API, one question on each connection.
fn haproxy(socket: &Path, answers: impl Fn(&str) -> String + Send + 'static) {
    let listener = UnixListener::bind(socket).expect("bound");
    tokio::spawn(async move {
        while let Ok((mut asking, _)) = listener.accept().await {
            let mut asked = vec![0; 64 * 1024];
            let length = asking.read(&mut asked).await.expect("asked");
            let asked = String::from_utf8_lossy(&asked[..length]);
            let answer = answers(asked.lines().next().unwrap_or_default());
            asking.write_all(answer.as_bytes()).await.expect("answered");
        }
    });
}

/// How HAProxy meets a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    Takes,
    /// No such socket.
    Away,
    Refuses,
    RefusesTheCommit,
    /// Says that it took it, and goes on with another.
    ShowsAnother,
}

impl Meets {
    fn answer(self, command: &str, leaf: &[u8]) -> String {
        let shown: &[u8] = match self {
            Self::ShowsAnother => b"another",
            Self::Takes | Self::Away | Self::Refuses | Self::RefusesTheCommit => leaf,
        };
        let answer = match (self, command.split(' ').next()) {
            (Self::Refuses, Some("set")) => "unable to load certificate from file",
            (_, Some("set")) => "Transaction created for certificate!",
            (Self::RefusesTheCommit, Some("commit")) => "Can't allocate memory!",
            (_, Some("commit")) => "Committing.\nSuccess!",
            (_, Some("show")) => &format!("Status: Used\nSHA1 FingerPrint: {}", sha1_hex(shown)),
            _ => "",
        };
        format!("{answer}\n\n")
    }
}

/// A certificate that HAProxy takes up while it runs, the unit that reads it, and both together.
fn wanted(folder: &Path, pem: &str) -> (Resource, Unit, Desired) {
    let path = folder.join("edge.pem");
    fs::write(&path, pem).expect("written");
    let Resource::File(plain) = file(&path, pem) else {
        panic!("a file")
    };
    let certificate = Resource::File(File {
        live: Some(Live {
            unit: UNIT.to_owned(),
            socket: folder.join("admin.sock").display().to_string(),
            trusts: false,
        }),
        ..plain
    });
    let unit = Unit {
        name: UNIT.to_owned(),
        reads: vec![certificate.id()],
        reloads: true,
    };
    let all = desired(vec![certificate.clone(), Resource::Unit(unit.clone())]);
    (certificate, unit, all)
}

#[tokio::test]
async fn what_haproxy_does_not_take_at_its_socket_it_reads_by_a_reload() {
    let made = rcgen::generate_simple_self_signed(["www".to_owned()]).expect("a certificate");
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    for (meets, jobs) in [
        (Meets::Takes, &[][..]),
        (Meets::Away, &["ReloadUnit"]),
        (Meets::Refuses, &["ReloadUnit"]),
        (Meets::RefusesTheCommit, &["ReloadUnit"]),
        (Meets::ShowsAnother, &["ReloadUnit"]),
    ] {
        let (folder, bus) = (tempfile::tempdir().expect("a folder"), Bus::start());
        let asked = systemd(&bus).await;
        let leaf = pem_text::certificates(&pem)
            .expect("a certificate")
            .remove(0);
        if meets != Meets::Away {
            let answers = move |command: &str| meets.answer(command, &leaf);
            haproxy(&folder.path().join("admin.sock"), answers);
        }
        let (certificate, unit, desired) = wanted(folder.path(), &pem);
        let store = Store::open(&folder.path().join("state"), &folder.path().join("run"));
        let store = store.expect("folders");
        let before = Loaded {
            invocation: hamesh_proto::hex::encode(&INVOCATION),
            contents: [].into(),
        };
        let noted = store.note_loaded(UNIT, Some(before.clone()));
        noted.expect("written");
        let machine = Machine::new(store.clone(), folder.path().join("identity"));
        let machine = machine.asking(Systemd::at(bus.address()));
        let step = Step {
            reason: Reason::NotLoaded(vec![certificate.id()]),
            action: Action::Hand(certificate.clone(), unit),
            change: Vec::new(),
        };
        let taken = machine.take(&step, &desired, AssignmentId::default()).await;
        assert_eq!(taken.map_err(|why| why.problem), Ok(()), "{meets:?}");
        assert_eq!(*asked.lock().expect("whole"), jobs, "{meets:?}");
        let loaded = store.loaded().expect("read").remove(UNIT).expect("known");
        assert_eq!(loaded.invocation, before.invocation);
        let known: Vec<_> = loaded.contents.keys().cloned().collect();
        assert_eq!(known, [certificate.id()], "{meets:?}");
    }
}
