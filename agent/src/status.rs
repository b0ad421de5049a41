//! `hamesh-agent status`: what the running agent says of itself, as JSON or for people.

use std::fmt::Write as _;
use std::sync::Arc;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::claims::Report;
use crate::gossip::PeersView;
use crate::held::Held;
use crate::session::SessionState;

/// What `/status` on the local socket answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// Its site.
    pub site: String,
    /// The agent's version.
    pub version: String,
    /// The number of this run (the time of its start, unless the clock went back).
    pub started_unix_ms: u64,
    /// The certificate.
    pub certificate: Certificate,
    /// What the node was told to be; `None`: nothing yet.
    pub assignment: Option<Told>,
    /// The version of the gossip keys; 0: none yet.
    pub key_ring_version: u64,
    /// The coordinator that holds a session; `None`: see `session_problem`.
    pub session: Option<String>,
    /// Why there is no session.
    pub session_problem: Option<String>,
    /// What cannot be kept on disk.
    pub state_problem: Option<String>,
    /// This node's clock minus the median of its peers', in milliseconds; `None`: not known.
    pub clock_offset_ms: Option<i64>,
    /// Failed systemd units; `None`: not known.
    pub failed_units: Option<Vec<String>>,
    /// What the node is among the databases, in words; `None`: it is none, or not known yet.
    #[serde(default)]
    pub database: Option<String>,
    /// How this node's claims stand.
    #[serde(default)]
    pub claims: Report,
    /// The other members, as this node sees them.
    pub peers: Vec<PeerStatus>,
}

/// The node's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Lower-case hexadecimal.
    pub serial: String,
    /// When it runs out.
    pub expires_unix_ms: u64,
}

/// The assignment in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// "incarnation.generation"
    pub id: String,
    /// The role; `None`: the node has none.
    pub role: Option<String>,
    /// How many members the site has.
    pub members: usize,
}

/// Another member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub node: String,
    /// Whether this node hears it.
    pub alive: bool,
    /// Its agent's version; `None`: it has proved nothing yet.
    pub version: Option<String>,
    /// Its role, as it says.
    pub role: Option<String>,
}

/// Where the parts of a [`Status`] are read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The certificate.
    pub credentials: LiveCredentials,
    /// What it was told.
    pub held: Held,
    /// This run's number.
    pub start: u64,
    /// The session's state.
    pub session: watch::Receiver<SessionState>,
    /// The node's own facts.
    pub facts: watch::Receiver<Option<v1::Facts>>,
    /// The others.
    pub peers: watch::Receiver<Arc<PeersView>>,
    /// How the node's claims stand.
    pub claims: watch::Receiver<Report>,
}

impl Sources {
    /// The status now.
    pub fn status(&self) -> Status {
        let credentials = self.credentials.current();
        let session = self.session.borrow().clone();
        let facts = self.facts.borrow().clone();
        let database = facts.as_ref().and_then(|facts| facts.database().words());
        let health = facts.and_then(|facts| facts.health);
        let id = credentials.spiffe_id();
        let assignment = self.held.assignment().borrow().clone();
        Status {
            node: id.principal.name().to_owned(),
            site: id.site.to_string(),
            version: crate::version().to_owned(),
            started_unix_ms: self.start,
            certificate: Certificate {
                serial: credentials.serial().to_owned(),
                expires_unix_ms: credentials.not_after_unix_ms(),
            },
            assignment: assignment.map(|held| Told {
                id: held.id.to_string(),
                role: held.role.clone(),
                members: held.members.len(),
            }),
            key_ring_version: self.held.ring_version(),
            session: session.coordinator,
            session_problem: session.problem,
            state_problem: self.held.problem().borrow().clone(),
            clock_offset_ms: health
                .as_ref()
                .filter(|health| health.clock_peers > 0)
                .map(|health| health.clock_offset_ms),
            failed_units: health
                .filter(|health| health.units_unknown.is_empty())
                .map(|health| health.failed_units),
            database: database.map(str::to_owned),
            claims: self.claims.borrow().clone(),
            peers: self.peers.borrow().iter().map(peer).collect(),
        }
    }
}

fn peer((node, peer): (&hamesh_proto::ids::NodeId, &crate::gossip::peers::Peer)) -> PeerStatus {
    let facts = peer.facts.as_ref();
    PeerStatus {
        node: node.to_string(),
        alive: peer.alive,
        version: facts.map(|facts| facts.version.clone()),
        role: facts
            .map(|facts| facts.role.clone())
            .filter(|role| !role.is_empty()),
    }
}

impl Status {
    /// The status for people. `now_unix_ms` says how long the certificate still lives.
    pub fn table(&self, now_unix_ms: u64) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<12} {value}");
        };
        row("node", &format!("{} of site {}", self.node, self.site));
        row("version", &self.version);
        match &self.assignment {
            None => row("assignment", "none yet"),
            Some(told) => {
                let role = told.role.as_deref().unwrap_or("none");
                row("assignment", &format!("{} (role {role})", told.id));
            }
        }
        match (&self.session, &self.session_problem) {
            (Some(coordinator), _) => row("coordinator", coordinator),
            (None, Some(problem)) => row("coordinator", &format!("none: {problem}")),
            (None, None) => row("coordinator", "none yet"),
        }
        row("certificate", &self.certificate.left(now_unix_ms));
        match self.key_ring_version {
            0 => row("gossip keys", "none yet"),
            version => row("gossip keys", &format!("version {version}")),
        }
        match self.clock_offset_ms {
            None => row("clock", "not compared yet"),
            Some(ms) => row("clock", &format!("{ms:+} ms against its peers")),
        }
        match self.failed_units.as_deref() {
            None => row("failed units", "not known"),
            Some([]) => row("failed units", "none"),
            Some(units) => row("failed units", &units.join(", ")),
        }
        if let Some(problem) = &self.state_problem {
            row("state", problem);
        }
        if let Some(unfit) = &self.claims.unfit {
            row("holder", unfit);
        }
        if let Some(database) = &self.database {
            row("database", database);
        }
        for (claim, view) in &self.claims.claims {
            row(claim.as_str(), &view.line());
        }
        let alive = self.peers.iter().filter(|peer| peer.alive).count();
        row("peers", &format!("{alive} of {} alive", self.peers.len()));
        for peer in &self.peers {
            let state = if peer.alive { "alive" } else { "dead" };
            let role = peer.role.as_deref().unwrap_or("-");
            let version = peer.version.as_deref().unwrap_or("-");
            let _ = writeln!(text, "  {:<24}{state:<7}{role:<16}{version}", peer.node);
        }
        text
    }
}

impl Certificate {
    fn left(&self, now_unix_ms: u64) -> String {
        match self.expires_unix_ms.checked_sub(now_unix_ms) {
            None => "expired; `coordctl node re-enrol NODE` lets the node back in".to_owned(),
            Some(left_ms) => {
                let minutes = left_ms / 60_000;
                let (days, hours) = (minutes / 1440, minutes / 60 % 24);
                format!("valid for {days} d {hours} h {} min", minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::report::{ClaimView, Part};

    fn status() -> Status {
        Status {
            node: "node-2".to_owned(),
            site: "thirteen".to_owned(),
            version: "0.1.0".to_owned(),
            started_unix_ms: 1,
            certificate: Certificate {
                serial: "0a".to_owned(),
                expires_unix_ms: 604_800_000,
            },
            assignment: Some(Told {
                id: "1.7".into(),
                role: Some("k8s-worker".into()),
                members: 3,
            }),
            key_ring_version: 2,
            session: None,
            session_problem: Some("192.168.56.31:7443: connection refused".to_owned()),
            state_problem: Some("cannot write assignment.json: no space left".to_owned()),
            clock_offset_ms: Some(-3),
            failed_units: Some(vec!["nginx.service".to_owned()]),
            database: Some("replica".to_owned()),
            claims: claims(),
            peers: vec![
                PeerStatus {
                    node: "control-1".to_owned(),
                    alive: true,
                    version: Some("0.1.0".to_owned()),
                    role: Some("k8s-control".to_owned()),
                },
                PeerStatus {
                    node: "node-1".to_owned(),
                    alive: false,
                    version: None,
                    role: None,
                },
            ],
        }
    }

    fn claims() -> Report {
        let view = |part, grant: Option<&str>, why: &str| ClaimView {
            part,
            addresses: vec![[192, 168, 30, 130].into()],
            grant: grant.map(str::to_owned),
            promised_to: None,
            health: if why.is_empty() { "healthy" } else { "failed" }.to_owned(),
            health_reason: why.to_owned(),
            duplicate_macs: vec![],
        };
        let unable = ClaimView {
            duplicate_macs: vec!["02:00:00:00:00:01".to_owned()],
            ..view(Part::Unable, None, "the fence is not loaded")
        };
        let claim = |name: &str| name.parse().expect("a claim");
        let held = view(Part::Holding, Some("1.4#7"), "");
        Report {
            claims: [(claim("vip/a"), unable), (claim("vip/edge"), held)].into(),
            unfit: Some("memory locked, no raised priority".to_owned()),
            unanswered: false,
        }
    }

    #[test]
    fn the_screen_for_people_shows_everything_and_what_is_wrong_in_words() {
        let expected = "\
node         node-2 of site thirteen
version      0.1.0
assignment   1.7 (role k8s-worker)
coordinator  none: 192.168.56.31:7443: connection refused
certificate  valid for 6 d 23 h 58 min
gossip keys  version 2
clock        -3 ms against its peers
failed units nginx.service
state        cannot write assignment.json: no space left
holder       memory locked, no raised priority
database     replica
vip/a        unable, failed (the fence is not loaded), ALSO ANSWERED BY 02:00:00:00:00:01
vip/edge     holding under 1.4#7, healthy
peers        1 of 2 alive
  control-1               alive  k8s-control     0.1.0
  node-1                  dead   -               -
";
        assert_eq!(status().table(120_000), expected);
    }

    #[test]
    fn an_expired_certificate_says_what_to_do() {
        let table = status().table(604_800_001);
        assert!(
            table.contains("expired; `coordctl node re-enrol NODE`"),
            "{table}"
        );
    }

    #[test]
    fn the_json_is_read_back_unchanged() {
        let text = serde_json::to_string(&status()).expect("serialisable");
        assert_eq!(
            serde_json::from_str::<Status>(&text).expect("readable"),
            status()
        );
    }
}
