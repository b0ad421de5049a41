//! What Patroni 3 keeps in etcd, below `/service/SCOPE/`, as far as it matters here. Pure.
//!
//! Source: `patroni/dcs/__init__.py` and `patroni/ha.py` of 3.0.2. Values are JSON, but for the
//! leader key, which holds a name. What cannot be read counts as not there.

use std::collections::{BTreeMap, BTreeSet};

use hamesh_proto::etcd as pb;
use serde_json::Value;

/// Where a cluster's keys are.
pub fn prefix(scope: &str) -> String {
    format!("/service/{scope}/")
}

/// The cluster as Patroni sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Who leads.
    pub leader: Option<Leader>,
    /// Who has every commit that was acknowledged: the leader of then, and its standbys.
    pub synchronous: BTreeSet<String>,
    /// Whether commits wait for a standby.
    pub waits_for_standby: bool,
    /// The members that are there.
    pub members: BTreeMap<String, Member>,
}

/// The leader key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The member that leads.
    pub name: String,
    /// When the key was written: a revision of etcd.
    pub revision: i64,
    /// The lease of etcd that it hangs on.
    pub lease: i64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it said of itself, whole.
    pub said: Value,
    /// When: a revision of etcd.
    pub revision: i64,
    /// The lease of etcd that its key hangs on.
    pub lease: i64,
}

impl View {
    /// Reads the keys below [`prefix`].
    pub fn read(prefix: &str, keys: Vec<pb::KeyValue>) -> Self {
        let mut view = Self::default();
        for kv in keys {
            let Ok(key) = String::from_utf8(kv.key) else {
                continue;
            };
            let value = String::from_utf8_lossy(&kv.value).into_owned();
            let json = || serde_json::from_str::<Value>(&value).unwrap_or_default();
            match key.strip_prefix(prefix) {
                Some("leader") => {
                    view.leader = Some(Leader {
                        name: value,
                        revision: kv.mod_revision,
                        lease: kv.lease,
                    });
                }
                Some("sync") => view.synchronous = synchronous(&json()),
                Some("config") => {
                    let waits = json().get("synchronous_mode").and_then(Value::as_bool);
                    view.waits_for_standby = waits.unwrap_or_default();
                }
                Some(other) => {
                    if let Some(name) = other.strip_prefix("members/") {
                        let member = Member {
                            said: json(),
                            revision: kv.mod_revision,
                            lease: kv.lease,
                        };
                        view.members.insert(name.to_owned(), member);
                    }
                }
                None => {}
            }
        }
        view
    }

    /// Whether this member leads.
    pub fn leads(&self, name: &str) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.name == name)
    }
}

impl Member {
    /// Whether its PostgreSQL runs and does nothing but read.
    pub fn reads(&self) -> bool {
        let is =
            |field: &str, value: &str| self.said.get(field).and_then(Value::as_str) == Some(value);
        is("role", "replica") && is("state", "running")
    }

    /// What it said, told not to lead: until it says something else by itself.
    pub fn told_not_to_lead(&self) -> Value {
        let mut said = self.said.clone();
        if let Some(fields) = said.as_object_mut() {
            let tags = fields
                .entry("tags")
                .or_insert_with(|| Value::Object(Default::default()));
            if let Some(tags) = tags.as_object_mut() {
                tags.insert("nofailover".to_owned(), Value::Bool(true));
            }
        }
        said
    }
}

fn synchronous(sync: &Value) -> BTreeSet<String> {
    let text = |field| sync.get(field).and_then(Value::as_str).unwrap_or_default();
    let standbys = text("sync_standby").split(',').chain([text("leader")]);
    let names = standbys.map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of three members of Patroni 3.0.2 in synchronous mode.
    pub fn keys() -> Vec<pb::KeyValue> {
        let member = |role: &str, state: &str| {
            let at = "10.0.0.1";
            serde_json::json!({
                "conn_url": format!("postgres://{at}:5432/postgres"),
                "api_url": format!("https://{at}:8008/patroni"),
                "state": state,
                "role": role,
                "version": "3.0.2",
                "xlog_location": 67_108_864,
                "timeline": 1,
            })
            .to_string()
        };
        let kv = |key: &str, value: &str, mod_revision| pb::KeyValue {
            key: format!("/service/a/{key}").into_bytes(),
            value: value.as_bytes().to_vec(),
            mod_revision,
            lease: 77,
            ..pb::KeyValue::default()
        };
        vec![
            kv("config", r#"{"ttl":20,"synchronous_mode":true}"#, 1),
            kv("initialize", "7300000000000000000", 2),
            kv("leader", "db-1", 9),
            kv("members/db-1", &member("master", "running"), 10),
            kv("members/db-2", &member("replica", "running"), 11),
            kv("members/db-3", &member("replica", "starting"), 12),
            kv("status", r#"{"optime":67108864}"#, 13),
            kv("sync", r#"{"leader":"db-1","sync_standby":"db-2"}"#, 14),
        ]
    }

    #[test]
    fn leader_members_and_who_has_all_commits_are_read() {
        let view = View::read(&prefix("a"), keys());
        let leader = view.leader.clone().expect("a leader");
        assert_eq!(
            (leader.name.as_str(), leader.revision, leader.lease),
            ("db-1", 9, 77)
        );
        assert!(view.leads("db-1") && !view.leads("db-2"));
        assert_eq!(view.synchronous, ["db-1", "db-2"].map(str::to_owned).into());
        assert!(view.waits_for_standby);
        let reads: Vec<bool> = view.members.values().map(Member::reads).collect();
        assert_eq!(reads, [false, true, false]);
    }

    #[test]
    fn a_member_is_told_not_to_lead_and_keeps_what_it_said() {
        let view = View::read(&prefix("a"), keys());
        let told = view.members["db-1"].told_not_to_lead();
        assert_eq!(told["tags"]["nofailover"], Value::Bool(true));
        assert_eq!(told["state"], "running");
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let mut keys = keys();
        for kv in &mut keys {
            kv.value = b"\xff{".to_vec();
        }
        let view = View::read(&prefix("a"), keys);
        assert!(view.synchronous.is_empty() && !view.waits_for_standby);
        assert!(!view.members["db-2"].reads());
        assert_eq!(View::read(&prefix("b"), tests::keys()), View::default());
    }
}
