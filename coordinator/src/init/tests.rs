//! A new site, killed after each step, asked for twice, asked for wrongly.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use hamesh_proto::credentials::Credentials;

use super::steps::{Step, take};
use super::{Bootstrap, InitError, InitRequest, checked, hand_over, init};
use crate::config::{Config, Dirs};
use crate::records::OperatorAccess;

const YAML: &str = "\
site: small
networks:
  trust: {cidr: 192.168.56.0/24}
management_network: trust
coordinators: [node-1]
nodes:
  node-1: {addresses: {trust: 192.168.56.31}}
  node-2: {addresses: {trust: 192.168.56.32}}
";

fn request(directory: &Path) -> InitRequest {
    InitRequest {
        yaml: YAML.to_owned(),
        node: "node-1".parse().expect("a name"),
        operator: "ada".parse().expect("a name"),
        dirs: Dirs::under(directory.join("hamesh")),
        owner: None,
        now: SystemTime::now(),
        restored: None,
    }
}

/// Every file with its content and mode.
fn files(directory: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            let bytes = std::fs::read(&path).expect("a file");
            found.insert(path.display().to_string(), (bytes, mode));
        }
    }
    found
}

#[test]
fn a_new_site_has_all_its_files_and_they_are_secret() {
    let temporary = tempfile::tempdir().expect("a directory");
    let request = request(temporary.path());
    let outcome = init(&request).expect("a new site");
    assert_eq!(outcome.site.as_str(), "small");
    assert_eq!(outcome.coordinators, ["192.168.56.31:7443"]);

    let operator = Credentials::from_pem(&outcome.operator_pem).expect("an identity");
    assert_eq!(
        operator.spiffe_id().to_string(),
        "spiffe://small/operator/ada"
    );
    let config = Config::load(&request.dirs).expect("a configuration");
    assert_eq!(config.node, request.node);
    let bootstrap = std::fs::read(request.dirs.bootstrap()).expect("a bootstrap");
    let bootstrap: Bootstrap = serde_json::from_slice(&bootstrap).expect("readable");
    assert_eq!(bootstrap.desired.generation, 1);
    assert_eq!(bootstrap.operator.access, OperatorAccess::Admin);
    assert_eq!(bootstrap.operator.certificates[0].serial, operator.serial());

    let wide: Vec<_> = files(request.dirs.state())
        .into_iter()
        .filter(|(_, (_, mode))| *mode != 0o600)
        .collect();
    assert!(wide.is_empty(), "not 0600: {wide:?}");
}

#[test]
fn killed_after_any_step_the_same_command_goes_on_with_the_same_cas() {
    for killed_after in 0..Step::ALL.len() {
        let temporary = tempfile::tempdir().expect("a directory");
        let request = request(temporary.path());
        let site = checked(&request).expect("a valid request");
        for step in &Step::ALL[..killed_after] {
            take(*step, &request, &site).expect("a step");
        }
        let kept = [
            request.dirs.ca(),
            request.dirs.store_ca(),
            request.dirs.seal_key(),
        ];
        let before: Vec<_> = kept.iter().map(|path| std::fs::read(path).ok()).collect();

        let outcome = init(&request).unwrap_or_else(|error| {
            panic!("killed after {killed_after} steps, it does not go on: {error}")
        });
        Credentials::from_pem(&outcome.operator_pem).expect("an identity");
        for (path, before) in kept.iter().zip(before) {
            let after = std::fs::read(path).ok();
            assert!(
                before.is_none() || before == after,
                "{} changed",
                path.display()
            );
        }
        assert!(!request.dirs.init_marker().exists());
    }
}

#[test]
fn until_the_operator_has_its_identity_the_same_command_gives_it_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    let request = request(temporary.path());
    let first = init(&request).expect("a new site");
    let again = init(&request).expect("the same site");
    assert_eq!(first.operator_pem, again.operator_pem);
}

#[test]
fn a_finished_site_is_never_written_over() {
    let temporary = tempfile::tempdir().expect("a directory");
    let request = request(temporary.path());
    init(&request).expect("a new site");
    hand_over(&request.dirs).expect("handed over");
    let before = files(request.dirs.state());
    let Err(error) = init(&request) else {
        panic!("a second site")
    };
    assert!(matches!(error, InitError::Finished { .. }), "{error}");
    assert_eq!(before, files(request.dirs.state()));
}

#[test]
fn another_site_does_not_mix_with_one_that_was_begun() {
    let temporary = tempfile::tempdir().expect("a directory");
    let begun = request(temporary.path());
    let site = checked(&begun).expect("a valid request");
    for step in &Step::ALL[..4] {
        take(*step, &begun, &site).expect("a step");
    }
    let other = InitRequest {
        yaml: YAML.replace("small", "other"),
        ..begun.clone()
    };
    let Err(error) = init(&other) else {
        panic!("two sites in one directory")
    };
    assert!(matches!(error, InitError::Other { .. }), "{error}");
}

#[test]
fn a_bad_request_changes_nothing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let good = request(temporary.path());
    for bad in [
        InitRequest {
            yaml: "site: [".to_owned(),
            ..good.clone()
        },
        InitRequest {
            node: "node-9".parse().expect("a name"),
            ..good.clone()
        },
        InitRequest {
            node: "node-2".parse().expect("a name"),
            ..good.clone()
        },
    ] {
        assert!(init(&bad).is_err());
        assert!(!good.dirs.state().exists());
    }
}
