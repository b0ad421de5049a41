//! The context file is kept secret, and never replaced by accident.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{CertificateAuthority, Profile, Subject};
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::spiffe::{Principal, SpiffeId};

use super::*;
use crate::ctl::failure::Exit;
use crate::ctl::output::{Form, Output};

fn context(site: &str, principal: Principal) -> Context {
    let site = site.parse().expect("a name");
    let now = SystemTime::now();
    let ca = CertificateAuthority::create(&site, "test CA", now);
    let key = PrivateKey::generate();
    let profile = Profile {
        subject: Subject::Spiffe(SpiffeId::new(site.clone(), principal)),
        dns: Vec::new(),
        ips: Vec::new(),
        valid: Duration::from_secs(3600),
    };
    let issued = ca
        .issue(&key.csr_der(), &profile, now)
        .expect("a certificate");
    let ca_der = ca.certificate_der().to_vec();
    let credentials = Credentials::new(key, issued.der, vec![ca_der]).expect("credentials");
    Context {
        site,
        coordinators: vec!["192.0.2.1:7443".parse().expect("an address")],
        credentials,
    }
}

fn ada() -> Principal {
    Principal::Operator("ada".parse().expect("a name"))
}

fn bob() -> Principal {
    Principal::Operator("bob".parse().expect("a name"))
}

fn session(path: &Path) -> Session {
    Session {
        output: Output::stdout(Form::Json),
        context: Some(path.to_owned()),
    }
}

fn saved(folder: &Path, name: &str, context: &Context) -> PathBuf {
    let path = folder.join(name);
    context.save(&path).expect("saved");
    path
}

#[test]
fn a_context_is_written_for_its_owner_alone_and_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let context = context("a", ada());
    let path = saved(folder.path(), "new/deep/context.json", &context);
    let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    let read = Context::load(&path).expect("read");
    assert!(read.is_of_same_operator(&context));
    assert_eq!(read.coordinators, context.coordinators);
}

#[test]
fn a_context_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = saved(folder.path(), "context.json", &context("a", ada()));
    let open = folder.path().join("open.json");
    let text = std::fs::read(&path).expect("read");
    hamesh_proto::files::write_atomic(&open, &text, 0o640).expect("written");
    let failure = Context::load(&open).expect_err("open to the group");
    assert_eq!(failure.exit(), Exit::Invalid);
    assert!(
        failure
            .next()
            .expect("a way on")
            .starts_with("run `chmod 600"),
        "{failure}"
    );
}

#[test]
fn what_is_no_context_is_refused_with_the_reason() {
    let good = context("a", ada());
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(saved(folder.path(), "c", &good)).expect("read");
    for (bad, reason) in [
        (String::new(), "EOF"),
        ("{}".to_owned(), "missing field"),
        (text.replace("\"a\"", "\"b\""), "not one of site b"),
        (
            text.replace("192.0.2.1:7443", "somewhere"),
            "invalid socket address",
        ),
        (
            text.replace("\"192.0.2.1:7443\"", ""),
            "names no coordinator",
        ),
        (text.replace("BEGIN", "BEGUN"), "identity file is damaged"),
        (text.replace("\"site\"", "\"sight\""), "unknown field"),
    ] {
        let told = Context::parse(&bad).expect_err(reason);
        assert!(told.contains(reason), "{told}");
    }
    let agent = context("a", Principal::Agent("node-1".parse().expect("a name")));
    let text = std::fs::read_to_string(saved(folder.path(), "agent", &agent)).expect("read");
    assert!(
        Context::parse(&text)
            .expect_err("no operator")
            .contains("no operator")
    );
}

#[test]
fn importing_replaces_the_own_context_but_no_other_unless_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = folder.path().join("context.json");
    let session = session(&ours);
    let first = saved(folder.path(), "ada.json", &context("a", ada()));
    import(&session, &first, false).expect("nothing is there yet");
    import(&session, &first, false).expect("the same operator");
    let other = saved(folder.path(), "bob.json", &context("a", bob()));
    let failure = import(&session, &other, false).expect_err("another operator");
    assert_eq!(failure.exit(), Exit::Invalid);
    let kept = Context::load(&ours).expect("kept");
    assert_eq!(kept.credentials.spiffe_id().principal, ada());
    import(&session, &other, true).expect("told to replace");
    let now = Context::load(&ours).expect("replaced");
    assert_eq!(now.credentials.spiffe_id().principal, bob());
}

#[test]
fn a_missing_context_says_how_to_get_one() {
    let failure = Context::load(Path::new("/nonexistent/context.json")).expect_err("missing");
    assert_eq!(failure.exit(), Exit::Invalid);
    assert!(failure.next().expect("a way on").contains("coordctl init"));
}
