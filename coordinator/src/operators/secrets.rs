//! What the site's roles need and nobody may see: listed, given and made anew.

use std::collections::BTreeSet;

use hamesh_proto::server_pem;
use hamesh_proto::v1;
use hamesh_roles::render::{NeededSecret, Origin, needed_secrets};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::OperatorsService;
use crate::ledger::{EventKind, Kept};
use crate::records::{OperatorAccess, RolesRecord, SecretRecord, keys};
use crate::roles::secrets;

/// What rotates the keys of all service certificates.
const CERTIFICATES: &str = "certificates";
/// What operators give.
const EDGE_CERTIFICATE: &str = NeededSecret::EDGE_CERTIFICATE;
/// A chain of four certificates and a key, with room.
const LONGEST: usize = 64 * 1024;

impl OperatorsService {
    pub(super) async fn secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<v1::SecretList, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let world = self.core.world();
        let needed: BTreeSet<String> = needed_secrets(&world.desired.site)
            .into_iter()
            .map(|secret| secret.name().into_owned())
            .collect();
        let kept = world.secrets.keys();
        let names: BTreeSet<String> = kept.chain(&needed).cloned().collect();
        let secret = |name: String| {
            let record = world.secrets.get(&name);
            v1::Secret {
                version: record.map_or(0, |it| it.version),
                set_unix_ms: record.map_or(0, |it| it.set_unix_ms),
                set_by: record.map(|it| it.set_by.clone()).unwrap_or_default(),
                generated: origin(&name) == Some(Origin::Generated),
                needed: needed.contains(&name),
                expires_unix_ms: record
                    .and_then(|it| secrets::expiry(&self.core.seal, &name, it))
                    .unwrap_or(0),
                name,
            }
        };
        Ok(v1::SecretList {
            secrets: names.into_iter().map(secret).collect(),
        })
    }

    pub(super) async fn set_secret_value(
        &self,
        request: Request<v1::SetSecretRequest>,
    ) -> Result<v1::SecretIsSet, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let v1::SetSecretRequest { name, value } = request.into_inner();
        let value = Zeroizing::new(value);
        let invalid = |text: String| Status::invalid_argument(format!("{text}; nothing was set"));
        if name != EDGE_CERTIFICATE {
            return Err(invalid(format!(
                "{name:?} is nothing that an operator gives; {EDGE_CERTIFICATE} is"
            )));
        }
        if value.len() > LONGEST {
            return Err(invalid(format!("it is longer than {LONGEST} bytes")));
        }
        let text = std::str::from_utf8(&value).map_err(|error| invalid(error.to_string()))?;
        let site = &self.core.world().desired.site;
        let names = site.edge_proxy.iter().flat_map(|it| &it.names);
        let names: Vec<String> = names.map(ToString::to_string).collect();
        let now_unix_ms = self.core.clock.unix_ms();
        server_pem::check(text, &names, now_unix_ms).map_err(|error| invalid(error.to_string()))?;
        self.keep(&caller.path(), &name, text).await
    }

    pub(super) async fn rotate_secret_value(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Result<v1::SecretIsSet, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let name = request.into_inner().name;
        if name == CERTIFICATES {
            return self.rotate_certificates(&caller.path()).await;
        }
        if origin(&name) != Some(Origin::Generated) {
            return Err(Status::invalid_argument(format!(
                "{name:?} is nothing that the site makes by itself; `coordctl secret list` shows \
                 what it does; nothing was changed"
            )));
        }
        self.keep(&caller.path(), &name, &secrets::password()).await
    }

    async fn keep(&self, actor: &str, name: &str, value: &str) -> Result<v1::SecretIsSet, Status> {
        let key = keys::secret(name);
        let kept: Option<Kept<SecretRecord>> = self.core.ledger.read(&key).await?;
        let version = kept.as_ref().map_or(0, |it| it.value.version) + 1;
        let by = (actor.to_owned(), self.core.clock.unix_ms());
        let record = secrets::record(&self.core.seal, name, version, value, by);
        let text = format!("the secret {name} has a new value, version {version}");
        let change = self.core.change(actor).put(&key, kept.as_ref(), &record);
        let change = change.event(EventKind::SecretSet, None, text);
        self.core.ledger.commit(change).await?;
        self.until_planned::<SecretRecord>(&key).await?;
        Ok(v1::SecretIsSet { version })
    }

    async fn rotate_certificates(&self, actor: &str) -> Result<v1::SecretIsSet, Status> {
        let kept: Option<Kept<RolesRecord>> = self.core.ledger.read(keys::ROLES).await?;
        let mut record = kept.as_ref().map(|it| it.value.clone()).unwrap_or_default();
        record.issue += 1;
        let text = format!(
            "all service certificates get new keys, issue {}",
            record.issue
        );
        let change = self.core.change(actor);
        let change = change.put(keys::ROLES, kept.as_ref(), &record);
        let change = change.event(EventKind::SecretSet, None, text);
        self.core.ledger.commit(change).await?;
        self.until_planned::<RolesRecord>(keys::ROLES).await?;
        Ok(v1::SecretIsSet {
            version: record.issue,
        })
    }
}

/// Where a secret comes from; `None`: no role needs one of that name.
fn origin(name: &str) -> Option<Origin> {
    NeededSecret::named(name).map(|secret| secret.origin())
}
