//! How a node is with its role, and what a plan means on nodes.

use hamesh_proto::v1;
use serde::Serialize;

use super::status::problem;
use super::{NodeView, Problem, Severity, some_text};
use crate::ctl::time::Moment;

/// Where a node is with its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// It has all of it, and that was seen to work.
    AsWanted,
    /// Its turn has not come, or something is needed first.
    Waits,
    /// Steps are being taken.
    Applying,
    /// It could not be had.
    Failed,
    /// Its agent has no session.
    Away,
    /// It is only looked at.
    Observed,
}

impl Place {
    /// As screens name it.
    pub const fn name(self) -> &'static str {
        match self {
            Place::AsWanted => "as wanted",
            Place::Waits => "waits",
            Place::Applying => "applying",
            Place::Failed => "failed",
            Place::Away => "away",
            Place::Observed => "observed",
        }
    }
}

/// How one node is with its role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleStateView {
    /// The node.
    pub node: String,
    /// The role; `None`: what an earlier one made is to go.
    pub role: Option<String>,
    /// Where it is.
    pub place: Place,
    /// Why, if there is more to say.
    pub reason: Option<String>,
    /// The step that is being taken.
    pub step: Option<String>,
    /// Which step of how many.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Since the first step.
    pub elapsed_ms: u64,
    /// What the program at fault said last.
    pub said: Vec<String>,
    /// What is not as the role has it, and stays so.
    pub drift: Vec<String>,
    /// What could not be looked at, and why.
    pub unknown: Vec<String>,
    /// How often something that had drifted was put right since its executor started.
    pub corrected: u64,
    /// How many orders its executor did not believe since it started.
    pub refused: u64,
    /// Why it did not believe the last of them.
    pub refusal: Option<String>,
    /// The certificates of its services.
    pub certificates: Vec<ServiceCertificateView>,
}

impl RoleStateView {
    /// That its executor did not believe orders, and why.
    pub fn refusals(&self) -> Option<String> {
        let (count, why) = (self.refused, self.refusal.as_ref()?);
        Some(match count {
            1 => format!("refused an order: {why}"),
            count => format!("refused {count} orders, the last one: {why}"),
        })
    }
}

/// A certificate of a service.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceCertificateView {
    /// Names it on the node.
    pub name: String,
    /// When it runs out.
    pub expires: Option<Moment>,
}

/// What a plan means on one node.
#[derive(Debug, Clone, Serialize)]
pub struct NodePlanView {
    /// The node.
    pub node: String,
    /// What it would do, in this order.
    pub steps: Vec<NodeStepView>,
    /// What could not be looked at, and why.
    pub unknown: Vec<String>,
    /// Why it is not known what it would do.
    pub problem: Option<String>,
    /// What is there already, as desired.
    pub as_is: Vec<String>,
    /// What files that are replaced say, and those of the role do not.
    pub lost: Vec<String>,
    /// What served before and stands in the way, where addresses are not hamesh's yet.
    pub in_the_way: Vec<String>,
}

/// What taking a node over means on it, as far as the next stage goes.
#[derive(Debug, Clone, Serialize)]
pub struct AdoptionView {
    /// The node.
    pub node: String,
    /// What it is taken over as.
    pub role: String,
    /// What is done next.
    pub next: String,
    /// What that means on the node; `None`: it has all of it.
    pub plan: Option<NodePlanView>,
}

/// One step on a node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStepView {
    /// "write file /etc/haproxy/haproxy.cfg: differs in content"
    pub text: String,
    /// The change of a file, line by line.
    pub change: Vec<String>,
}

/// What a role needs and nobody may see.
#[derive(Debug, Clone, Serialize)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Rises with each new value; 0: it has none.
    pub version: u64,
    /// When the present value was set.
    pub set: Option<Moment>,
    /// Who set it.
    pub set_by: Option<String>,
    /// Whether the site makes it by itself.
    pub generated: bool,
    /// Whether a role needs it.
    pub needed: bool,
    /// Of a certificate: when it runs out.
    pub expires: Option<Moment>,
}

/// A service certificate is renewed when a third of its thirty days is left.
const CERTIFICATE_LATE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// One that operators gave: its issuer may take days.
const GIVEN_LATE_MS: u64 = 14 * 24 * 60 * 60 * 1000;

/// What is wrong with a node's role.
pub(super) fn problems(node: &NodeView, now: Moment, found: &mut Vec<Problem>) {
    let (name, Some(state)) = (&node.name, &node.role_state) else {
        return;
    };
    let look = format!("coordctl node show {name}");
    let reason = state.reason.as_deref().unwrap_or("it does not say why");
    match state.place {
        Place::Failed => {
            let text = format!("its role failed: {reason}");
            let next = format!("mend that, then `coordctl role retry {name}`");
            found.push(problem(Severity::Error, name, text, next));
        }
        Place::Waits => {
            let text = format!("its role waits: {reason}");
            let next = "coordctl role status".to_owned();
            found.push(problem(Severity::Warning, name, text, next));
        }
        Place::AsWanted | Place::Observed | Place::Applying | Place::Away => {}
    }
    if let (Some(first), false) = (state.drift.first(), state.place == Place::Applying) {
        let text = match state.drift.len() {
            1 => format!("is not as its role has it: {first}"),
            count => format!("is not as its role has it: {first}, and {} more", count - 1),
        };
        found.push(problem(Severity::Warning, name, text, look.clone()));
    }
    if let Some(text) = state.refusals() {
        let next = format!("journalctl -u hamesh-apply on {name}");
        found.push(problem(Severity::Error, name, text, next));
    }
    if let Some(first) = state.unknown.first() {
        let text = format!("part of its role could not be looked at: {first}");
        found.push(problem(Severity::Warning, name, text, look));
    }
    for certificate in &state.certificates {
        let late = |at: &Moment| at.0 < now.0 + CERTIFICATE_LATE_MS;
        if let Some(at) = certificate.expires.filter(late) {
            let text = format!("the certificate {}: {}", certificate.name, expiry(at, now));
            let next = format!("journalctl -u hamesh-apply on {name}");
            found.push(problem(Severity::Warning, name, text, next));
        }
    }
}

/// What is wrong with a certificate that operators gave.
pub(super) fn given(certificate: &ServiceCertificateView, now: Moment) -> Option<Problem> {
    let late = |at: &Moment| at.0 < now.0 + GIVEN_LATE_MS;
    let at = certificate.expires.filter(late)?;
    let name = &certificate.name;
    let (severity, text) = match at.left(now).as_str() {
        "expired" => (Severity::Error, format!("{name} has expired")),
        left => (Severity::Warning, format!("{name} expires in {left}")),
    };
    let next = "get another from its issuer, then `coordctl certificate set edge-proxy --file PEM`";
    Some(problem(severity, "site", text, next))
}

fn expiry(at: Moment, now: Moment) -> String {
    match at.left(now).as_str() {
        "expired" => "it has expired".to_owned(),
        left => format!("it expires in {left}, renewal is late"),
    }
}

impl From<v1::NodeRole> for RoleStateView {
    fn from(state: v1::NodeRole) -> Self {
        let place = match state.place() {
            v1::RolePlace::AsWanted => Place::AsWanted,
            v1::RolePlace::Waits | v1::RolePlace::Unspecified => Place::Waits,
            v1::RolePlace::Applying => Place::Applying,
            v1::RolePlace::Failed => Place::Failed,
            v1::RolePlace::Away => Place::Away,
            v1::RolePlace::Observed => Place::Observed,
        };
        let report = state.report.unwrap_or_default();
        let certificates = report.certificates.into_iter();
        let refused = report.refused.unwrap_or_default();
        RoleStateView {
            node: state.node,
            role: some_text(state.role),
            place,
            reason: some_text(state.reason),
            step: some_text(report.step),
            number: report.number,
            of: report.of,
            elapsed_ms: report.elapsed_ms,
            said: report.said,
            drift: report.drift.into_iter().map(|step| step.text).collect(),
            unknown: report.unknown,
            corrected: report.corrected,
            refused: refused.count,
            refusal: some_text(refused.why),
            certificates: certificates.map(ServiceCertificateView::from).collect(),
        }
    }
}

impl From<v1::ServiceCertificate> for ServiceCertificateView {
    fn from(certificate: v1::ServiceCertificate) -> Self {
        Self {
            name: certificate.name,
            expires: Moment::of(certificate.expires_unix_ms),
        }
    }
}

impl From<v1::NodePlan> for NodePlanView {
    fn from(plan: v1::NodePlan) -> Self {
        let v1::RolePlan {
            steps,
            unknown,
            problem,
            as_is,
            lost,
            in_the_way,
            id: _,
        } = plan.plan.unwrap_or_default();
        let steps = steps.into_iter().map(|step| NodeStepView {
            text: step.text,
            change: step.change,
        });
        NodePlanView {
            node: plan.node,
            steps: steps.collect(),
            unknown,
            problem: some_text(problem),
            as_is,
            lost,
            in_the_way,
        }
    }
}

impl From<v1::Secret> for SecretView {
    fn from(secret: v1::Secret) -> Self {
        SecretView {
            name: secret.name,
            version: secret.version,
            set: Moment::of(secret.set_unix_ms),
            set_by: some_text(secret.set_by),
            generated: secret.generated,
            needed: secret.needed,
            expires: Moment::of(secret.expires_unix_ms),
        }
    }
}
