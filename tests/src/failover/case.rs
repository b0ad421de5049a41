//! The ways to lose a database.

use std::fmt;

use anyhow::Result;

use super::rival::{Cluster, Members};
use crate::scenarios::served::sql::NODES;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Case {
    /// The leader's machine loses its power.
    Power,
    /// The leader's machine stands still, and goes on later.
    Frozen,
    /// The leader is cut off from everyone.
    Cut,
    /// The leader is cut from the other databases, and from nobody else.
    CutFromReplicas,
    /// The leader is cut from everyone but the proxies, and so the clients.
    CutButProxies,
    /// The leader is cut from etcd, its own member too.
    CutFromEtcd,
    /// The leader's PostgreSQL is killed.
    Postgresql,
    /// The leader's Patroni and PostgreSQL are killed.
    Both,
    /// The synchronous standby's machine loses its power.
    Standby,
    /// The leadership is handed over as planned.
    Switchover,
}

impl Case {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Power,
        Self::Frozen,
        Self::Cut,
        Self::CutFromReplicas,
        Self::CutButProxies,
        Self::CutFromEtcd,
        Self::Postgresql,
        Self::Both,
        Self::Standby,
        Self::Switchover,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Power => "leader without power",
            Self::Frozen => "leader frozen",
            Self::Cut => "leader cut off",
            Self::CutFromReplicas => "leader cut from replicas",
            Self::CutButProxies => "leader cut but from proxies",
            Self::CutFromEtcd => "leader cut from etcd",
            Self::Postgresql => "postgres killed",
            Self::Both => "Patroni and postgres killed",
            Self::Standby => "standby without power",
            Self::Switchover => "planned switchover",
        }
    }

    /// Whether another leads afterwards, whatever the rival does.
    pub const fn moves(self) -> bool {
        match self {
            Self::Power | Self::Frozen | Self::Cut | Self::Switchover => true,
            // One that is up again at once leads on, one that is cut may go on waiting.
            Self::CutFromReplicas
            | Self::CutButProxies
            | Self::CutFromEtcd
            | Self::Postgresql
            | Self::Both
            | Self::Standby => false,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The lab's.
    pub fn begin(self, cluster: &Cluster, members: &Members) -> Result<()> {
        let Members { leader, standby } = members;
        let lab = |words: &[&str]| cluster.lab.must(words).map(drop);
        let on_leader = |script: &str| cluster.lab.sh(leader, script).map(drop);
        match self {
            Self::Power => lab(&["kill", leader]),
            Self::Frozen => lab(&["freeze", leader]),
            Self::Cut => lab(&["cut", leader]),
            Self::CutFromReplicas => {
                let others = NODES.iter().filter(|it| **it != leader);
                let others = others.copied().collect::<Vec<_>>().join(",");
                lab(&["partition", leader, "|", &others])
            }
            Self::CutButProxies => {
                let near = cluster.proxies();
                let all = cluster.lab.nodes()?;
                let others = all.iter().map(String::as_str);
                let others = others.filter(|it| *it != leader && !near.contains(it));
                let others = others.collect::<Vec<_>>().join(",");
                lab(&["partition", leader, "|", &others])
            }
            Self::CutFromEtcd => on_leader(CUT_ETCD),
            Self::Postgresql => {
                let data = cluster.rival.data();
                on_leader(&format!("kill -KILL $(head -1 {data}/postmaster.pid)"))
            }
            Self::Both => on_leader("systemctl kill --signal=KILL --kill-who=all patroni"),
            Self::Standby => lab(&["kill", standby]),
            Self::Switchover => on_leader(&format!(
                "patronictl -c /etc/patroni/config.yml switchover --master {leader} \
                 --candidate {standby} --force"
            )),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// The lab's.
    pub fn end(self, cluster: &Cluster, members: &Members) -> Result<()> {
        let Members { leader, standby } = members;
        let lab = |words: &[&str]| cluster.lab.must(words).map(drop);
        match self {
            Self::Power => lab(&["start", leader]),
            Self::Frozen => lab(&["thaw", leader]),
            Self::Cut | Self::CutFromReplicas | Self::CutButProxies => lab(&["heal"]),
            Self::CutFromEtcd => {
                let heal = "nft delete table inet cut_from_etcd";
                cluster.lab.sh(leader, heal).map(drop)
            }
            Self::Standby => lab(&["start", standby]),
            Self::Postgresql | Self::Both | Self::Switchover => Ok(()),
        }
    }
}

/// No packet to or from etcd's ports on this machine, its own included.
const CUT_ETCD: &str = "nft -f - <<'END'
table inet cut_from_etcd {
    chain input {
        type filter hook input priority -400;
        tcp dport { 2379, 2380 } drop
        tcp sport { 2379, 2380 } drop
    }
    chain output {
        type filter hook output priority -400;
        tcp dport { 2379, 2380 } drop
        tcp sport { 2379, 2380 } drop
    }
}
END";

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}
