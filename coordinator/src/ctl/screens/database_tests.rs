//! The screens of the databases, against golden files.

use hamesh_proto::v1::{self, DatabasePart, EtcdHealth};

use super::tests::{PLAIN, golden};
use super::{database_restarted, databases, reinit, switched_over, switchover_plan};
use crate::ctl::output::{json, yaml};
use crate::ctl::views::{DatabaseView, ReinitView, RestartedView, SwitchoverView};
use crate::databases::plan::switchover;

fn member(node: &str, part: DatabasePart, lag_bytes: Option<u64>) -> v1::DatabaseMember {
    v1::DatabaseMember {
        node: node.to_owned(),
        part: part.into(),
        state: "running".to_owned(),
        timeline: 7,
        lag_bytes,
        pending_restart: false,
        primary: part == DatabasePart::Leader,
        server_version: 150_008,
        etcd: EtcdHealth::Good.into(),
        started: "2026-11-28 18:39:09.816234+00:00".to_owned(),
        in_site: true,
        ..v1::DatabaseMember::default()
    }
}

fn healthy() -> v1::DatabaseStatus {
    v1::DatabaseStatus {
        members: vec![
            member("database-1", DatabasePart::SyncStandby, Some(0)),
            member("database-2", DatabasePart::Leader, None),
            member("database-3", DatabasePart::Replica, Some(40_960)),
        ],
        seen_by: "database-2".to_owned(),
        zero_loss: true,
        ..v1::DatabaseStatus::default()
    }
}

/// One is silent, one copies, one is of another place, and a human paused it all.
fn troubled() -> v1::DatabaseStatus {
    let silent = v1::DatabaseMember {
        problem: "its agent is too old for that: upgrade hamesh on it".to_owned(),
        etcd: EtcdHealth::Unspecified.into(),
        server_version: 0,
        started: String::new(),
        ..member("database-1", DatabasePart::Unspecified, None)
    };
    let leads = v1::DatabaseMember {
        pending_restart: true,
        ..member("database-2", DatabasePart::Leader, None)
    };
    let copies = v1::DatabaseMember {
        state: "creating replica\u{1b}[2J".to_owned(),
        timeline: 0,
        etcd: EtcdHealth::Bad.into(),
        etcd_problem: "etcd: it has no majority to answer with, or an alarm stands".to_owned(),
        ..member("database-3", DatabasePart::Replica, None)
    };
    let other = v1::DatabaseMember {
        in_site: false,
        etcd: EtcdHealth::Unspecified.into(),
        ..member("old-database", DatabasePart::Replica, Some(3 << 30))
    };
    v1::DatabaseStatus {
        members: vec![
            v1::DatabaseMember {
                state: String::new(),
                timeline: 0,
                ..silent
            },
            leads,
            copies,
            other,
        ],
        paused: true,
        scheduled_switchover: "to database-3 at 2027-11-28T18:00:00+00:00".to_owned(),
        ..healthy()
    }
}

/// Nobody answers.
fn unseen() -> v1::DatabaseStatus {
    let silent = |node: &str| v1::DatabaseMember {
        node: node.to_owned(),
        problem: "its agent has no session with the coordinator".to_owned(),
        in_site: true,
        ..v1::DatabaseMember::default()
    };
    v1::DatabaseStatus {
        members: ["database-1", "database-2"].map(silent).to_vec(),
        ..v1::DatabaseStatus::default()
    }
}

#[test]
fn the_databases_on_one_screen() {
    for (name, status) in [
        ("healthy", healthy()),
        ("troubled", troubled()),
        ("unseen", unseen()),
    ] {
        let view = DatabaseView::from(status);
        golden(
            &format!("databases-{name}.txt"),
            &databases(&view, false, PLAIN),
        );
    }
    let troubled = DatabaseView::from(troubled());
    golden("databases-wide.txt", &databases(&troubled, true, PLAIN));
    golden("databases.json", &json(&troubled));
    golden("databases.yaml", &yaml(&DatabaseView::from(healthy())));
}

#[test]
fn what_is_planned_and_done_with_them() {
    let plan = switchover(&healthy(), None).expect("the synchronous standby is well");
    let mut view = SwitchoverView::from(plan);
    let planned = switchover_plan(&view);
    let loose = v1::DatabaseStatus {
        zero_loss: false,
        ..healthy()
    };
    let other = switchover(&loose, Some("database-3")).expect("it follows");
    let other = switchover_plan(&SwitchoverView::from(other));
    view.leader = Some("database-1".to_owned());
    view.took_ms = Some(2_345);
    let done = switched_over(&view);
    golden("switchover.json", &json(&view));
    view.leader = Some("database-3".to_owned());
    let instead = switched_over(&view);
    let restarted = database_restarted(&RestartedView {
        node: "database-3".to_owned(),
        took_ms: 1_950,
    });
    let copy = |state: Option<&str>, done| {
        reinit(&ReinitView {
            node: "database-3".to_owned(),
            state: state.map(str::to_owned),
            done,
        })
    };
    let copies = [
        copy(Some("creating replica"), false),
        copy(None, false),
        copy(Some("running"), true),
    ];
    let told = [planned, other, done, instead, restarted].concat() + &copies.concat();
    golden("databases-done.txt", &told);
}
