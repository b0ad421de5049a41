//! `site`, `apply` and `assign`: the desired state.

use std::path::Path;

use hamesh_proto::v1;
use hamesh_roles::Site;
use hamesh_roles::diagnostic::did_you_mean;

use super::{Session, prompt, refused};
use crate::ctl::cli::{Apply, Assign, Consent, NO_ROLE};
use crate::ctl::failure::{Failure, plural};
use crate::ctl::link::{Client, request};
use crate::ctl::screens;
use crate::ctl::views::{AppliedView, GenerationView, PlanView, SiteView};

/// The largest site document that is read, the same as the parser's bound.
const LARGEST_DOCUMENT: u64 = 1 << 20;

/// `site`
pub async fn show(session: &Session) -> Result<(), Failure> {
    let view = stored(&mut session.link().await?.client).await?;
    session.output.show(&view, |_| view.document.clone())
}

/// `apply`
pub async fn apply(session: &Session, options: &Apply) -> Result<(), Failure> {
    let yaml = read_document(&options.file)?;
    let mut client = session.link().await?.client;
    let asked = v1::PlanSiteRequest { yaml: yaml.clone() };
    let plan = client.plan_site(request(asked)).await;
    let Some((plan, base)) = agreed(session, plan, options.consent)? else {
        return Ok(());
    };
    let asked = v1::ApplySiteRequest { yaml, base };
    let applied = tell(session, plan, client.apply_site(request(asked)).await)?;
    settle(session, options.no_wait, applied).await
}

/// `assign`
pub async fn assign(session: &Session, options: &Assign) -> Result<(), Failure> {
    if options.purge_data && options.role != NO_ROLE {
        return Err(Failure::invalid(
            "--purge-data removes the data of a role that goes",
            "use it with the role `none`; nothing was changed",
        ));
    }
    let mut client = session.link().await?.client;
    check_node(&options.node, &stored(&mut client).await?)?;
    let node = options.node.clone();
    let role = if options.role == NO_ROLE {
        String::new()
    } else {
        options.role.clone()
    };
    let asked = v1::PlanAssignRequest {
        node: node.clone(),
        role: role.clone(),
        purge_data: options.purge_data,
    };
    let plan = client.plan_assign(request(asked)).await;
    let Some((plan, base)) = agreed(session, plan, options.consent)? else {
        return Ok(());
    };
    let asked = v1::AssignRequest {
        node,
        role,
        base,
        purge_data: options.purge_data,
    };
    let applied = tell(session, plan, client.assign(request(asked)).await)?;
    settle(session, options.no_wait, applied).await
}

/// Follows the nodes until they have what was applied. A program that reads documents has had its
/// document, and is told by the exit code.
async fn settle(session: &Session, no_wait: bool, applied: v1::Applied) -> Result<(), Failure> {
    if no_wait {
        return Ok(());
    }
    let tell = !session.for_programs();
    super::roles::follow(session, session.link().await?, applied.id, tell).await
}

/// A document that is valid; what is doubtful in it is told on standard error.
pub fn read_document(path: &Path) -> Result<String, Failure> {
    let invalid = |error: std::io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::invalid(message, "name a site document; nothing was changed")
    };
    if std::fs::metadata(path).map_err(invalid)?.len() > LARGEST_DOCUMENT {
        let message = format!("{} has more than {LARGEST_DOCUMENT} bytes", path.display());
        return Err(Failure::invalid(
            message,
            "name a site document; nothing was changed",
        ));
    }
    let yaml = std::fs::read_to_string(path).map_err(invalid)?;
    let file = path.display().to_string();
    let examined = Site::examine(&yaml);
    match examined.site {
        Ok(_) => {
            for warning in &examined.warnings {
                eprintln!("warning: {}", warning.in_file(&file));
            }
            Ok(yaml)
        }
        Err(faults) => Err(Failure::Document { file, faults }),
    }
}

/// The node must be in the document: the nearest name is told here, before anything is planned.
pub fn check_node(name: &str, site: &SiteView) -> Result<(), Failure> {
    let Ok(site) = Site::parse(&site.document) else {
        // Another version's document: the coordinator knows better.
        return Ok(());
    };
    if site.nodes.keys().any(|node| node.as_ref() == name) {
        return Ok(());
    }
    let next = did_you_mean(name, site.nodes.keys().map(AsRef::as_ref));
    let next = next.unwrap_or_else(|| "`coordctl nodes` lists them".to_owned());
    Err(Failure::invalid(
        format!("the site has no node `{name}`"),
        next,
    ))
}

/// The document as the coordinator holds it.
pub async fn stored(client: &mut Client) -> Result<SiteView, Failure> {
    let site = client
        .read_site(request(v1::ReadSiteRequest {}))
        .await
        .map_err(refused)?;
    Ok(SiteView::from(site.into_inner()))
}

type Answer<T> = Result<tonic::Response<T>, tonic::Status>;

/// Shows the plan; gives it back, with what it was made on, if it is to be carried out.
fn agreed(
    session: &Session,
    plan: Answer<v1::Plan>,
    consent: Consent,
) -> Result<Option<(PlanView, Option<v1::AssignmentId>)>, Failure> {
    let plan = plan.map_err(refused)?.into_inner();
    let base = plan.base;
    let plan = PlanView::from(plan);
    if !session.for_programs() {
        session
            .output
            .show(&plan, |look| screens::plan(&plan, look))?;
    }
    let count = plan.steps.len();
    if consent.dry_run || count == 0 {
        if session.for_programs() {
            let desired = plan.base;
            session.output.show(
                &AppliedView {
                    plan,
                    changed: false,
                    desired,
                },
                |_| String::new(),
            )?;
        } else if consent.dry_run && count > 0 {
            session
                .output
                .tell("This was a dry run: nothing was changed.")?;
        }
        return Ok(None);
    }
    if !consent.yes {
        prompt::confirmed(&format!("Carry out {count} change{}?", plural(count)))?;
    }
    Ok(Some((plan, base)))
}

fn tell(
    session: &Session,
    plan: PlanView,
    applied: Answer<v1::Applied>,
) -> Result<v1::Applied, Failure> {
    let applied = applied.map_err(refused)?.into_inner();
    let desired = applied.id.map(GenerationView::from);
    let view = AppliedView {
        plan,
        changed: applied.changed,
        desired,
    };
    session.output.show(&view, |_| {
        let generation = desired.map_or("unknown".to_owned(), |id| id.generation.to_string());
        if applied.changed {
            format!("The site is at generation {generation}. `coordctl status` shows who has it.\n")
        } else {
            format!("Nothing was changed: the site is at generation {generation}.\n")
        }
    })?;
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::failure::{Exit, Told};

    #[test]
    fn a_faulty_document_is_refused_with_every_fault_and_exit_code_two() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("site.yaml");
        std::fs::write(&path, "site: a\nnetworks: {}\nnodse: {}\n").expect("written");
        let failure = read_document(&path).expect_err("faults");
        assert_eq!(failure.exit(), Exit::Invalid);
        let told = Told(&failure).to_string();
        for part in [
            ":3:1: nodse: unknown key `nodse`; did you mean `nodes`?",
            "`coordinators` is",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert!(
            told.ends_with("next: mend the document and run the command again\n"),
            "{told}"
        );
    }

    #[test]
    fn a_missing_document_is_named() {
        let failure = read_document(Path::new("/nonexistent/site.yaml")).expect_err("missing");
        assert_eq!(failure.exit(), Exit::Invalid);
        assert!(
            failure.to_string().contains("/nonexistent/site.yaml"),
            "{failure}"
        );
    }
}
