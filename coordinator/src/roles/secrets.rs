//! What roles need and nobody may see: sealed in the store, opened only for the nodes that need it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::seal::SealKey;
use hamesh_proto::server_pem::ServerPem;
use hamesh_proto::{hex, random, v1};
use hamesh_roles::render::{NeededSecret, Origin, needed_secrets};
use zeroize::Zeroizing;

use crate::records::{SecretRecord, keys};
use crate::world::World;

/// Bytes of randomness in a password that the site makes: nobody types it.
const PASSWORD_BYTES: usize = 24;

/// The value of a secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret {name} in the store does not open: seal.key is not the one it was sealed with; \
     restore it from a backup, or set the secret anew"
)]
pub struct Unopened {
    name: String,
}

/// A new value, sealed.
pub fn record(
    seal: &SealKey,
    name: &str,
    version: u64,
    value: &str,
    (set_by, set_unix_ms): (String, u64),
) -> SecretRecord {
    let sealed = seal.seal(&purpose(name, version), value.as_bytes());
    SecretRecord {
        version,
        sealed: STANDARD.encode(sealed),
        set_unix_ms,
        set_by,
    }
}

/// A secret's value.
pub fn open(seal: &SealKey, name: &str, record: &SecretRecord) -> Result<String, Unopened> {
    let unopened = || Unopened {
        name: name.to_owned(),
    };
    let bytes = STANDARD.decode(&record.sealed).map_err(|_| unopened())?;
    let opened = seal.open(&purpose(name, record.version), &bytes);
    let opened = opened.map_err(|_| unopened())?;
    let text = std::str::from_utf8(&opened).map_err(|_| unopened())?;
    Ok(text.to_owned())
}

/// Every secret that opens.
pub fn open_all(
    seal: &SealKey,
    sealed: &BTreeMap<String, SecretRecord>,
) -> BTreeMap<String, String> {
    let open = |(name, record): (&String, &SecretRecord)| match open(seal, name, record) {
        Ok(value) => Some((name.clone(), value)),
        Err(unopened) => {
            tracing::error!(%unopened, "a role goes without a secret");
            None
        }
    };
    sealed.iter().filter_map(open).collect()
}

/// The certificates that operators gave and the site's roles need, with their ends.
pub fn given_certificates(world: &World, seal: &SealKey) -> Vec<v1::ServiceCertificate> {
    let needed = needed_secrets(&world.desired.site).into_iter();
    let given = needed.filter(|secret| secret.origin() == Origin::Given);
    let certificate = |secret: NeededSecret| {
        let name = secret.name().into_owned();
        let expires_unix_ms = expiry(seal, &name, world.secrets.get(&name)?)?;
        Some(v1::ServiceCertificate {
            name,
            expires_unix_ms,
        })
    };
    given.filter_map(certificate).collect()
}

/// The end of a certificate that operators gave; `None`: it is none, or cannot be read.
pub fn expiry(seal: &SealKey, name: &str, record: &SecretRecord) -> Option<u64> {
    if name != NeededSecret::EDGE_CERTIFICATE {
        return None;
    }
    let opened = open(seal, name, record).map(Zeroizing::new);
    let pem = ServerPem::read(&opened.ok()?).ok()?;
    Some(pem.not_after_unix_ms)
}

/// A password that nobody knows yet.
pub fn password() -> Zeroizing<String> {
    Zeroizing::new(hex::encode(&random::bytes::<PASSWORD_BYTES>()))
}

/// A sealed value is good for its name and version alone.
fn purpose(name: &str, version: u64) -> Vec<u8> {
    format!("{}@{version}", keys::secret(name)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_own_name_and_version_alone() {
        let seal = SealKey::generate();
        let sealed = record(
            &seal,
            "proxy/statistics",
            3,
            "tell nobody",
            (String::new(), 0),
        );
        let opened = open(&seal, "proxy/statistics", &sealed);
        assert_eq!(opened.as_deref(), Ok("tell nobody"));
        assert!(open(&seal, "proxy/other", &sealed).is_err());
        let older = SecretRecord {
            version: 2,
            ..sealed.clone()
        };
        assert!(open(&seal, "proxy/statistics", &older).is_err());
        assert!(open(&SealKey::generate(), "proxy/statistics", &sealed).is_err());
        assert!(!format!("{sealed:?}").contains("tell nobody"));
    }
}
