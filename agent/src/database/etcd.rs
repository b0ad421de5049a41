//! Reads etcd's page on its health (etcd 3.4, `etcdserver/api/etcdhttp`): it is healthy when it
//! has a leader, no alarm, and an answer of the majority to a read. Pure.

use serde::Deserialize;

use super::client::Reply;
use super::patroni::{clipped, words};

#[derive(Deserialize)]
struct Health {
    /// "true" or "false".
    health: String,
    /// Of etcd 3.5.
    #[serde(default)]
    reason: String,
}

/// Whether it is healthy, or why not.
///
/// # Errors
/// In one line.
pub fn health(reply: &Reply) -> Result<(), String> {
    let told = serde_json::from_slice::<Health>(&reply.body);
    let Ok(told) = told else {
        return Err(format!("answered {}: {}", reply.status, words(&reply.body)));
    };
    match (told.health.as_str(), told.reason.as_str()) {
        ("true", _) => Ok(()),
        (_, "") => Err("it has no majority to answer with, or an alarm stands".to_owned()),
        (_, reason) => Err(clipped(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        let body = body.into();
        Reply { status, body }
    }

    #[test]
    fn only_the_word_true_is_health() {
        assert_eq!(health(&reply(200, "{\"health\":\"true\"}")), Ok(()));
        let without = health(&reply(503, "{\"health\":\"false\"}"));
        assert!(without.expect_err("none").contains("no majority"));
        let newer = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}";
        assert_eq!(health(&reply(503, newer)), Err("RAFT NO LEADER".to_owned()));
        let other = health(&reply(404, "404 page not found\n"));
        assert_eq!(other, Err("answered 404: 404 page not found".to_owned()));
    }
}
