//! Reads what Patroni 3.0 answers (`patroni/api.py`, `cluster_as_json` in `patroni/utils.py`), and
//! what later ones do, where that differs only in words. Pure.
//!
//! Guarantees: what is missing, or of another type than expected, is not known, and makes nothing
//! else unknown; texts are short and of one line.

use hamesh_proto::v1::{self, DatabaseEnd, DatabasePart};
use serde::Deserialize;
use serde_json::Value;

use super::client::Reply;

/// Members that are told: a cluster has three or five.
const MOST_MEMBERS: usize = 64;
/// The most characters of a text of Patroni's.
const LONGEST: usize = 200;

/// `GET /cluster`
#[derive(Debug, Deserialize)]
struct Cluster {
    members: Vec<Member>,
    #[serde(default)]
    pause: Value,
    #[serde(default)]
    scheduled_switchover: Option<Scheduled>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    #[serde(default)]
    role: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    timeline: Value,
    /// Bytes, or "unknown".
    #[serde(default)]
    lag: Value,
    #[serde(default)]
    pending_restart: Value,
}

#[derive(Debug, Deserialize)]
struct Scheduled {
    #[serde(default)]
    at: Value,
    #[serde(default)]
    to: Value,
}

/// `GET /patroni`
#[derive(Debug, Deserialize)]
struct Own {
    #[serde(default)]
    role: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    server_version: Value,
    #[serde(default)]
    postmaster_start_time: Value,
    #[serde(default)]
    pending_restart: Value,
}

/// The cluster as Patroni knows it.
///
/// # Errors
/// Why it cannot be read, in one line.
pub fn cluster(reply: &Reply) -> Result<v1::PatroniCluster, String> {
    let cluster: Cluster = json(reply)?;
    let scheduled = cluster.scheduled_switchover.map(|it| {
        let to = match text(&it.to) {
            to if to.is_empty() => "to any member".to_owned(),
            to => format!("to {to}"),
        };
        format!("{to} at {}", text(&it.at))
    });
    let members = cluster.members.into_iter().take(MOST_MEMBERS);
    Ok(v1::PatroniCluster {
        members: members.map(member).collect(),
        paused: cluster.pause == true,
        scheduled_switchover: scheduled.unwrap_or_default(),
    })
}

/// Patroni of itself. It says so with any code: that of this path is another verdict.
///
/// # Errors
/// Why it cannot be read, in one line.
pub fn own(reply: &Reply) -> Result<v1::PatroniSelf, String> {
    let own: Own = json(reply)?;
    let version = own.server_version.as_u64();
    Ok(v1::PatroniSelf {
        primary: matches!(own.role.as_str(), Some("master" | "primary")),
        state: text(&own.state),
        server_version: version.and_then(|it| it.try_into().ok()).unwrap_or(0),
        started: text(&own.postmaster_start_time),
        pending_restart: own.pending_restart == true,
    })
}

/// What Patroni made of a request to this path to change something.
pub fn outcome(path: &str, reply: &Reply) -> v1::DatabaseOutcome {
    let words = words(&reply.body);
    let untouched = path == "/reinitialize" || words.ends_with("already in progress");
    let end = match reply.status {
        200..300 => DatabaseEnd::Done,
        // It looks before it touches anything, and says what stands in the way.
        400..500 => DatabaseEnd::Refused,
        503 if untouched => DatabaseEnd::Refused,
        _ => DatabaseEnd::Unknown,
    };
    let text = match words.as_str() {
        "" => format!("Patroni answered {}", reply.status),
        _ => words,
    };
    v1::DatabaseOutcome {
        end: end.into(),
        text,
    }
}

/// The first line that says anything.
pub(super) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    clipped(line.unwrap_or_default())
}

/// A text of another program, in one short line.
pub(super) fn clipped(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST).map(shown).collect()
}

fn member(member: Member) -> v1::PatroniMember {
    let part = match member.role.as_str() {
        Some("leader" | "standby_leader" | "master" | "primary") => DatabasePart::Leader,
        Some("sync_standby" | "quorum_standby") => DatabasePart::SyncStandby,
        Some("replica") => DatabasePart::Replica,
        Some(_) | None => DatabasePart::Unspecified,
    };
    v1::PatroniMember {
        name: clipped(&member.name),
        part: part.into(),
        state: text(&member.state),
        timeline: member.timeline.as_u64().unwrap_or(0),
        lag_bytes: member.lag.as_u64(),
        pending_restart: member.pending_restart == true,
    }
}

fn text(value: &Value) -> String {
    clipped(value.as_str().unwrap_or_default())
}

fn json<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T, String> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        let (status, words) = (reply.status, words(&reply.body));
        format!("answered {status}, and what cannot be read ({error}): {words}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let body = body.to_owned().into();
        Reply { status, body }
    }

    const CLUSTER: &str = include_str!("answers/cluster.json");

    #[test]
    fn a_cluster_is_read_with_its_parts_lags_and_timelines() {
        let cluster = cluster(&reply(200, CLUSTER)).expect("a cluster");
        assert!(!cluster.paused && cluster.scheduled_switchover.is_empty());
        let told = cluster.members.iter().map(|it| {
            let lag = it.lag_bytes;
            (
                it.name.as_str(),
                it.part(),
                it.state.as_str(),
                it.timeline,
                lag,
            )
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                ("database-1", DatabasePart::Leader, "running", 1, None),
                (
                    "database-2",
                    DatabasePart::Replica,
                    "creating replica",
                    0,
                    None
                ),
                (
                    "database-3",
                    DatabasePart::SyncStandby,
                    "running",
                    1,
                    Some(0)
                ),
            ]
        );
        let pending: Vec<_> = cluster
            .members
            .iter()
            .map(|it| it.pending_restart)
            .collect();
        assert_eq!(pending, [true, false, false]);
    }

    #[test]
    fn a_paused_cluster_and_what_is_scheduled_are_read() {
        let answer = include_str!("answers/cluster-paused.json");
        let cluster = cluster(&reply(200, answer)).expect("a cluster");
        assert!(cluster.paused);
        let told = "to database-2 at 2027-11-28T18:00:00+00:00";
        assert_eq!(cluster.scheduled_switchover, told);
        assert_eq!(cluster.members[1].state, "streaming", "as of Patroni 3.1");
        assert_eq!(cluster.members[1].lag_bytes, Some(16_777_216));
    }

    #[test]
    fn patroni_says_of_itself_whether_it_takes_writes_with_any_code() {
        let leads = own(&reply(200, include_str!("answers/leads.json"))).expect("itself");
        assert!(leads.primary && !leads.pending_restart);
        assert_eq!(
            (leads.state.as_str(), leads.server_version),
            ("running", 150_020)
        );
        let follows = own(&reply(503, include_str!("answers/follows.json"))).expect("itself");
        assert!(!follows.primary && follows.pending_restart);
        assert_eq!(follows.started, "2026-11-28 18:41:01.428782+00:00");
        let stopped = own(&reply(503, include_str!("answers/demoted.json"))).expect("itself");
        assert!(!stopped.primary && stopped.state == "stopped" && stopped.started.is_empty());
        let starts = own(&reply(
            503,
            "{\"state\": \"starting\", \"role\": \"replica\"}",
        ));
        assert_eq!(starts.expect("itself").server_version, 0);
    }

    #[test]
    fn what_is_no_answer_of_patronis_says_so_in_one_line() {
        for body in ["", "<html>\n<head>", "[]", "{\"members\": 3}"] {
            let why = cluster(&reply(502, body)).expect_err(body);
            assert!(
                why.starts_with("answered 502") && !why.contains('\n'),
                "{why}"
            );
        }
    }

    #[test]
    fn a_refusal_changed_nothing_and_a_failure_may_have() {
        let end = |path: &str, status, body: &str| {
            let outcome = outcome(path, &reply(status, body));
            (outcome.end(), outcome.text)
        };
        for (path, status, body, ended) in [
            (
                "/switchover",
                200,
                "Successfully switched over to \"a\"",
                DatabaseEnd::Done,
            ),
            (
                "/switchover",
                412,
                "leader name does not match",
                DatabaseEnd::Refused,
            ),
            (
                "/switchover",
                503,
                "Switchover status unknown",
                DatabaseEnd::Unknown,
            ),
            ("/restart", 200, "restarted successfully", DatabaseEnd::Done),
            ("/restart", 503, "restart failed", DatabaseEnd::Unknown),
            (
                "/restart",
                503,
                "reinitialize already in progress",
                DatabaseEnd::Refused,
            ),
            (
                "/reinitialize",
                200,
                "reinitialize started",
                DatabaseEnd::Done,
            ),
            (
                "/reinitialize",
                503,
                "I am the leader, can not reinitialize",
                DatabaseEnd::Refused,
            ),
        ] {
            assert_eq!(end(path, status, body), (ended, body.to_owned()), "{path}");
        }
        let (ended, text) = end("/restart", 403, "\n");
        assert_eq!(
            (ended, text.as_str()),
            (DatabaseEnd::Refused, "Patroni answered 403")
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(body: Vec<u8>, cut in 0..CLUSTER.len()) {
            let cut = Reply { status: 200, body: CLUSTER.as_bytes()[..cut].to_vec().into() };
            let any = Reply { status: 200, body: body.into() };
            for reply in [cut, any] {
                let _ = (cluster(&reply), own(&reply), outcome("/restart", &reply));
            }
        }
    }
}
