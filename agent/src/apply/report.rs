//! What the executor says of itself, as it changes.

use std::time::Duration;

use hamesh_proto::v1;
use hamesh_roles::Role;
use hamesh_roles::engine::{Action, Desired, Plan, Resource, Step};
use tokio::sync::watch;
use tokio::time::Instant;

use super::decide::{Good, Order, Verdict};
use super::store::Store;
use super::trouble::Trouble;

/// The most steps of a plan that a report has: more than a role has resources.
const MOST_STEPS: usize = 500;
/// The most steps of drift that a report names, and what could not be looked at.
const MOST_DRIFT: usize = 50;

/// How the node is with its order, as far as it is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Its phase.
    pub phase: v1::RolePhase,
    /// The step that is being taken.
    pub step: Option<Progress>,
    /// Why something failed.
    pub trouble: Option<Trouble>,
    /// What differs and is not put right at present.
    pub drift: Vec<v1::RoleStep>,
    /// What could not be looked at.
    pub unknown: Vec<String>,
}

/// Where a run of steps has got to.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The step in words.
    pub text: String,
    /// Which one, from one.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// Since the first of them.
    pub elapsed: Duration,
}

/// Tells whoever listens.
#[derive(Debug)]
pub struct Reporter {
    told: watch::Sender<v1::RoleReport>,
    store: Store,
    /// How often drift was put right.
    pub corrected: u64,
    /// The newest order, if it could not be read: it is told of then, not the one in force.
    pub unread: Option<(v1::RoleOrder, String)>,
    /// The role of the newest order that was seen to work.
    pub worked_as: Option<Role>,
}

impl Reporter {
    /// Tells through `told`.
    pub fn new(told: watch::Sender<v1::RoleReport>, store: Store) -> Self {
        Self {
            told,
            store,
            corrected: 0,
            unread: None,
            worked_as: None,
        }
    }

    /// Tells how things stand with `order`, if that is news.
    pub fn tell(&self, order: Option<&Order>, standing: Standing) {
        let mut report = v1::RoleReport {
            corrected: self.corrected,
            worked_as: name(self.worked_as),
            unknown: standing.unknown.into_iter().take(MOST_DRIFT).collect(),
            drift: standing.drift.into_iter().take(MOST_DRIFT).collect(),
            ..v1::RoleReport::default()
        };
        report.set_phase(standing.phase);
        if let Some(order) = order {
            report.digest = order.digest.to_string();
            report.attempt = order.attempt;
            report.assignment = Some(order.assignment.into());
            report.certificates = self.certificates(order);
        }
        if let Some(step) = standing.step {
            report.step = step.text;
            report.number = u32::try_from(step.number).unwrap_or(u32::MAX);
            report.of = u32::try_from(step.of).unwrap_or(u32::MAX);
            report.elapsed_ms = u64::try_from(step.elapsed.as_millis()).unwrap_or(u64::MAX);
        }
        if let Some(trouble) = standing.trouble {
            report.problem = trouble.problem;
            report.said = trouble.said;
        }
        if let Some((unread, why)) = &self.unread {
            report.digest.clone_from(&unread.digest);
            report.attempt = unread.attempt;
            report.assignment = unread.assignment;
            report.problem.clone_from(why);
            report.said = Vec::new();
            report.set_phase(v1::RolePhase::Failed);
        }
        self.told.send_if_modified(|known| {
            let news = *known != report;
            *known = report;
            news
        });
    }

    fn certificates(&self, order: &Order) -> Vec<v1::ServiceCertificate> {
        let notes = self.store.certificates().unwrap_or_default();
        let resources = order.desired.resources.iter();
        let wanted = resources.filter_map(|resource| match resource {
            Resource::Certificate(it) => Some(v1::ServiceCertificate {
                name: it.name.clone(),
                expires_unix_ms: notes.get(&it.name)?.expires_unix_ms,
            }),
            _ => None,
        });
        wanted.collect()
    }
}

impl Standing {
    /// Nothing is to be done: what was decided about the order.
    pub fn at_rest(verdict: Option<&Verdict>, plan: &Plan) -> Self {
        let (phase, trouble) = match verdict {
            Some(verdict) => (v1::RolePhase::Failed, Some(verdict.trouble.clone())),
            None => (v1::RolePhase::Done, None),
        };
        Self {
            phase,
            trouble,
            unknown: unknown(plan),
            ..Self::default()
        }
    }

    /// A step is being taken.
    pub fn taking(
        verdict: Option<&Verdict>,
        plan: &Plan,
        (n, step, begun): (usize, &Step, Instant),
    ) -> Self {
        let phase = match verdict {
            Some(_) => v1::RolePhase::Failed,
            None => v1::RolePhase::Applying,
        };
        let progress = Progress {
            text: step.to_string(),
            number: n + 1,
            of: plan.steps.len(),
            elapsed: begun.elapsed(),
        };
        Self {
            phase,
            step: Some(progress),
            ..Self::at_rest(verdict, plan)
        }
    }

    /// Nothing may be changed.
    pub fn observing(plan: &Plan) -> Self {
        Self {
            phase: v1::RolePhase::Observing,
            drift: differences(plan),
            unknown: unknown(plan),
            ..Self::default()
        }
    }

    /// What worked before does not get right: it is tried again after a pause.
    pub fn retrying(verdict: Option<&Verdict>, plan: &Plan, trouble: Trouble) -> Self {
        let at_rest = Self::at_rest(verdict, plan);
        let phase = match verdict {
            Some(_) => v1::RolePhase::Failed,
            None => v1::RolePhase::Applying,
        };
        Self {
            phase,
            // Why the order failed matters more than why what was before it does not come back.
            trouble: at_rest.trouble.clone().or(Some(trouble)),
            drift: differences(plan),
            ..at_rest
        }
    }
}

/// What is told before the first look. Without it a coordinator would take a machine whose executor
/// has just started for one that never worked.
pub fn unseen(good: Option<&Good>) -> v1::RoleReport {
    v1::RoleReport {
        worked_as: name(role_of(good)),
        ..v1::RoleReport::default()
    }
}

/// The role of what was seen to work.
pub fn role_of(good: Option<&Good>) -> Option<Role> {
    good.and_then(|good| good.desired.role)
}

fn name(role: Option<Role>) -> String {
    role.map_or("", Role::name).to_owned()
}

/// The plan as the answer to a question.
pub fn answer(id: String, plan: &Plan, desired: &Desired) -> v1::RolePlan {
    let steps = plan.steps.iter().take(MOST_STEPS).map(told);
    v1::RolePlan {
        id,
        steps: steps.collect(),
        unknown: unknown(plan),
        as_is: plan.as_is(desired).map(|it| it.id().to_string()).collect(),
        ..v1::RolePlan::default()
    }
}

/// Nothing but how it differs: to prove it is no difference.
fn differences(plan: &Plan) -> Vec<v1::RoleStep> {
    let steps = plan.steps.iter();
    let changing = steps.filter(|step| !matches!(step.action, Action::Prove(_)));
    changing.map(told).collect()
}

fn told(step: &Step) -> v1::RoleStep {
    v1::RoleStep {
        text: step.to_string(),
        change: step.change.clone(),
    }
}

fn unknown(plan: &Plan) -> Vec<String> {
    let unknown = plan.unknown.iter();
    unknown.map(|(id, why)| format!("{id}: {why}")).collect()
}
