//! What an agent asks on the node of a database, of a program that answers as Patroni does: by
//! Python's HTTP and TLS, as strictly as the role has Patroni ask for certificates.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hamesh_agent::database::{Databases, desk};
use hamesh_proto::ca::{Profile, Subject};
use hamesh_proto::credentials::{LiveCredentials, PrivateKey};
use hamesh_proto::pem_text;
use hamesh_proto::v1::database_answer::Kind as Answer;
use hamesh_proto::v1::database_question::Kind;
use hamesh_proto::v1::{self, DatabaseEnd};
use support::Site;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Answers GET by what is in the folder, and POST with what it was sent, which it prints, too.
const PATRONI: &str = r#"
import http.server, ssl, sys
folder, address = sys.argv[1:]

class Patroni(http.server.BaseHTTPRequestHandler):
    def answer(self, code, body):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(503, open(folder + self.path + '.json', 'rb').read())

    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        print(self.path, body.decode(), flush=True)
        code = {'/switchover': 200, '/restart': 503, '/reinitialize': 503}[self.path]
        self.answer(code, b'said of ' + self.path.encode())

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    # Answers have no length: their end is TLS's.
    def shutdown_request(self, request):
        try:
            request.unwrap()
        except Exception:
            pass
        super().shutdown_request(request)

    def handle_error(self, *_):
        pass

server = Server((address, 8008), Patroni)
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder + '/ca.pem')
tls.load_cert_chain(folder + '/cert.pem', folder + '/key.pem')
tls.verify_mode = ssl.CERT_REQUIRED
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print('ready', flush=True)
server.serve_forever()
"#;

/// Ended when it is dropped.
struct Patroni {
    child: Child,
    told: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Patroni {
    /// On `address`, with a certificate for `named`.
    fn start(site: &Site, address: IpAddr, named: IpAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        let key = PrivateKey::generate();
        let profile = Profile {
            subject: Subject::CommonName("postgresql on node-1".to_owned()),
            dns: vec!["node-1".to_owned()],
            ips: vec![named],
            valid: Duration::from_secs(3600),
        };
        let issued = site.ca.issue(&key.csr_der(), &profile, SystemTime::now());
        write("key.pem", &key.to_pem()).unwrap();
        write("cert.pem", &pem_text::certificate(&issued.unwrap().der)).unwrap();
        let ca = pem_text::certificate(site.ca.certificate_der());
        write("ca.pem", &ca).unwrap();
        let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/database/answers");
        for (from, to) in [("leads", "patroni"), ("cluster", "cluster")] {
            let to = folder.path().join(format!("{to}.json"));
            std::fs::copy(answers.join(format!("{from}.json")), to).unwrap();
        }
        let mut command = Command::new("python3");
        command.args(["-c", PATRONI]).arg(folder.path());
        command.arg(address.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let mut patroni = Self {
            child,
            told,
            _folder: folder,
        };
        assert_eq!(patroni.heard(), "ready");
        patroni
    }

    /// The next line that it prints.
    fn heard(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `node-1` of a site, and its address.
fn node(site: &Site, role: Option<&str>) -> (Databases, JoinHandle<()>, IpAddr) {
    let mut assignment = site.assignment("node-1", 1);
    assignment.role = role.map(str::to_owned);
    let address = assignment.own_gossip().unwrap().ip();
    let assignment = watch::Sender::new(Some(Arc::new(assignment)));
    let live = LiveCredentials::new(site.credentials("agent/node-1"));
    let (desk, databases) = desk(live, assignment.subscribe());
    (databases, tokio::spawn(desk.run()), address)
}

async fn ask(databases: &mut Databases, kind: Kind) -> Answer {
    let question = v1::DatabaseQuestion {
        id: "7".to_owned(),
        kind: Some(kind),
    };
    let refused = databases.ask(question);
    assert_eq!(refused, None);
    let answer = tokio::time::timeout(Duration::from_secs(60), databases.answer());
    let answer = answer.await.expect("an answer").expect("an answer");
    assert_eq!(answer.id, "7");
    answer.kind.expect("a known answer")
}

async fn look(databases: &mut Databases) -> v1::DatabaseSight {
    match ask(databases, Kind::Look(v1::DatabaseLook {})).await {
        Answer::Sight(sight) => sight,
        Answer::Outcome(outcome) => panic!("a look gave {outcome:?}"),
    }
}

async fn change(databases: &mut Databases, kind: Kind) -> (DatabaseEnd, String) {
    match ask(databases, kind).await {
        Answer::Outcome(outcome) => (outcome.end(), outcome.text),
        Answer::Sight(sight) => panic!("a change gave {sight:?}"),
    }
}

#[tokio::test]
async fn a_patroni_is_asked_as_the_node_and_its_words_are_told() {
    let site = Site::of(1);
    let (mut databases, desk, address) = node(&site, Some("database"));
    let mut patroni = Patroni::start(&site, address, address);
    let sight = look(&mut databases).await;
    assert_eq!(sight.problem, "");
    assert!(
        sight
            .own
            .is_some_and(|own| own.primary && own.state == "running")
    );
    assert_eq!(sight.cluster.map(|cluster| cluster.members.len()), Some(3));

    let to = v1::DatabaseSwitchover {
        leader: "node-1".to_owned(),
        candidate: "node-2".to_owned(),
    };
    let done = change(&mut databases, Kind::Switchover(to)).await;
    assert_eq!(done, (DatabaseEnd::Done, "said of /switchover".to_owned()));
    let asked = patroni.heard();
    assert_eq!(
        asked,
        r#"/switchover {"candidate":"node-2","leader":"node-1"}"#
    );
    let failed = change(&mut databases, Kind::Restart(v1::DatabaseRestart {})).await;
    assert_eq!(failed.0, DatabaseEnd::Unknown);
    assert_eq!(patroni.heard(), "/restart {}");
    let refused = change(&mut databases, Kind::Reinit(v1::DatabaseReinit {})).await;
    assert_eq!(refused.0, DatabaseEnd::Refused);
    assert_eq!(patroni.heard(), r#"/reinitialize {"force":true}"#);
    desk.abort();
}

#[tokio::test]
async fn whoever_listens_in_patronis_place_is_sent_nothing() {
    let site = Site::of(1);
    let (mut databases, desk, address) = node(&site, Some("database"));
    let elsewhere = "192.0.2.1".parse().unwrap();
    let patroni = Patroni::start(&site, address, elsewhere);
    let sight = look(&mut databases).await;
    assert!(sight.own.is_none() && sight.cluster.is_none());
    let why = sight.problem;
    assert!(why.starts_with("Patroni: no trusted connection"), "{why}");
    let restart = Kind::Restart(v1::DatabaseRestart {});
    let (end, why) = change(&mut databases, restart.clone()).await;
    assert_eq!(end, DatabaseEnd::Refused, "{why}");
    drop(patroni);
    let (end, why) = change(&mut databases, restart).await;
    assert_eq!(end, DatabaseEnd::Refused, "{why}");
    assert!(why.contains("cannot connect"), "{why}");
    desk.abort();
}

#[tokio::test]
async fn a_node_without_the_role_asks_nobody_and_says_so() {
    let site = Site::of(1);
    let (mut databases, desk, address) = node(&site, Some("edge-proxy"));
    let _patroni = Patroni::start(&site, address, address);
    let sight = look(&mut databases).await;
    assert!(sight.problem.contains("role `database`"), "{sight:?}");
    let restart = Kind::Restart(v1::DatabaseRestart {});
    let (end, why) = change(&mut databases, restart).await;
    assert_eq!(end, DatabaseEnd::Refused);
    assert!(why.contains("role `database`"), "{why}");
    desk.abort();
}
