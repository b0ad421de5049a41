//! How well this node could lead the databases. Pure.
//!
//! | it | health |
//! |---|---|
//! | is named by the leader key, and its PostgreSQL runs | healthy |
//! | has every acknowledged commit, and its PostgreSQL runs | degraded |
//! | holds the lease, led when etcd last answered, and its PostgreSQL runs | degraded |
//! | anything else | failed: it does not ask |
//!
//! Where commits do not wait for a standby, whoever replicates may lead: that is the site's word.

use std::time::Duration;

use hamesh_claims::message::Health;

use super::view::View;
use crate::claims::duty::Judged;

/// What etcd said counts for so long. It elects a leader of its own when that was on the machine
/// which is lost, and whoever has all commits then has them afterwards.
pub const STALE_AFTER: Duration = Duration::from_secs(3);

/// Judges the member `me` by what etcd said so long ago, by whether its PostgreSQL runs, and by
/// whether it holds the lease: who does is not given up because etcd is gone for all.
pub fn judge(me: &str, seen: Option<(&View, Duration)>, runs: bool, leased: bool) -> Judged {
    let failed = |why: String| (Health::Failed, why);
    let Some((view, age)) = seen else {
        return failed("etcd does not answer".to_owned());
    };
    if !runs {
        return failed("PostgreSQL does not run".to_owned());
    }
    if age > STALE_AFTER {
        let why = "etcd does not answer".to_owned();
        return match leased && view.leads(me) {
            true => (Health::Degraded, why),
            false => failed(why),
        };
    }
    if view.leads(me) {
        return (Health::Healthy, String::new());
    }
    let leader = view.leader.as_ref();
    let leader = leader.map_or("nobody".to_owned(), |leader| leader.name.clone());
    let reads = view.members.get(me).is_some_and(|member| member.reads());
    if !reads {
        return failed(format!("it does not replicate yet; {leader} leads"));
    }
    if view.waits_for_standby && !view.synchronous.contains(me) {
        return failed(format!("it may lack commits; {leader} leads"));
    }
    (Health::Degraded, format!("it replicates; {leader} leads"))
}

#[cfg(test)]
mod tests {
    use super::super::view::{self, prefix};
    use super::*;

    fn health(me: &str, age: u64, runs: bool, change: impl FnOnce(&mut View)) -> Health {
        let mut view = View::read(&prefix("a"), view::tests::keys());
        change(&mut view);
        judge(me, Some((&view, Duration::from_secs(age))), runs, false).0
    }

    #[test]
    fn the_leader_is_best_and_who_has_all_commits_next() {
        assert_eq!(health("db-1", 0, true, |_| {}), Health::Healthy);
        assert_eq!(health("db-2", 0, true, |_| {}), Health::Degraded);
        assert_eq!(
            health("db-2", 0, true, |it| it.leader = None),
            Health::Degraded
        );
        assert_eq!(health("db-3", 0, true, |_| {}), Health::Failed);
    }

    #[test]
    fn who_may_lack_commits_does_not_lead_where_commits_wait() {
        let without = |it: &mut View| {
            it.synchronous.remove("db-2");
        };
        assert_eq!(health("db-2", 0, true, without), Health::Failed);
        let fast = |it: &mut View| {
            it.synchronous.clear();
            it.waits_for_standby = false;
        };
        assert_eq!(health("db-2", 0, true, fast), Health::Degraded);
    }

    #[test]
    fn who_leads_under_a_lease_is_not_given_up_because_etcd_is_gone() {
        let view = View::read(&prefix("a"), view::tests::keys());
        let long_ago = Duration::from_secs(60);
        let health = |me, runs, leased| judge(me, Some((&view, long_ago)), runs, leased).0;
        assert_eq!(health("db-1", true, true), Health::Degraded);
        for (me, runs, leased) in [
            ("db-1", true, false),
            ("db-1", false, true),
            ("db-2", true, true),
        ] {
            assert_eq!(health(me, runs, leased), Health::Failed, "{me}");
        }
    }

    #[test]
    fn without_postgresql_or_etcd_nobody_leads() {
        assert_eq!(health("db-1", 0, false, |_| {}), Health::Failed);
        assert_eq!(health("db-1", 4, true, |_| {}), Health::Failed);
        assert_eq!(judge("db-1", None, true, true).0, Health::Failed);
    }
}
