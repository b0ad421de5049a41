//! What may be done with the cluster as it is seen, and why not. Pure; `coordctl` decides by the
//! same rules what it shows, and the coordinator by what it sees when it is asked.
//!
//! Patroni has the last word: it looks at the candidate itself, and refuses one that is too far
//! behind.

use hamesh_proto::v1::{self, DatabasePart};
use hamesh_roles::diagnostic::did_you_mean;

use super::picture::leader;

/// A planned change of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switchover {
    /// Who leads now.
    pub from: String,
    /// Who is to.
    pub to: String,
    /// How far it is behind.
    pub lag_bytes: Option<u64>,
    /// Whether it has each commit before that is acknowledged.
    pub synchronous: bool,
}

/// Why something is not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No Patroni could be asked.
    #[error("no Patroni of the databases could be asked how they are")]
    Unseen,
    /// Nobody leads.
    #[error("nobody leads the databases at present")]
    Leaderless,
    /// It is no member.
    #[error("the databases have no member `{0}`")]
    NoMember(String, String),
    /// It leads.
    #[error("{0} leads the databases already")]
    Leads(String),
    /// Its data is the only data that counts.
    #[error("{0} leads the databases: its data cannot be thrown away")]
    OnlyCopy(String),
    /// Another one leads by now.
    #[error("{leader} leads the databases by now, not {from}")]
    Moved {
        /// Who was to hand over.
        from: String,
        /// Who leads.
        leader: String,
    },
    /// It might not have what was acknowledged.
    #[error("{candidate} is no synchronous standby, and no acknowledged commit may be lost")]
    NotSynchronous {
        /// Who was to lead.
        candidate: String,
        /// Who could.
        standby: Option<String>,
    },
    /// It could not lead.
    #[error("{node} is not well: {why}")]
    Unwell {
        /// Who.
        node: String,
        /// In its own words.
        why: String,
    },
    /// There is none.
    #[error("no member could take over from {0}")]
    Nobody(String),
}

impl Refusal {
    /// What to do.
    pub fn next(&self) -> String {
        match self {
            Self::NoMember(_, meant) => meant.clone(),
            Self::NotSynchronous {
                standby: Some(standby),
                ..
            } => format!("hand over to {standby}, or wait until Patroni has chosen another"),
            Self::Unseen | Self::Leaderless | Self::Unwell { .. } => {
                "`coordctl db status` shows what is wrong".to_owned()
            }
            Self::OnlyCopy(_) => {
                "`coordctl db switchover` first, if its data is damaged".to_owned()
            }
            Self::Leads(_)
            | Self::Moved { .. }
            | Self::NotSynchronous { standby: None, .. }
            | Self::Nobody(_) => "`coordctl db status` shows how they are".to_owned(),
        }
    }
}

/// The change of the leader to `to`; to the best of the others, if nobody is named.
///
/// # Errors
/// [`Refusal`].
pub fn switchover(status: &v1::DatabaseStatus, to: Option<&str>) -> Result<Switchover, Refusal> {
    let from = leading(status)?;
    answers(from)?;
    let candidate = match to {
        Some(to) => member(status, to)?,
        None => best(status, from)?,
    };
    if candidate.node == from.node {
        return Err(Refusal::Leads(from.node.clone()));
    }
    let synchronous = candidate.part() == DatabasePart::SyncStandby;
    if status.zero_loss && !synchronous {
        let mut members = status.members.iter();
        let standby = members.find(|it| it.part() == DatabasePart::SyncStandby);
        return Err(Refusal::NotSynchronous {
            candidate: candidate.node.clone(),
            standby: standby.map(|it| it.node.clone()),
        });
    }
    follows(candidate)?;
    Ok(Switchover {
        from: from.node.clone(),
        to: candidate.node.clone(),
        lag_bytes: candidate.lag_bytes,
        synchronous,
    })
}

/// As [`switchover`], if `from` is still who leads.
///
/// # Errors
/// [`Refusal`].
pub fn switchover_from(
    status: &v1::DatabaseStatus,
    from: &str,
    to: &str,
) -> Result<Switchover, Refusal> {
    let leader = leading(status)?;
    if leader.node != from {
        return Err(Refusal::Moved {
            from: from.to_owned(),
            leader: leader.node.clone(),
        });
    }
    switchover(status, Some(to))
}

/// Whether PostgreSQL may be restarted there; `true`: the node leads.
///
/// # Errors
/// [`Refusal`].
pub fn restart(status: &v1::DatabaseStatus, node: &str) -> Result<bool, Refusal> {
    let member = member(status, node)?;
    answers(member)?;
    Ok(member.part() == DatabasePart::Leader || member.primary)
}

/// Whether the data there may be thrown away and copied anew.
///
/// # Errors
/// [`Refusal`].
pub fn reinit(status: &v1::DatabaseStatus, node: &str) -> Result<(), Refusal> {
    let member = member(status, node)?;
    if member.part() == DatabasePart::Leader || member.primary {
        return Err(Refusal::OnlyCopy(member.node.clone()));
    }
    answers(member)?;
    // There is somebody to copy from.
    leading(status).map(drop)
}

/// Whether a member does what it is there for, by Patroni's word.
pub fn is_up(state: &str) -> bool {
    matches!(state, "running" | "streaming")
}

fn leading(status: &v1::DatabaseStatus) -> Result<&v1::DatabaseMember, Refusal> {
    if status.seen_by.is_empty() {
        return Err(Refusal::Unseen);
    }
    leader(status).ok_or(Refusal::Leaderless)
}

/// The node of the site with this name.
fn member<'a>(
    status: &'a v1::DatabaseStatus,
    name: &str,
) -> Result<&'a v1::DatabaseMember, Refusal> {
    let mut nodes = status.members.iter().filter(|it| it.in_site);
    let found = nodes.clone().find(|it| it.node == name);
    found.ok_or_else(|| {
        let meant = did_you_mean(name, nodes.by_ref().map(|it| it.node.as_str()));
        let meant = meant.unwrap_or_else(|| "`coordctl db status` lists them".to_owned());
        Refusal::NoMember(name.chars().take(64).collect(), meant)
    })
}

/// With nothing to lose any replica will do, the one that is least behind first.
fn best<'a>(
    status: &'a v1::DatabaseStatus,
    from: &v1::DatabaseMember,
) -> Result<&'a v1::DatabaseMember, Refusal> {
    let others = status.members.iter().filter(|it| it.node != from.node);
    let able = others.filter(|it| it.in_site && follows(it).is_ok());
    let able = able.filter(|it| !status.zero_loss || it.part() == DatabasePart::SyncStandby);
    let rank = |it: &&v1::DatabaseMember| {
        let synchronous = it.part() == DatabasePart::SyncStandby;
        (!synchronous, it.lag_bytes.unwrap_or(u64::MAX))
    };
    let best = able.min_by_key(rank);
    best.ok_or_else(|| Refusal::Nobody(from.node.clone()))
}

/// Its agent reaches its Patroni.
fn answers(member: &v1::DatabaseMember) -> Result<(), Refusal> {
    match member.problem.as_str() {
        "" => Ok(()),
        why => Err(Refusal::Unwell {
            node: member.node.clone(),
            why: why.to_owned(),
        }),
    }
}

fn follows(member: &v1::DatabaseMember) -> Result<(), Refusal> {
    answers(member)?;
    let why = match member.state.as_str() {
        "" => "Patroni does not know it".to_owned(),
        state if is_up(state) => return Ok(()),
        state => format!("PostgreSQL there is \"{state}\""),
    };
    Err(Refusal::Unwell {
        node: member.node.clone(),
        why,
    })
}
