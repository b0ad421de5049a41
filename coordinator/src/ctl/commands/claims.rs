//! `claims`, `explain`, `move`, `drain`, `undrain` and `claim ...`.

use hamesh_proto::v1;
use hamesh_roles::diagnostic::did_you_mean;

use super::{Session, nodes, prompt, refused, status};
use crate::ctl::cli::ClaimCommand;
use crate::ctl::failure::Failure;
use crate::ctl::link::{Link, request};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{ClaimView, DrainedView, ExplanationView, MovedView};

/// `claims`
pub async fn list(session: &Session) -> Result<(), Failure> {
    let claims = fetch(&mut session.link().await?).await?;
    let output = session.output;
    output.show(&claims, |look| {
        screens::claims(&claims, Moment::now(), output.wide(), look)
    })
}

/// `explain`
pub async fn explain(session: &Session, name: &str) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let claim = known(name, &fetch(&mut link).await?)?;
    let asked = v1::ExplainClaimRequest { claim };
    let answer = link.claims.explain(request(asked)).await.map_err(refused)?;
    let view = ExplanationView::from(answer.into_inner());
    session.output.show(&view, |look| {
        screens::explanation(&view, Moment::now(), look)
    })
}

/// `move`
pub async fn move_to(session: &Session, name: &str, to: Option<&str>) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let claim = known(name, &fetch(&mut link).await?)?;
    let to = match to {
        None => String::new(),
        Some(to) => {
            let site = status::fetch(&mut link.client).await?;
            nodes::known(to, &site)?.to_string()
        }
    };
    let asked = v1::MoveClaimRequest {
        claim: claim.clone(),
        to,
    };
    let moved = link.claims.r#move(request(asked)).await.map_err(refused)?;
    let moved = moved.into_inner();
    let view = MovedView {
        claim,
        holder: moved
            .status
            .and_then(|status| ClaimView::from(status).holder),
        took_us: moved.took_us,
    };
    session.output.show(&view, |_| screens::moved(&view))
}

/// `drain` and `undrain`
pub async fn drain(session: &Session, name: &str, drained: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let site = status::fetch(&mut link.client).await?;
    let node = nodes::known(name, &site)?.to_string();
    let answer = if drained {
        let asked = v1::DrainNodeRequest { node: node.clone() };
        link.claims.drain(request(asked)).await
    } else {
        let asked = v1::UndrainNodeRequest { node: node.clone() };
        link.claims.undrain(request(asked)).await
    };
    let answer = answer.map_err(refused)?.into_inner();
    let view = DrainedView {
        node,
        drained,
        changed: answer.changed,
        claims: answer.claims.into_iter().map(ClaimView::from).collect(),
    };
    session
        .output
        .show(&view, |look| screens::drained(&view, Moment::now(), look))
}

/// `claim ...`
pub async fn run(session: &Session, command: ClaimCommand) -> Result<(), Failure> {
    match command {
        ClaimCommand::Pause { claim } => pause(session, &claim, true).await,
        ClaimCommand::Resume { claim } => pause(session, &claim, false).await,
        ClaimCommand::ConfirmFenced { node, yes } => confirm_fenced(session, &node, yes).await,
    }
}

async fn pause(session: &Session, name: &str, paused: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let claim = known(name, &fetch(&mut link).await?)?;
    let asked = v1::PauseClaimRequest { claim, paused };
    let answer = link.claims.pause(request(asked)).await.map_err(refused)?;
    let view = ClaimView::from(answer.into_inner());
    let claims = std::slice::from_ref(&view);
    session.output.show(&view, |look| {
        screens::claims(claims, Moment::now(), false, look)
    })
}

async fn confirm_fenced(session: &Session, name: &str, yes: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    if !yes {
        prompt::confirmed(&format!(
            "Is {name} switched off, or certainly cut off? If it still runs, it may answer for an \
             address that another node is given."
        ))?;
    }
    let asked = v1::ConfirmFencedRequest {
        node: name.to_owned(),
    };
    let answer = link.claims.confirm_fenced(request(asked)).await;
    let claims = answer.map_err(refused)?.into_inner().claims;
    let view = serde_json::json!({ "node": name, "claims": claims });
    session.output.show(&view, |_| {
        let claims = claims.join(", ");
        format!("nobody waits for {name} any more: {claims}\n")
    })
}

async fn fetch(link: &mut Link) -> Result<Vec<ClaimView>, Failure> {
    let asked = request(v1::ListClaimsRequest {});
    let list = link.claims.list(asked).await.map_err(refused)?.into_inner();
    Ok(list.claims.into_iter().map(ClaimView::from).collect())
}

/// The claim of the site with this name.
fn known(name: &str, claims: &[ClaimView]) -> Result<String, Failure> {
    let mut names = claims.iter().map(|claim| claim.claim.as_str());
    if names.clone().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let next = did_you_mean(name, names.by_ref());
    let next = next.unwrap_or_else(|| "`coordctl claims` lists them".to_owned());
    Err(Failure::invalid(
        format!("the site has no claim `{name}`"),
        next,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_claim_is_refused_with_the_nearest_name() {
        let claim = |name: &str| {
            ClaimView::from(v1::ClaimStatus {
                claim: name.into(),
                ..Default::default()
            })
        };
        let claims = [claim("vip/edge"), claim("vip/internal")];
        assert!(known("vip/edge", &claims).is_ok());
        let failure = known("vip/egde", &claims).expect_err("no such claim");
        assert_eq!(failure.next().as_deref(), Some("did you mean `vip/edge`?"));
        let failure = known("x", &claims).expect_err("no such claim");
        assert_eq!(
            failure.next().as_deref(),
            Some("`coordctl claims` lists them")
        );
    }
}
