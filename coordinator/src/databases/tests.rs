//! What the picture of the cluster is, and what may be done with it, as tables.

use std::collections::BTreeMap;

use hamesh_proto::v1::{self, DatabasePart};

use super::picture::{self, Seen};
use super::plan::{self, Refusal, Switchover};
use crate::testing::name;

fn known(node: &str, part: DatabasePart, state: &str, lag: Option<u64>) -> v1::PatroniMember {
    v1::PatroniMember {
        name: node.to_owned(),
        part: part.into(),
        state: state.to_owned(),
        timeline: 3,
        lag_bytes: lag,
        pending_restart: false,
    }
}

fn healthy() -> Vec<v1::PatroniMember> {
    vec![
        known("a", DatabasePart::Leader, "running", None),
        known("b", DatabasePart::SyncStandby, "running", Some(10)),
        known("c", DatabasePart::Replica, "streaming", Some(0)),
    ]
}

fn sight(primary: bool, members: Vec<v1::PatroniMember>) -> Seen {
    Seen::Sight(v1::DatabaseSight {
        own: Some(v1::PatroniSelf {
            primary,
            state: "running".to_owned(),
            server_version: 150_020,
            pending_restart: false,
            started: "today".to_owned(),
        }),
        cluster: Some(v1::PatroniCluster {
            members,
            ..v1::PatroniCluster::default()
        }),
        etcd: v1::EtcdHealth::Good.into(),
        ..v1::DatabaseSight::default()
    })
}

/// Three nodes that all see this; the first of them takes writes.
fn status(members: &[v1::PatroniMember], zero_loss: bool) -> v1::DatabaseStatus {
    let seen = ["a", "b", "c"].map(|node| (name(node), sight(node == "a", members.to_vec())));
    picture::of(&BTreeMap::from(seen), zero_loss)
}

fn parts(status: &v1::DatabaseStatus) -> Vec<(&str, DatabasePart)> {
    let members = status.members.iter();
    members.map(|it| (it.node.as_str(), it.part())).collect()
}

#[test]
fn the_leaders_view_counts_and_who_says_nothing_is_named() {
    let stale = vec![known("c", DatabasePart::Leader, "running", None)];
    let seen = BTreeMap::from([
        (name("a"), sight(false, stale)),
        (
            name("b"),
            sight(true, {
                let mut members = healthy();
                members[0].part = DatabasePart::Replica.into();
                members[1].part = DatabasePart::Leader.into();
                members.push(known("x", DatabasePart::Replica, "stopped", None));
                members
            }),
        ),
        (name("d"), Seen::Nothing("its agent is silent".to_owned())),
    ]);
    let status = picture::of(&seen, true);
    assert_eq!(status.seen_by, "b");
    assert_eq!(
        parts(&status),
        [
            ("a", DatabasePart::Replica),
            ("b", DatabasePart::Leader),
            ("d", DatabasePart::Unspecified),
            ("c", DatabasePart::Replica),
            ("x", DatabasePart::Replica),
        ]
    );
    let in_site: Vec<bool> = status.members.iter().map(|it| it.in_site).collect();
    assert_eq!(in_site, [true, true, true, false, false]);
    assert_eq!(status.members[2].problem, "its agent is silent");
}

#[test]
fn without_a_view_nothing_is_known_and_nothing_is_done() {
    let nothing = || Seen::Nothing("silent".to_owned());
    let seen = ["a", "b"].map(|node| (name(node), nothing()));
    let status = picture::of(&BTreeMap::from(seen), false);
    assert_eq!(status.seen_by, "");
    assert_eq!(plan::switchover(&status, None), Err(Refusal::Unseen));
    assert!(plan::reinit(&status, "a").is_err());
    assert!(plan::restart(&status, "a").is_err());
}

#[test]
fn the_synchronous_standby_takes_over_and_no_other_where_nothing_may_be_lost() {
    let wanted = Switchover {
        from: "a".to_owned(),
        to: "b".to_owned(),
        lag_bytes: Some(10),
        synchronous: true,
    };
    let strict = status(&healthy(), true);
    assert_eq!(plan::switchover(&strict, None), Ok(wanted.clone()));
    assert_eq!(plan::switchover(&strict, Some("b")), Ok(wanted.clone()));
    let refused = plan::switchover(&strict, Some("c")).expect_err("not synchronous");
    assert!(refused.next().contains("hand over to b"), "{refused}");
    // Elsewhere any replica may, and the synchronous one is the better choice all the same.
    let loose = status(&healthy(), false);
    assert_eq!(plan::switchover(&loose, None), Ok(wanted));
    let other = plan::switchover(&loose, Some("c")).expect("it follows");
    assert!(!other.synchronous && other.lag_bytes == Some(0));
}

#[test]
fn who_cannot_lead_is_refused_with_why() {
    let mut members = healthy();
    members[1].state = "creating replica".to_owned();
    let unwell = status(&members, true);
    let refused = plan::switchover(&unwell, Some("b")).expect_err("it copies");
    assert!(
        refused.to_string().contains("\"creating replica\""),
        "{refused}"
    );
    assert_eq!(
        plan::switchover(&unwell, None),
        Err(Refusal::Nobody("a".to_owned()))
    );
    let well = status(&healthy(), true);
    let leads = plan::switchover(&well, Some("a"));
    assert_eq!(leads, Err(Refusal::Leads("a".to_owned())));
    let unknown = plan::switchover(&well, Some("bb")).expect_err("no such member");
    assert_eq!(unknown.next(), "did you mean `b`?");
    let mut silent = well.clone();
    silent.members[1].problem = "its agent is silent".to_owned();
    let refused = plan::switchover(&silent, Some("b")).expect_err("silent");
    assert!(
        refused.to_string().contains("its agent is silent"),
        "{refused}"
    );
    silent.members[0].problem = "its agent is silent".to_owned();
    assert!(matches!(
        plan::switchover(&silent, Some("c")),
        Err(Refusal::Unwell { node, .. }) if node == "a"
    ));
    members.remove(0);
    let leaderless = status(&members, true);
    assert_eq!(
        plan::switchover(&leaderless, None),
        Err(Refusal::Leaderless)
    );
}

#[test]
fn a_plan_holds_only_while_the_same_member_leads() {
    let status = status(&healthy(), true);
    assert!(plan::switchover_from(&status, "a", "b").is_ok());
    assert_eq!(
        plan::switchover_from(&status, "c", "b"),
        Err(Refusal::Moved {
            from: "c".to_owned(),
            leader: "a".to_owned()
        })
    );
}

#[test]
fn a_restart_says_whom_it_hits_and_the_leaders_data_is_never_thrown_away() {
    let status = status(&healthy(), true);
    assert_eq!(plan::restart(&status, "a"), Ok(true));
    assert_eq!(plan::restart(&status, "c"), Ok(false));
    assert!(matches!(
        plan::restart(&status, "x"),
        Err(Refusal::NoMember(..))
    ));
    assert_eq!(plan::reinit(&status, "b"), Ok(()));
    assert_eq!(
        plan::reinit(&status, "a"),
        Err(Refusal::OnlyCopy("a".to_owned()))
    );
    // Who takes writes by its own word may have what nobody else has, whoever leads by Patroni's.
    let mut torn = status.clone();
    torn.members[2].primary = true;
    assert_eq!(
        plan::reinit(&torn, "c"),
        Err(Refusal::OnlyCopy("c".to_owned()))
    );
    let mut leaderless = status;
    leaderless.members[0].part = DatabasePart::Replica.into();
    leaderless.members[0].primary = false;
    assert_eq!(plan::reinit(&leaderless, "c"), Err(Refusal::Leaderless));
}
