//! Backups on the screen, from fixed data.

use hamesh_proto::v1;

use super::fixture::{DAY, NOW, healthy};
use super::tests::{PLAIN, golden};
use super::{backup, status};
use crate::ctl::output::{json, yaml};
use crate::ctl::time::Moment;
use crate::ctl::views::{BackupOperatorView, BackupView, GenerationView, StatusView};

#[test]
fn a_sound_backup_in_every_form() {
    let operator = |name: &str, admin| BackupOperatorView {
        name: name.to_owned(),
        admin,
    };
    let view = BackupView {
        file: "thirteen.backup".to_owned(),
        bytes: 1_234_567,
        site: "thirteen".to_owned(),
        made: Some(Moment(NOW - 3 * DAY)),
        coordinator: "control-1".to_owned(),
        version: "1.2.3".to_owned(),
        desired: GenerationView {
            incarnation: 1,
            generation: 14,
        },
        epoch: 4,
        revision: 981,
        records: 322,
        nodes: 13,
        enrolled: vec!["control-1".to_owned(), "node-1".to_owned()],
        operators: vec![operator("ada", true), operator("bob", false)],
        ca_fingerprint: "ab".repeat(32),
        ca_expires: Some(Moment(NOW + 3_000 * DAY)),
    };
    golden("backup.txt", &backup(&view, Moment(NOW), PLAIN));
    golden("backup.json", &json(&view));
    golden("backup.yaml", &yaml(&view));
}

#[test]
fn a_backup_that_is_overdue_is_a_problem_on_the_screen_and_one_that_is_not_is_none() {
    let mut site = healthy();
    site.backups = Some(v1::BackupStatus {
        every_s: 86_400,
        last_unix_ms: NOW - DAY,
        last_file: "control-1:/var/lib/hamesh/backups/a".to_owned(),
        last_bytes: 5,
        ..v1::BackupStatus::default()
    });
    let view = StatusView::from(site.clone());
    assert_eq!(view.problems, []);
    let backups = site.backups.as_mut().expect("set above");
    backups.last_unix_ms = NOW - 3 * DAY;
    backups.overdue = true;
    backups.problem = "no passphrase is set: run `coordctl backup passphrase`".to_owned();
    let view = StatusView::from(site);
    let shown = status(&view, Moment(NOW), false, PLAIN);
    assert!(
        shown.contains("the last backup is 3d old: no passphrase is set"),
        "{shown}"
    );
}
