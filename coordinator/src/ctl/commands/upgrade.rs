//! `upgrade`: hamesh itself, one node after the other.

use hamesh_proto::v1;
use tonic::Code;

use super::following::{End, Lost, whoever_leads};
use super::{Session, nodes, prompt, refused, status};
use crate::ctl::cli::Upgrade;
use crate::ctl::failure::{Failure, plural};
use crate::ctl::link::{Link, request};
use crate::ctl::screens;
use crate::ctl::views::{UpgradePlanView, UpgradeView};

/// `upgrade`
pub async fn run(session: &Session, options: &Upgrade) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let wish = wish(&mut link, options).await?;
    let asked = v1::PlanUpgradeRequest {
        wish: Some(wish.clone()),
    };
    let plan = link.client.plan_upgrade(request(asked)).await;
    let plan = plan.map_err(refused)?.into_inner();
    let plan = UpgradePlanView::new(&wish.version, plan);
    let count = plan.steps.len();
    let ends_here = options.consent.dry_run || count == 0;
    if ends_here || !session.for_programs() {
        let output = session.output;
        output.show(&plan, |_| screens::upgrade_plan(&plan))?;
    }
    if options.consent.dry_run && count > 0 {
        return session
            .output
            .tell("This was a dry run: nothing was changed.");
    }
    if count == 0 {
        return Ok(());
    }
    if !options.consent.yes {
        let target = &wish.version;
        prompt::confirmed(&format!(
            "Upgrade {count} node{} to {target}?",
            plural(count)
        ))?;
    }
    watch(session, link, wish).await
}

/// What is asked for, with names that the site has.
async fn wish(link: &mut Link, options: &Upgrade) -> Result<v1::UpgradeWish, Failure> {
    if !(options.nodes.is_empty() && options.skip.is_empty()) {
        let site = status::fetch(&mut link.client).await?;
        for name in options.nodes.iter().chain(&options.skip) {
            nodes::known(name, &site)?;
        }
    }
    Ok(v1::UpgradeWish {
        version: options.to.to_string(),
        nodes: options.nodes.clone(),
        skip: options.skip.clone(),
    })
}

/// Begins it, and follows it to its end, whoever leads.
async fn watch(session: &Session, first: Link, wish: v1::UpgradeWish) -> Result<(), Failure> {
    let mut asked = v1::UpgradeRequest {
        wish: Some(wish),
        resumed: false,
    };
    let listen = async |link: &mut Link| follow(session, link, &mut asked).await;
    whoever_leads(session, first, listen, |lost| {
        Failure::failed(
            format!("the upgrade was not followed to its end: {lost}"),
            "run the same command again: it goes on with what is left",
        )
    })
    .await
}

async fn follow(
    session: &Session,
    link: &mut Link,
    asked: &mut v1::UpgradeRequest,
) -> Result<End, Failure> {
    let mut heard = false;
    let mut stream = match link.client.upgrade(asked.clone()).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return lost(&status, asked.resumed, heard),
    };
    asked.resumed = true;
    loop {
        match stream.message().await {
            Ok(Some(progress)) => {
                heard = true;
                let view = UpgradeView::from(progress);
                session
                    .output
                    .show_one(&view, |_| screens::upgrade(&view))?;
                if view.done {
                    return Ok(End::Finished);
                }
            }
            Ok(None) => {
                let text = "the coordinator stopped telling".to_owned();
                return Ok(End::Lost(Lost { text, heard }));
            }
            Err(status) => {
                let end = lost(&status, true, heard)?;
                session
                    .output
                    .tell("the coordinator that led is gone for now; looking for the next one")?;
                return Ok(end);
            }
        }
    }
}

/// Whether it goes on elsewhere, or why it ended.
fn lost(status: &tonic::Status, begun: bool, heard: bool) -> Result<End, Failure> {
    // A leader that has not noticed yet that its caller is gone.
    let still_at_it = status.code() == Code::AlreadyExists;
    if begun && (Link::lost(status) || still_at_it) {
        let text = status.message().to_owned();
        return Ok(End::Lost(Lost { text, heard }));
    }
    Err(refused(status.clone()))
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn a_leader_that_goes_is_followed_by_the_next_and_a_refusal_is_an_end() {
        let gone = Status::unavailable("this coordinator stops");
        let busy = Status::already_exists("an upgrade of the site goes on");
        let failed = Status::failed_precondition("node-1 was not upgraded");
        for (status, begun, goes_on) in [
            (&gone, true, true),
            (&gone, false, false),
            (&busy, true, true),
            (&busy, false, false),
            (&failed, true, false),
            (&failed, false, false),
        ] {
            let end = lost(status, begun, true);
            assert_eq!(matches!(end, Ok(End::Lost(_))), goes_on, "{status} {begun}");
        }
    }
}
