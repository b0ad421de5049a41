//! Backups, from a running coordinator to an opened file.

use std::time::Duration;

use hamesh_proto::v1;
use proptest::prelude::*;
use tonic::Code;

use super::container::{About, wrap};
use super::schedule::{due, overdue, surplus};
use super::*;
use crate::records::{BackupsRecord, FailedBackup, MadeBackup};
use crate::testing::{TestSite, YAML, add_operator};

const PASSPHRASE: &str = "correct horse battery staple";

fn quick() -> BackupKey {
    BackupKey::derive(PASSPHRASE, [7; 16], 1).expect("a key")
}

fn file(content: &[u8]) -> Vec<u8> {
    let about = About {
        site: "small",
        coordinator: "control-1",
        made_unix_ms: 5,
    };
    wrap(&about, &quick(), content)
}

async fn taken(site: &TestSite, key: &BackupKey) -> Vec<u8> {
    let request = v1::BackupRequest {
        key: Some(key.into()),
    };
    let mut pieces = site
        .admin()
        .backup(request)
        .await
        .expect("a backup")
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.expect("a piece") {
        bytes.extend(piece.data);
    }
    bytes
}

#[tokio::test]
async fn a_backup_of_a_running_site_opens_and_tells_everything_that_a_restore_needs() {
    let site = TestSite::start().await;
    site.enrol("node-1").await;
    add_operator(&site, "bob", v1::Access::Viewer).await;
    let bytes = taken(&site, &quick()).await;
    let container = Container::parse(&bytes).expect("whole");
    assert_eq!(container.header().site, "small");
    let content = container.open(PASSPHRASE).expect("the passphrase");
    let snapshot = Snapshot::parse(&content).expect("readable");
    let contents = snapshot.contents().expect("sound");
    assert_eq!(contents.desired.record.generation, 1);
    assert_eq!(contents.nodes, [crate::testing::name("node-1")]);
    let operators: Vec<_> = contents
        .operators
        .iter()
        .map(|(n, a)| (n.to_string(), *a))
        .collect();
    assert_eq!(
        operators,
        [("ada".to_owned(), true), ("bob".to_owned(), false)]
    );
    let ca = site.running.core.authority.ca().fingerprint().to_string();
    assert_eq!(contents.ca_fingerprint, ca);
    let secret = site.running.core.authority.ca().to_pem();
    let key_line = secret.lines().nth(1).expect("a key");
    let found = bytes
        .windows(key_line.len())
        .any(|it| it == key_line.as_bytes());
    assert!(!found, "the CA's key is in the file in the clear");
}

#[tokio::test]
async fn a_viewer_and_an_agent_are_refused_a_backup_and_the_key_of_the_scheduled_ones() {
    let site = TestSite::start().await;
    let viewer = add_operator(&site, "bob", v1::Access::Viewer).await;
    let agent = site.enrol("node-1").await;
    let key = Some(v1::BackupKey::from(&quick()));
    for who in [&viewer, &agent] {
        let mut client = site.operator(who);
        let taken = client.backup(v1::BackupRequest { key: key.clone() }).await;
        assert_eq!(taken.expect_err("refused").code(), Code::PermissionDenied);
        let set = client
            .set_backup_key(v1::SetBackupKeyRequest { key: key.clone() })
            .await;
        assert_eq!(set.expect_err("refused").code(), Code::PermissionDenied);
    }
}

#[test]
fn each_way_in_which_a_file_can_be_wrong_has_its_own_words() {
    let bytes = file(b"content");
    let parse = |bytes: &[u8]| Container::parse(bytes).expect_err("it is wrong");
    assert_eq!(parse(b""), ContainerError::Foreign);
    assert_eq!(
        parse(b"PK zip archive of some length"),
        ContainerError::Foreign
    );
    for length in [5, 20, 60, bytes.len() - 1] {
        let error = parse(&bytes[..length]);
        assert!(
            matches!(error, ContainerError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    let mut later = bytes.clone();
    later[15] = 2;
    assert_eq!(parse(&later), ContainerError::Later(2));
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(parse(&longer), ContainerError::Damaged);
    let container = Container::parse(&bytes).expect("whole");
    let wrong = container
        .open("correct horse battery stable")
        .expect_err("another");
    assert!(
        wrong
            .to_string()
            .contains("not the one of this backup of site small"),
        "{wrong}"
    );
    assert_eq!(
        container.open(PASSPHRASE).expect("opened").as_slice(),
        b"content"
    );
}

#[test]
fn a_file_whose_digest_was_mended_by_a_forger_does_not_open() {
    let mut bytes = file(b"content");
    let end = bytes.len() - 32;
    bytes[end - 20] ^= 1;
    let sum = ring::digest::digest(&ring::digest::SHA256, &bytes[..end]);
    bytes[end..].copy_from_slice(sum.as_ref());
    let container = Container::parse(&bytes).expect("it looks whole");
    assert_eq!(
        container.open(PASSPHRASE).expect_err("forged"),
        ContainerError::Damaged
    );
}

#[test]
fn a_short_passphrase_and_endless_rounds_are_refused() {
    assert_eq!(
        BackupKey::fresh("hunter2").expect_err("short"),
        KeyError::Short
    );
    for rounds in [0, u32::MAX] {
        let error = BackupKey::derive(PASSPHRASE, [0; 16], rounds).expect_err("no rounds");
        assert_eq!(error, KeyError::Iterations(rounds));
    }
}

proptest! {
    #[test]
    fn no_single_changed_bit_goes_unnoticed(at in 0..10_000usize, bit in 0..8u8) {
        let mut bytes = file(b"some content of a backup");
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Container::parse(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_a_container_or_refused(bytes: Vec<u8>) {
        let begun = [b"hamesh backup\n\0\x01".as_slice(), &bytes].concat();
        prop_assert!(Container::parse(&bytes).is_err());
        prop_assert!(Container::parse(&begun).is_err());
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn made_at(at_unix_ms: u64) -> BackupsRecord {
    let made = MadeBackup {
        at_unix_ms,
        coordinator: "control-1".to_owned(),
        file: "f".to_owned(),
        bytes: 1,
    };
    BackupsRecord {
        last: Some(made),
        failed: None,
    }
}

#[test]
fn a_backup_is_due_at_first_after_its_interval_and_when_the_clock_was_wrong() {
    let now = 1_000_000_000;
    let hour = 3_600_000;
    assert!(due(&BackupsRecord::default(), HOUR, now));
    assert!(!due(&made_at(now - hour + 1), HOUR, now));
    assert!(due(&made_at(now - hour), HOUR, now));
    assert!(due(&made_at(now + 1), HOUR, now));
    assert!(overdue(&BackupsRecord::default(), HOUR, now));
    assert!(!overdue(&made_at(now - hour), HOUR, now));
    assert!(overdue(&made_at(now - 2 * hour), HOUR, now));
}

#[test]
fn a_failed_backup_is_tried_again_after_a_while_and_not_at_once() {
    let now = 1_000_000_000;
    let failed = |at_unix_ms| BackupsRecord {
        last: None,
        failed: Some(FailedBackup {
            at_unix_ms,
            problem: String::new(),
        }),
    };
    assert!(!due(&failed(now - 60_000), HOUR, now));
    assert!(due(&failed(now - 600_000), HOUR, now));
}

#[test]
fn only_the_oldest_backups_of_this_site_are_one_too_many() {
    let names = [
        "small-20261122T184315Z.hamesh-backup",
        "small-20261123T184315Z.hamesh-backup",
        "small-20261121T184315Z.hamesh-backup",
        "other-20261101T184315Z.hamesh-backup",
        "small-east-20261101T184315Z.hamesh-backup",
        "small-before-upgrade.hamesh-backup",
        "notes",
    ];
    let names: Vec<String> = names.map(str::to_owned).to_vec();
    assert_eq!(surplus(names.clone(), "small", 3), [] as [&str; 0]);
    assert_eq!(
        surplus(names, "small", 1),
        [
            "small-20261121T184315Z.hamesh-backup",
            "small-20261122T184315Z.hamesh-backup"
        ]
    );
}

/// Asks for hourly backups in a directory.
async fn scheduled(site: &TestSite, directory: &std::path::Path) {
    let backups = format!(
        "backups: {{every: 1h, keep: 2, directory: {}}}\n",
        directory.display()
    );
    let request = v1::ApplySiteRequest {
        yaml: format!("{YAML}{backups}"),
        base: site.status().await.desired,
    };
    site.admin().apply_site(request).await.expect("applied");
}

#[tokio::test]
async fn scheduled_backups_fail_loudly_without_a_passphrase_and_open_with_it() {
    let site = TestSite::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    scheduled(&site, &directory.path().join("new")).await;
    // The loop looks once a minute, from its start on.
    let site = site.restart().await;
    site.until("failed for want of a passphrase", |status| {
        let backups = status.backups.as_ref();
        backups.is_some_and(|it| it.overdue && it.problem.contains("coordctl backup passphrase"))
    })
    .await;
    let key = Some(v1::BackupKey::from(&quick()));
    let set = site
        .admin()
        .set_backup_key(v1::SetBackupKeyRequest { key })
        .await;
    set.expect("set");
    site.clock.advance(HOUR);
    let site = site.restart().await;
    site.until("made", |status| {
        let backups = status.backups.as_ref();
        backups.is_some_and(|it| !it.overdue && it.problem.is_empty() && it.last_bytes > 0)
    })
    .await;
    let files = std::fs::read_dir(directory.path().join("new")).expect("made");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let bytes = std::fs::read(&files[0]).expect("readable");
    let content = Container::parse(&bytes)
        .expect("whole")
        .open(PASSPHRASE)
        .expect("opened");
    Snapshot::parse(&content)
        .expect("readable")
        .contents()
        .expect("sound");
    let kinds = site.event_kinds().await;
    for kind in ["backup.failed", "backup.passphrase_set", "backup.made"] {
        assert!(
            kinds.iter().any(|it| it == kind),
            "{kind} is not in {kinds:?}"
        );
    }
}
