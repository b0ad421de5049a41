//! Enrolment tokens.

use std::time::Duration;

use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::v1;
use tonic::{Request, Status};

use super::OperatorsService;
use super::nodes::{bounded, node_of};
use crate::clock::milliseconds;
use crate::ledger::{EventKind, Kept};
use crate::records::{OperatorAccess, TokenRecord, TokenState, keys};

/// The life of a token when none is asked for.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// The longest life of a token.
const MAX_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tokens that are remembered: several per node of the largest site.
const MAX_TOKENS: usize = 5_000;
/// Old tokens that one new token sweeps away: keeps the transaction small.
const FORGOTTEN_AT_ONCE: usize = 50;
/// How long a token is listed after it expired.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

impl OperatorsService {
    pub(super) async fn new_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<v1::CreatedToken, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let node = node_of(&message.node)?;
        let life = bounded(message.valid_s, DEFAULT_LIFE, MAX_LIFE)?;
        let (_, desired) = self.desired().await?;
        if !desired.site.nodes.contains_key(&node) {
            return Err(Status::failed_precondition(format!(
                "the node {node} is not in the site; nothing was changed; add it to site.yaml and \
                 `coordctl apply` it first"
            )));
        }
        let now_unix_ms = self.core.clock.unix_ms();
        let old = self.forgettable(now_unix_ms).await?;
        let token = EnrolmentToken::generate(self.core.authority.ca().fingerprint());
        let record = TokenRecord {
            node: node.clone(),
            secret_hash: token.secret_hash(),
            created_unix_ms: now_unix_ms,
            expires_unix_ms: now_unix_ms.saturating_add(milliseconds(life)),
            created_by: caller.path(),
            state: TokenState::Open,
        };
        let text = format!("token {} lets in {node}", token.id());
        let mut change = self
            .core
            .change(caller.path())
            .create(&keys::token(token.id()), &record)
            .event(EventKind::TokenCreated, Some(&node), text);
        for token in &old {
            change = change.remove(token);
        }
        self.core.ledger.commit(change).await?;
        Ok(v1::CreatedToken {
            id: token.id().to_owned(),
            token: token.to_string(),
            expires_unix_ms: record.expires_unix_ms,
            coordinators: desired.coordinators(),
        })
    }

    /// Tokens that expired long ago; refuses when too many are left.
    async fn forgettable(&self, now_unix_ms: u64) -> Result<Vec<Kept<TokenRecord>>, Status> {
        let tokens: Vec<Kept<TokenRecord>> = self.core.ledger.list(keys::TOKENS).await?;
        let known = tokens.len();
        let old = tokens.into_iter().filter(|token| {
            token
                .value
                .expires_unix_ms
                .saturating_add(milliseconds(REMEMBERED))
                < now_unix_ms
        });
        let old: Vec<_> = old.take(FORGOTTEN_AT_ONCE).collect();
        if known - old.len() >= MAX_TOKENS {
            return Err(Status::resource_exhausted(format!(
                "{MAX_TOKENS} tokens are remembered already; nothing was changed; they are \
                 forgotten a month after they expire"
            )));
        }
        Ok(old)
    }

    pub(super) async fn tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<v1::TokenList, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let now_unix_ms = self.core.clock.unix_ms();
        let tokens: Vec<Kept<TokenRecord>> = self.core.ledger.list(keys::TOKENS).await?;
        let mut tokens: Vec<_> = tokens
            .into_iter()
            .map(|kept| v1::Token {
                id: keys::name(keys::TOKENS, &kept.key).to_owned(),
                node: kept.value.node.to_string(),
                created_unix_ms: kept.value.created_unix_ms,
                expires_unix_ms: kept.value.expires_unix_ms,
                state: state(&kept.value, now_unix_ms).to_owned(),
                created_by: kept.value.created_by,
            })
            .collect();
        tokens.sort_by(|a, b| (a.created_unix_ms, &a.id).cmp(&(b.created_unix_ms, &b.id)));
        Ok(v1::TokenList { tokens })
    }

    pub(super) async fn withdraw_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<v1::RevokedToken, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let id = request.into_inner().id;
        let well_formed = hamesh_proto::hex::decode::<8>(&id).is_some();
        let kept: Option<Kept<TokenRecord>> = match well_formed {
            true => self.core.ledger.read(&keys::token(&id)).await?,
            false => None,
        };
        let kept = kept.ok_or_else(|| {
            let id: String = id.chars().take(64).collect();
            Status::not_found(format!(
                "there is no token {id:?}; nothing was changed; `coordctl token list` shows the \
                 ids"
            ))
        })?;
        let at_unix_ms = self.core.clock.unix_ms();
        let revoked = match &kept.value.state {
            TokenState::Revoked { .. } => return Ok(v1::RevokedToken {}),
            TokenState::Used { .. } => {
                return Err(Status::failed_precondition(format!(
                    "token {id} was used already; nothing was changed; `coordctl node remove {}` \
                     shuts the node out",
                    kept.value.node
                )));
            }
            TokenState::Open => TokenRecord {
                state: TokenState::Revoked {
                    at_unix_ms,
                    by: caller.path(),
                },
                ..kept.value.clone()
            },
        };
        let change = self
            .core
            .change(caller.path())
            .replace(&kept, &revoked)
            .event(
                EventKind::TokenRevoked,
                Some(&kept.value.node),
                format!("token {id} for {} was revoked", kept.value.node),
            );
        self.core.ledger.commit(change).await?;
        Ok(v1::RevokedToken {})
    }
}

fn state(token: &TokenRecord, now_unix_ms: u64) -> &'static str {
    match token.state {
        TokenState::Revoked { .. } => "revoked",
        TokenState::Used { .. } => "used",
        TokenState::Open if token.expires_unix_ms < now_unix_ms => "expired",
        TokenState::Open => "open",
    }
}
