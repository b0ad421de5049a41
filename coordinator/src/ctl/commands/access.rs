//! `token ...` and `operator ...`: who may join and who may look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::ids::{OperatorName, SiteName};
use hamesh_proto::v1;

use super::{Session, prompt, refused, site};
use crate::config::Dirs;
use crate::ctl::cli::{Access, OperatorCommand, TokenCommand};
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, chain};
use crate::ctl::link::{Client, Link, first_of, request};
use crate::ctl::screens;
use crate::ctl::time::Moment;
use crate::ctl::views::{OperatorView, RemovedView, TokenCreatedView, TokenView};

/// `token ...`
pub async fn token(session: &Session, command: TokenCommand) -> Result<(), Failure> {
    let mut link = session.link().await?;
    let output = session.output;
    match command {
        TokenCommand::Create { node, valid } => {
            site::check_node(&node, &site::stored(&mut link.client).await?)?;
            let asked = v1::CreateTokenRequest {
                node: node.clone(),
                valid_s: valid.as_secs(),
            };
            let created = link
                .client
                .create_token(request(asked))
                .await
                .map_err(refused)?;
            let view = created_view(created.into_inner(), node);
            output.show(&view, |_| screens::token_created(&view, Moment::now()))
        }
        TokenCommand::List => {
            let asked = request(v1::ListTokensRequest {});
            let list = link
                .client
                .list_tokens(asked)
                .await
                .map_err(refused)?
                .into_inner();
            let view = list
                .tokens
                .into_iter()
                .map(TokenView::from)
                .collect::<Vec<_>>();
            output.show(&view, |look| screens::tokens(&view, Moment::now(), look))
        }
        TokenCommand::Revoke { id } => {
            let asked = v1::RevokeTokenRequest { id: id.clone() };
            link.client
                .revoke_token(request(asked))
                .await
                .map_err(refused)?;
            let view = RemovedView {
                kind: "token",
                name: id.clone(),
                desired: None,
            };
            output.show(&view, |_| format!("Token {id} is revoked.\n"))
        }
    }
}

fn created_view(created: v1::CreatedToken, node: String) -> TokenCreatedView {
    let coordinators = created
        .coordinators
        .iter()
        .map(|endpoint| format!(" --coordinator {}", endpoint.enrolment));
    let coordinators = coordinators.collect::<String>();
    let command = format!(
        "hamesh-agent enroll --node {node}{coordinators} --token {}",
        created.token
    );
    TokenCreatedView {
        id: created.id,
        node,
        token: created.token,
        expires: Moment::of(created.expires_unix_ms),
        command,
    }
}

/// `operator ...`
pub async fn operator(session: &Session, command: OperatorCommand) -> Result<(), Failure> {
    match command {
        OperatorCommand::Add {
            name,
            access,
            out,
            as_coordinator,
        } => add(session, &name, access, &out, as_coordinator).await,
        OperatorCommand::List => {
            let mut link = session.link().await?;
            let asked = request(v1::ListOperatorsRequest {});
            let list = link
                .client
                .list_operators(asked)
                .await
                .map_err(refused)?
                .into_inner();
            let view = list
                .operators
                .into_iter()
                .map(OperatorView::from)
                .collect::<Vec<_>>();
            session
                .output
                .show(&view, |look| screens::operators(&view, Moment::now(), look))
        }
        OperatorCommand::Remove { name, yes } => {
            let mut link = session.link().await?;
            if !yes {
                prompt::confirmed(&format!("Remove operator {name}? It is refused at once."))?;
            }
            let asked = v1::RemoveOperatorRequest {
                name: name.to_string(),
            };
            link.client
                .remove_operator(request(asked))
                .await
                .map_err(refused)?;
            let view = RemovedView {
                kind: "operator",
                name: name.to_string(),
                desired: None,
            };
            session
                .output
                .show(&view, |_| format!("Operator {name} is removed.\n"))
        }
    }
}

async fn add(
    session: &Session,
    name: &OperatorName,
    access: Access,
    out: &Path,
    as_coordinator: bool,
) -> Result<(), Failure> {
    if out.exists() {
        let message = format!("{} exists already", out.display());
        return Err(Failure::invalid(
            message,
            "name a file that does not: nothing was changed",
        ));
    }
    let mut way = if as_coordinator {
        Way::as_coordinator(&Dirs::default()).await?
    } else {
        Way::from(session.link().await?)
    };
    let context = admit(&mut way, name, access).await?;
    context.save(out)?;
    let view = serde_json::json!({ "name": name.as_ref(), "file": out.display().to_string() });
    session.output.show(&view, |_| {
        let file = out.display();
        format!(
            "Operator {name} is admitted.\nnext: hand {file} over on a safe way, it holds a \
             private key; there: coordctl context import {file}\n"
        )
    })
}

/// A coordinator, and what a context needs if its answer leaves it out.
pub(super) struct Way {
    client: Client,
    site: SiteName,
    coordinators: Vec<SocketAddr>,
}

impl From<Link> for Way {
    fn from(link: Link) -> Way {
        let Context {
            site, coordinators, ..
        } = link.context().clone();
        Way {
            client: link.client,
            site,
            coordinators,
        }
    }
}

impl Way {
    /// With the identity of the coordinator on this machine, which only root and it can read.
    async fn as_coordinator(dirs: &Dirs) -> Result<Way, Failure> {
        let loopbacks = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let addresses = loopbacks.map(|ip| SocketAddr::new(ip, hamesh_proto::ports::API));
        Way::as_coordinator_at(dirs, &addresses).await
    }

    pub(super) async fn as_coordinator_at(
        dirs: &Dirs,
        addresses: &[SocketAddr],
    ) -> Result<Way, Failure> {
        let credentials = Credentials::load(&dirs.identity()).map_err(|error| {
            let next = "run this as root on a coordinator; nothing was changed";
            Failure::invalid(chain(&error), next)
        })?;
        let site = credentials.spiffe_id().site.clone();
        let client = first_of(addresses, &LiveCredentials::new(credentials)).await?;
        Ok(Way {
            client,
            site,
            coordinators: addresses.to_vec(),
        })
    }
}

/// Admits an operator, and gives the context to hand over.
pub(super) async fn admit(
    way: &mut Way,
    name: &OperatorName,
    access: Access,
) -> Result<Context, Failure> {
    let key = PrivateKey::generate();
    let access = match access {
        Access::Viewer => v1::Access::Viewer,
        Access::Admin => v1::Access::Admin,
    };
    let asked = v1::AddOperatorRequest {
        name: name.to_string(),
        access: access.into(),
        csr_der: key.csr_der(),
    };
    let added = way
        .client
        .add_operator(request(asked))
        .await
        .map_err(refused)?
        .into_inner();
    let bundle = added.bundle.unwrap_or_default();
    let credentials =
        Credentials::new(key, bundle.certificate_der, bundle.ca_der).map_err(|error| {
            Failure::failed(
                format!("the coordinator's answer cannot be used: {}", chain(&error)),
                format!("remove what was added: `coordctl operator remove {name}`"),
            )
        })?;
    let named = added
        .coordinators
        .iter()
        .filter_map(|it| it.api.parse::<SocketAddr>().ok());
    let mut coordinators = named.collect::<Vec<_>>();
    if coordinators.is_empty() {
        coordinators.clone_from(&way.coordinators);
    }
    Ok(Context {
        site: way.site.clone(),
        coordinators,
        credentials,
    })
}
