//! The site as a whole, and what is wrong with it.

use hamesh_proto::v1;
use serde::Serialize;

use super::{
    BackupsView, ClaimView, EventView, GenerationView, NodeView, PartView, ServiceCertificateView,
    State,
};
use crate::ctl::time::{Moment, span};

/// The whole site.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// The site's name.
    pub site: String,
    /// Who answers.
    pub coordinator: CoordinatorView,
    /// Every coordinator of the site.
    pub coordinators: Vec<PartView>,
    /// The coordinator's clock.
    pub now: Moment,
    /// The desired state.
    pub desired: Option<GenerationView>,
    /// Number of this start of the coordinator.
    pub epoch: u64,
    /// Version of the gossip keys.
    pub key_ring_version: u64,
    /// When the site's CA expires.
    pub ca_expires: Option<Moment>,
    /// The coordinator's store.
    pub store: StoreView,
    /// Every node of the site.
    pub nodes: Vec<NodeView>,
    /// Every claim.
    pub claims: Vec<ClaimView>,
    /// How the scheduled backups go, if the document asks for some.
    pub backups: Option<BackupsView>,
    /// Certificates that operators gave and the site's roles need.
    pub given_certificates: Vec<ServiceCertificateView>,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
    /// The newest events, the oldest first.
    pub last_events: Vec<EventView>,
}

/// The coordinator that answers.
#[derive(Debug, Clone, Serialize)]
pub struct CoordinatorView {
    /// Its node.
    pub node: String,
    /// Its version.
    pub version: String,
}

/// The store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreView {
    /// Whether it takes writes.
    pub healthy: bool,
    /// In the store's own words, when it is not.
    pub problem: Option<String>,
    /// Version of the store's program.
    pub version: String,
    /// Its size on disk.
    pub size_bytes: u64,
    /// How many members it has.
    pub members: u32,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work, if nothing is done.
    Warning,
    /// Worth knowing.
    Notice,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// A node's name, "store" or "site".
    pub subject: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub next: String,
}

impl From<v1::SiteStatus> for StatusView {
    fn from(status: v1::SiteStatus) -> Self {
        let store = status.store.unwrap_or_default();
        let mut view = StatusView {
            site: status.site,
            coordinator: CoordinatorView {
                node: status.coordinator,
                version: status.coordinator_version,
            },
            coordinators: status
                .coordinators
                .into_iter()
                .map(PartView::from)
                .collect(),
            now: Moment::of(status.now_unix_ms).unwrap_or_else(Moment::now),
            desired: status.desired.map(GenerationView::from),
            epoch: status.epoch,
            key_ring_version: status.key_ring_version,
            ca_expires: Moment::of(status.ca_expires_unix_ms),
            store: StoreView {
                healthy: store.healthy,
                problem: super::some_text(store.problem),
                version: store.version,
                size_bytes: store.size_bytes,
                members: store.members,
            },
            nodes: status.nodes.into_iter().map(NodeView::from).collect(),
            claims: status.claims.into_iter().map(ClaimView::from).collect(),
            backups: status.backups.map(BackupsView::from),
            given_certificates: status
                .given_certificates
                .into_iter()
                .map(ServiceCertificateView::from)
                .collect(),
            problems: Vec::new(),
            last_events: status
                .last_events
                .into_iter()
                .map(EventView::from)
                .collect(),
        };
        view.problems = problems(&view);
        view
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// An agent renews at two thirds of seven days: with less than this left, renewal does not work.
const CERTIFICATE_LATE_MS: u64 = 2 * DAY_MS;
/// A CA is made for ten years, and a new one must be everywhere before the old one ends.
const CA_LATE_MS: u64 = 180 * DAY_MS;
/// Certificates and tokens are valid by the clock, from three hours before they are made.
const CLOCK_OFFSET_MS: u64 = 500;
/// Below this share of a disk or of the memory, programs begin to fail.
const LEAST_FREE_PERCENT: u64 = 10;

/// What is wrong with the site, the worst first, by node.
pub fn problems(status: &StatusView) -> Vec<Problem> {
    let mut found = Vec::new();
    if !status.store.healthy {
        let why = status
            .store
            .problem
            .as_deref()
            .unwrap_or("it does not say why");
        let next = "on the coordinator: systemctl status hamesh-store; journalctl -u hamesh-store";
        found.push(problem(
            Severity::Error,
            "store",
            format!("does not work: {why}"),
            next,
        ));
    }
    if let Some(expires) = status
        .ca_expires
        .filter(|at| at.0 < status.now.0 + CA_LATE_MS)
    {
        let text = format!("the CA expires: {}", expires.left(status.now));
        found.push(problem(
            Severity::Warning,
            "site",
            text,
            "rotate the CA before it does",
        ));
    }
    found.extend(
        status
            .backups
            .as_ref()
            .and_then(|it| backups(it, status.now)),
    );
    for certificate in &status.given_certificates {
        found.extend(super::roles::given(certificate, status.now));
    }
    for claim in &status.claims {
        super::claims::problems(claim, &mut found);
    }
    for node in &status.nodes {
        if node.drained {
            let text = "is drained: it is to hold nothing".to_owned();
            let next = format!("coordctl undrain {}", node.name);
            found.push(problem(Severity::Notice, &node.name, text, next));
        }
        presence(node, status, &mut found);
        certificate(node, status.now, &mut found);
        if node.state != State::Dead {
            health(node, &mut found);
            agreement(node, status, &mut found);
            super::roles::problems(node, status.now, &mut found);
        }
    }
    // What concerns everything comes before what concerns one node.
    found.sort_by_cached_key(|p| {
        (
            p.severity,
            !matches!(p.subject.as_str(), "store" | "site"),
            p.clone(),
        )
    });
    found
}

fn backups(backups: &BackupsView, now: Moment) -> Option<Problem> {
    let why = backups.problem.as_deref();
    if !backups.overdue && why.is_none() {
        return None;
    }
    let last = backups
        .last
        .map_or("there is no backup yet".to_owned(), |at| {
            format!("the last backup is {} old", at.ago(now))
        });
    let text = why.map_or(last.clone(), |why| format!("{last}: {why}"));
    let next =
        "coordctl events --last 50, and on the coordinator: journalctl -u hamesh-coordinator";
    Some(problem(Severity::Warning, "site", text, next))
}

pub(super) fn problem(
    severity: Severity,
    subject: &str,
    text: String,
    next: impl Into<String>,
) -> Problem {
    Problem {
        severity,
        subject: subject.to_owned(),
        text,
        next: next.into(),
    }
}

fn presence(node: &NodeView, status: &StatusView, found: &mut Vec<Problem>) {
    let name = &node.name;
    let since = node
        .state_since
        .map(|since| format!(" for {}", since.ago(status.now)));
    let since = since.unwrap_or_default();
    let because = if node.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", node.reason)
    };
    let text = format!("{}{since}{because}", node.state);
    let (severity, next) = match node.state {
        State::Alive => return,
        State::NotEnrolled => (Severity::Notice, format!("coordctl token create {name}")),
        State::Suspect => (Severity::Warning, format!("coordctl node show {name}")),
        State::Dead => (
            Severity::Error,
            format!("look at the machine: journalctl -u hamesh-agent on {name}"),
        ),
        State::Unknown => (
            Severity::Warning,
            format!("check that {name} is up and reaches the coordinator"),
        ),
    };
    let text = if node.state == State::NotEnrolled {
        "is not enrolled".to_owned()
    } else {
        text
    };
    found.push(problem(severity, name, text, next));
}

fn certificate(node: &NodeView, now: Moment, found: &mut Vec<Problem>) {
    let name = &node.name;
    if let Some(until) = node.re_enrol_open_until.filter(|until| until.0 > now.0) {
        let text = format!("may renew an expired certificate for {}", until.left(now));
        let next = format!("it asks by itself; to hurry it, on {name}: hamesh-agent re-enroll");
        found.push(problem(Severity::Notice, name, text, next));
    }
    let Some(expires) = node.certificate_expires else {
        return;
    };
    if expires.0 <= now.0 {
        let text = format!("its certificate expired {} ago", span(now.0 - expires.0));
        let next = format!("coordctl node re-enrol {name}");
        found.push(problem(Severity::Error, name, text, next));
    } else if expires.0 < now.0 + CERTIFICATE_LATE_MS {
        let text = format!(
            "its certificate expires in {}, renewal is late",
            expires.left(now)
        );
        let next = format!("journalctl -u hamesh-agent on {name}");
        found.push(problem(Severity::Warning, name, text, next));
    }
}

fn health(node: &NodeView, found: &mut Vec<Problem>) {
    let name = &node.name;
    let Some(health) = &node.health else { return };
    if !health.failed_units.is_empty() {
        let text = format!("failed units: {}", health.failed_units.join(", "));
        let next = format!("systemctl --failed on {name}");
        found.push(problem(Severity::Error, name, text, next));
    }
    if let Some(why) = &health.units_unknown {
        let text = format!("its failed units are not known: {why}");
        let next = format!("journalctl -u hamesh-agent on {name}");
        found.push(problem(Severity::Warning, name, text, next));
    }
    for disk in &health.disks {
        if scarce(disk.available_bytes, disk.total_bytes) {
            let text = format!("{} is almost full", disk.mount);
            found.push(problem(
                Severity::Warning,
                name,
                text,
                format!("free space on {name}"),
            ));
        }
    }
    if scarce(health.memory_available_bytes, health.memory_total_bytes) {
        let next = format!("see what uses it: top on {name}");
        found.push(problem(
            Severity::Warning,
            name,
            "is short of memory".to_owned(),
            next,
        ));
    }
    if let Some(offset) = health
        .clock_offset_ms
        .filter(|ms| ms.unsigned_abs() > CLOCK_OFFSET_MS)
    {
        let text = format!("its clock is {offset:+} ms off its peers'");
        found.push(problem(
            Severity::Warning,
            name,
            text,
            format!("timedatectl on {name}"),
        ));
    }
}

fn agreement(node: &NodeView, status: &StatusView, found: &mut Vec<Problem>) {
    let name = &node.name;
    if node.state == State::Alive && node.applied != status.desired {
        let text = match (node.applied, status.desired) {
            (Some(applied), Some(desired)) => {
                format!(
                    "is at generation {}, not {}",
                    applied.generation, desired.generation
                )
            }
            (Some(_), None) | (None, _) => "has no assignment yet".to_owned(),
        };
        let next = format!("journalctl -u hamesh-agent on {name}");
        found.push(problem(Severity::Warning, name, text, next));
    }
    if let Some(version) = node
        .version
        .as_ref()
        .filter(|v| **v != status.coordinator.version)
    {
        let text = format!(
            "runs {version}, the coordinator {}",
            status.coordinator.version
        );
        found.push(problem(
            Severity::Notice,
            name,
            text,
            "upgrade the older one",
        ));
    }
}

fn scarce(available: u64, total: u64) -> bool {
    total > 0 && u128::from(available) * 100 < u128::from(total) * u128::from(LEAST_FREE_PERCENT)
}
