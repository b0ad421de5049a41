//! The databases: who leads, who follows, and what is wrong.

use hamesh_proto::v1::{self, DatabasePart, EtcdHealth};
use serde::Serialize;

use super::some_text;
use super::status::{Problem, Severity, problem};
use crate::databases::plan::{Switchover, is_up};

/// What a member is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It takes writes.
    Leader,
    /// It has each commit before that is acknowledged.
    SyncStandby,
    /// It follows.
    Replica,
}

impl Part {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::SyncStandby => "sync standby",
            Self::Replica => "replica",
        }
    }
}

/// The databases.
#[derive(Debug, Clone, Serialize)]
pub struct DatabaseView {
    /// Who leads.
    pub leader: Option<String>,
    /// Who has each commit before it is acknowledged.
    pub sync_standbys: Vec<String>,
    /// Whether no acknowledged commit may be lost, by the site's document.
    pub zero_loss: bool,
    /// Whether Patroni leaves PostgreSQL alone.
    pub paused: bool,
    /// "to database-2 at 2026-11-28T18:00:00+00:00"
    pub scheduled_switchover: Option<String>,
    /// Whose Patroni says all that.
    pub seen_by: Option<String>,
    /// Every node of the role, and every member.
    pub members: Vec<DatabaseMemberView>,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct DatabaseMemberView {
    /// Its name.
    pub node: String,
    /// What it is there for.
    pub role: Option<Part>,
    /// Patroni's word: "running", "creating replica".
    pub state: Option<String>,
    /// The history of the data that it is in: it rises whenever another one leads.
    pub timeline: Option<u64>,
    /// How far it is behind the leader.
    pub lag_bytes: Option<u64>,
    /// Whether a setting counts only after a restart.
    pub pending_restart: bool,
    /// Whether it takes writes, by its own word.
    pub takes_writes: bool,
    /// Of PostgreSQL: "15.8".
    pub version: Option<String>,
    /// When PostgreSQL was started, in Patroni's words.
    pub started: Option<String>,
    /// Whether etcd's member there is healthy.
    pub etcd_healthy: Option<bool>,
    /// Why not.
    pub etcd_problem: Option<String>,
    /// Why its agent, or Patroni there, said nothing.
    pub problem: Option<String>,
    /// Whether it is a node of the site with the role.
    pub in_site: bool,
}

/// A switchover, planned or done.
#[derive(Debug, Clone, Serialize)]
pub struct SwitchoverView {
    /// Who leads before it.
    pub from: String,
    /// Who is to lead.
    pub to: String,
    /// How far that one is behind.
    pub lag_bytes: Option<u64>,
    /// Whether it has each commit before that is acknowledged.
    pub synchronous: bool,
    /// Who leads after it. `null`: it was only planned.
    pub leader: Option<String>,
    /// From the request until that one takes writes.
    pub took_ms: Option<u64>,
}

/// A restart that is over.
#[derive(Debug, Clone, Serialize)]
pub struct RestartedView {
    /// Where.
    pub node: String,
    /// How long it took.
    pub took_ms: u64,
}

/// A copy that is made anew.
#[derive(Debug, Clone, Serialize)]
pub struct ReinitView {
    /// Where.
    pub node: String,
    /// Patroni's word.
    pub state: Option<String>,
    /// Whether it follows the leader again.
    pub done: bool,
}

impl From<v1::DatabaseStatus> for DatabaseView {
    fn from(status: v1::DatabaseStatus) -> Self {
        let members = status.members.into_iter();
        let members: Vec<_> = members.map(DatabaseMemberView::from).collect();
        let with = |part: Part| {
            let members = members.iter().filter(move |it| it.role == Some(part));
            members.map(|it| it.node.clone())
        };
        let mut view = DatabaseView {
            leader: with(Part::Leader).next(),
            sync_standbys: with(Part::SyncStandby).collect(),
            zero_loss: status.zero_loss,
            paused: status.paused,
            scheduled_switchover: some_text(status.scheduled_switchover),
            seen_by: some_text(status.seen_by),
            members,
            problems: Vec::new(),
        };
        view.problems = problems(&view);
        view
    }
}

impl From<v1::DatabaseMember> for DatabaseMemberView {
    fn from(member: v1::DatabaseMember) -> Self {
        let role = match member.part() {
            DatabasePart::Leader => Some(Part::Leader),
            DatabasePart::SyncStandby => Some(Part::SyncStandby),
            DatabasePart::Replica => Some(Part::Replica),
            DatabasePart::Unspecified => None,
        };
        let etcd_healthy = match member.etcd() {
            EtcdHealth::Good => Some(true),
            EtcdHealth::Bad => Some(false),
            EtcdHealth::Unspecified => None,
        };
        DatabaseMemberView {
            node: member.node,
            role,
            state: some_text(member.state),
            timeline: (member.timeline > 0).then_some(member.timeline),
            lag_bytes: member.lag_bytes,
            pending_restart: member.pending_restart,
            takes_writes: member.primary,
            version: version(member.server_version),
            started: some_text(member.started),
            etcd_healthy,
            etcd_problem: some_text(member.etcd_problem),
            problem: some_text(member.problem),
            in_site: member.in_site,
        }
    }
}

impl From<Switchover> for SwitchoverView {
    fn from(plan: Switchover) -> Self {
        SwitchoverView {
            from: plan.from,
            to: plan.to,
            lag_bytes: plan.lag_bytes,
            synchronous: plan.synchronous,
            leader: None,
            took_ms: None,
        }
    }
}

/// PostgreSQL numbers itself 150008 for 15.8, since version 10.
fn version(number: u32) -> Option<String> {
    let (major, minor) = (number / 10_000, number % 10_000);
    (number > 0).then(|| format!("{major}.{minor}"))
}

fn problems(view: &DatabaseView) -> Vec<Problem> {
    let mut found = Vec::new();
    of_all(view, &mut found);
    for member in &view.members {
        of_one(member, view.seen_by.is_some(), &mut found);
    }
    found.sort();
    found
}

fn of_all(view: &DatabaseView, found: &mut Vec<Problem>) {
    let mut tell = |severity, text: String, next: &str| {
        found.push(problem(severity, "databases", text, next));
    };
    if view.seen_by.is_none() {
        let text = "no Patroni could be asked how they are".to_owned();
        let next = "on the databases' nodes: systemctl status patroni etcd hamesh-agent";
        tell(Severity::Error, text, next);
        return;
    }
    if view.leader.is_none() {
        let text = "nobody leads: there are no writes".to_owned();
        let next = "on the databases' nodes: journalctl -u patroni -u etcd";
        tell(Severity::Error, text, next);
    } else if view.zero_loss && view.sync_standbys.is_empty() {
        let text = "there is no synchronous standby: a commit is on one disk only".to_owned();
        let next = "bring the others back; Patroni chooses one of them within seconds";
        tell(Severity::Warning, text, next);
    }
    if view.paused {
        let text = "Patroni is paused: nobody takes over from a leader that is lost".to_owned();
        let next = "on one of the nodes: patronictl -c /etc/patroni/config.yml resume";
        tell(Severity::Warning, text, next);
    }
    if let Some(scheduled) = &view.scheduled_switchover {
        let next = "to call it off, on one of the nodes: patronictl -c /etc/patroni/config.yml \
                    flush NAME switchover";
        let text = format!("a switchover is scheduled: {scheduled}");
        tell(Severity::Notice, text, next);
    }
}

fn of_one(member: &DatabaseMemberView, viewed: bool, found: &mut Vec<Problem>) {
    let node = &member.node;
    let mut tell = |severity, text: String, next: String| {
        found.push(problem(severity, node, text, next));
    };
    if !member.in_site {
        let text = "is a member, and no node of the site with the role database".to_owned();
        let next = format!("coordctl assign {node} database, or switch it off");
        tell(Severity::Warning, text, next);
        return;
    }
    if let Some(why) = &member.problem {
        let next = format!("on {node}: systemctl status hamesh-agent patroni");
        tell(Severity::Error, why.clone(), next);
    } else if viewed && member.role.is_none() {
        let next = format!("coordctl role status; on {node}: journalctl -u patroni");
        tell(Severity::Error, "Patroni does not know it".to_owned(), next);
    }
    if let Some(state) = member.state.as_ref().filter(|state| !is_up(state)) {
        let text = format!("PostgreSQL there is \"{state}\"");
        tell(
            Severity::Warning,
            text,
            format!("on {node}: journalctl -u patroni"),
        );
    }
    if let Some(why) = &member.etcd_problem {
        let next = format!("on {node}: journalctl -u etcd");
        tell(Severity::Error, why.clone(), next);
    }
    if member.takes_writes && member.role.is_some_and(|role| role != Part::Leader) {
        let text = "takes writes, and another one leads".to_owned();
        tell(
            Severity::Error,
            text,
            format!("on {node}: journalctl -u patroni"),
        );
    }
    if member.pending_restart {
        let text = "has settings that count only after a restart".to_owned();
        tell(
            Severity::Notice,
            text,
            format!("coordctl db restart {node}"),
        );
    }
}
