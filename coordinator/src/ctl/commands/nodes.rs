//! `nodes` and `node ...`.

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::diagnostic::did_you_mean;

use super::{Session, prompt, refused, status};
use crate::ctl::cli::NodeCommand;
use crate::ctl::failure::Failure;
use crate::ctl::link::request;
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{GenerationView, RemovedView, StatusView};

/// `node ...`
pub async fn run(session: &Session, command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::List => list(session).await,
        NodeCommand::Show { node } => show(session, &node).await,
        NodeCommand::Remove { node, yes } => remove(session, &node, yes).await,
        NodeCommand::ReEnrol { node, valid } => re_enrol(session, &node, valid.as_secs()).await,
    }
}

/// `nodes`
pub async fn list(session: &Session) -> Result<(), Failure> {
    let view = status::fetch(&mut session.link().await?.client).await?;
    let output = session.output;
    output.show(&view.nodes, |look| {
        screens::nodes(&view.nodes, view.now, output.wide(), look)
    })
}

async fn show(session: &Session, name: &str) -> Result<(), Failure> {
    let view = status::fetch(&mut session.link().await?.client).await?;
    let known = known(name, &view)?;
    let node = view.nodes.iter().find(|node| node.name == known.as_ref());
    let node = node.expect("a known node is among them");
    session
        .output
        .show(node, |look| screens::node(node, &view, view.now, look))
}

async fn remove(session: &Session, name: &str, yes: bool) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let node = known(name, &status::fetch(&mut link.client).await?)?;
    if !yes {
        prompt::confirmed(&format!(
            "Remove {node}? It is refused at once and must enrol anew to come back."
        ))?;
    }
    let asked = v1::RemoveNodeRequest {
        node: node.to_string(),
    };
    let removed = link
        .client
        .remove_node(request(asked))
        .await
        .map_err(refused)?
        .into_inner();
    let desired = removed.id.map(GenerationView::from);
    let view = RemovedView {
        kind: "node",
        name: node.to_string(),
        desired,
    };
    session.output.show(&view, |_| {
        format!(
            "{node} is removed: its certificates and tokens are worth nothing from now on.\n\
             next: purge hamesh-agent on it; the site keeps its name for another machine, or \
             `coordctl apply` a document without it\n"
        )
    })
}

async fn re_enrol(session: &Session, name: &str, valid_s: u64) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let node = known(name, &status::fetch(&mut link.client).await?)?;
    let asked = v1::AllowReEnrolRequest {
        node: node.to_string(),
        valid_s,
    };
    let window = link
        .client
        .allow_re_enrol(request(asked))
        .await
        .map_err(refused)?
        .into_inner();
    let until = Moment(window.until_unix_ms);
    let view = serde_json::json!({ "node": node.as_ref(), "open_until": until });
    session.output.show(&view, |_| {
        let left = until.left(Moment::now());
        format!(
            "{node} may trade its expired certificate for a new one for {left}.\n\
             next: its agent asks within five minutes; to hurry it, on {node}: hamesh-agent \
             re-enroll\n"
        )
    })
}

/// The node of the site with this name.
pub fn known(name: &str, status: &StatusView) -> Result<NodeId, Failure> {
    let names = || status.nodes.iter().map(|node| node.name.as_str());
    match name.parse::<NodeId>() {
        Ok(node) if names().any(|known| known == name) => Ok(node),
        Ok(_) | Err(_) => {
            let next = did_you_mean(name, names());
            let next = next.unwrap_or_else(|| "`coordctl nodes` lists them".to_owned());
            Err(Failure::invalid(
                format!("the site has no node `{name}`"),
                next,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::failure::Exit;

    #[test]
    fn an_unknown_node_is_refused_with_the_nearest_name() {
        let node = |name: &str| v1::NodeStatus {
            node: name.into(),
            ..Default::default()
        };
        let nodes = vec![node("node-1"), node("control-1")];
        let status = StatusView::from(v1::SiteStatus {
            nodes,
            ..Default::default()
        });
        assert!(known("node-1", &status).is_ok());
        let failure = known("nod-1", &status).expect_err("no such node");
        assert_eq!(failure.exit(), Exit::Invalid);
        assert_eq!(failure.next().as_deref(), Some("did you mean `node-1`?"));
        let failure = known("Über", &status).expect_err("no such node");
        assert_eq!(
            failure.next().as_deref(),
            Some("`coordctl nodes` lists them")
        );
    }
}
