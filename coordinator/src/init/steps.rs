//! The steps of `coordctl init`, in order. Each keeps what an interrupted run left behind.

use std::collections::BTreeMap;
use std::path::Path;

use hamesh_proto::ca::CertificateAuthority;
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::{hex, ports, random};
use hamesh_roles::Site;
use serde::{Deserialize, Serialize};

use super::store_tls::{self, Settings};
use super::{Bootstrap, InitError, InitRequest, Restored, Word, files};
use crate::authority::Authority;
use crate::backup::rebirth::reborn;
use crate::config::Config;
use crate::records::{
    CertificateRecord, DesiredRecord, OperatorAccess, OperatorRecord, SiteRecord,
};
use crate::recovery::Begun;

/// One step. All but the last leave the services unable to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Directories,
    Marker,
    SiteCa,
    StoreCa,
    Identity,
    SealKey,
    StoreTls,
    FirstOperator,
    Bootstrap,
    StoreEnvironment,
    Ownership,
    Config,
    ConfigOwnership,
    RemoveMarker,
}

impl Step {
    pub const ALL: [Self; 14] = [
        Self::Directories,
        Self::Marker,
        Self::SiteCa,
        Self::StoreCa,
        Self::Identity,
        Self::SealKey,
        Self::StoreTls,
        Self::FirstOperator,
        Self::Bootstrap,
        Self::StoreEnvironment,
        Self::Ownership,
        Self::Config,
        Self::ConfigOwnership,
        Self::RemoveMarker,
    ];
}

/// What an unfinished run was asked for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    site: String,
    node: String,
    operator: String,
    /// The document, so that a corrected one counts as another site: its CA is made anew only if
    /// the operator says so.
    yaml: String,
    /// When the backup was made that the site is restored from.
    #[serde(default)]
    backup_unix_ms: Option<u64>,
    /// It is recovered from its agents, and that backup.
    #[serde(default)]
    recovered: bool,
}

/// Takes one step.
pub(super) fn take(step: Step, request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let dirs = &request.dirs;
    match step {
        Step::Directories => {
            files::directory(dirs.state())?;
            files::directory(&dirs.store_tls_directory())?;
            files::directory(&dirs.store_data())
        }
        Step::Marker => marker(request, site),
        Step::SiteCa => site_authority(request, site),
        Step::StoreCa => authority_file(
            &dirs.store_ca(),
            site,
            &format!("hamesh store {}", site.name),
            request,
        ),
        Step::Identity => identity(request, site),
        Step::SealKey => seal_key(request),
        Step::StoreTls => store_certificates(request, site),
        Step::FirstOperator => first_operator(request, site),
        Step::Bootstrap => match &request.restored {
            None => bootstrap(request, site),
            Some(restored) => match restored.word {
                Word::Backup => rebirth(request, restored),
                Word::Agents { document_given } => recovery(request, restored, document_given),
            },
        },
        Step::StoreEnvironment => store_environment(request, site),
        Step::Ownership => ownership(request),
        Step::Config => config(request, site),
        Step::ConfigOwnership => ownership(request),
        Step::RemoveMarker => files::remove(&dirs.init_marker()),
    }
}

fn marker(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let backup = request.restored.as_ref();
    let path = request.dirs.init_marker();
    let wanted = Marker {
        site: site.name.to_string(),
        node: request.node.to_string(),
        operator: request.operator.to_string(),
        yaml: request.yaml.clone(),
        backup_unix_ms: backup.map(|backup| backup.snapshot.made_unix_ms),
        recovered: backup.is_some_and(|backup| backup.word != Word::Backup),
    };
    let Some(found) = files::bytes(&path)? else {
        return files::write(&path, &json(&wanted));
    };
    if serde_json::from_slice::<Marker>(&found).ok().as_ref() == Some(&wanted) {
        return Ok(());
    }
    Err(InitError::Other {
        path,
        state: request.dirs.state().to_owned(),
    })
}

fn site_authority(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let path = request.dirs.ca();
    match &request.restored {
        Some(restored) if !path.exists() => {
            files::write(&path, restored.snapshot.ca_pem.as_bytes())
        }
        Some(_) | None => {
            let name = format!("hamesh site {}", site.name);
            authority_file(&path, site, &name, request)
        }
    }
}

fn authority_file(
    path: &Path,
    site: &Site,
    common_name: &str,
    request: &InitRequest,
) -> Result<(), InitError> {
    if path.exists() {
        return authority(path).map(|_| ());
    }
    let ca = CertificateAuthority::create(&site.name, common_name, request.now);
    files::write(path, ca.to_pem().as_bytes())
}

fn authority(path: &Path) -> Result<CertificateAuthority, InitError> {
    let damaged = |problem: String| InitError::Damaged {
        path: path.to_owned(),
        problem,
    };
    let text = files::text(path)?.ok_or_else(|| damaged("it is gone".to_owned()))?;
    CertificateAuthority::from_pem(&text).map_err(|error| damaged(error.to_string()))
}

fn identity(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let path = request.dirs.identity();
    if path.exists() {
        return Ok(());
    }
    let authority = Authority::new(authority(&request.dirs.ca())?);
    let key = PrivateKey::generate();
    let issued = authority.coordinator(site, &request.node, &key.csr_der(), request.now)?;
    save(&path, &authority, key, issued.der)
}

fn first_operator(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let path = request.dirs.first_operator();
    if path.exists() {
        return Ok(());
    }
    let authority = Authority::new(authority(&request.dirs.ca())?);
    let key = PrivateKey::generate();
    let issued = authority.operator(site, &request.operator, &key.csr_der(), request.now)?;
    save(&path, &authority, key, issued.der)
}

fn save(
    path: &Path,
    authority: &Authority,
    key: PrivateKey,
    leaf_der: Vec<u8>,
) -> Result<(), InitError> {
    let ca = authority.ca().certificate_der().to_vec();
    let credentials =
        Credentials::new(key, leaf_der, vec![ca]).map_err(|error| InitError::Damaged {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
    files::write(path, credentials.to_pem().as_bytes())
}

fn seal_key(request: &InitRequest) -> Result<(), InitError> {
    let path = request.dirs.seal_key();
    if path.exists() {
        return Ok(());
    }
    let key = match &request.restored {
        Some(restored) => restored.snapshot.seal_key()?.to_bytes(),
        None => zeroize::Zeroizing::new(random::bytes::<32>()),
    };
    files::write(&path, key.as_slice())
}

fn store_certificates(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let ca = authority(&request.dirs.store_ca())?;
    let peers: Vec<_> = site.management_address(&request.node).into_iter().collect();
    store_tls::issue(&request.dirs.store_tls(), &ca, &peers, request.now)?;
    Ok(())
}

/// The record of the first operator, an admin.
fn operator_record(request: &InitRequest) -> Result<OperatorRecord, InitError> {
    let path = request.dirs.first_operator();
    let operator = Credentials::load(&path).map_err(|error| InitError::Damaged {
        path,
        problem: error.to_string(),
    })?;
    Ok(OperatorRecord {
        name: request.operator.clone(),
        access: OperatorAccess::Admin,
        created_unix_ms: unix_ms(request.now),
        certificates: vec![CertificateRecord {
            serial: operator.serial().to_owned(),
            not_after_unix_ms: operator.not_after_unix_ms(),
        }],
    })
}

/// An interrupted restore goes on with the incarnation that it began.
fn rebirth(request: &InitRequest, restored: &Restored) -> Result<(), InitError> {
    let path = request.dirs.rebirth();
    if path.exists() {
        return Ok(());
    }
    let by = format!("coordinator/{}", request.node);
    let operator = operator_record(request)?;
    let now = (by.as_str(), unix_ms(request.now));
    let reborn = reborn(&restored.snapshot, restored.incarnation, &operator, now)?;
    files::write(&path, &json(&reborn))
}

/// An interrupted recovery goes on with what it began from.
fn recovery(
    request: &InitRequest,
    restored: &Restored,
    document_given: bool,
) -> Result<(), InitError> {
    let path = request.dirs.recover();
    if path.exists() {
        return Ok(());
    }
    let operator = operator_record(request)?;
    let document = document_given.then(|| request.yaml.clone());
    let begun = Begun::new(
        &restored.snapshot,
        restored.incarnation,
        document,
        &operator,
    )?;
    files::write(&path, &json(&begun))
}

fn bootstrap(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let bootstrap = Bootstrap {
        site: SiteRecord {
            site: site.name.clone(),
            created_unix_ms: unix_ms(request.now),
        },
        desired: DesiredRecord {
            incarnation: 1,
            generation: 1,
            yaml: request.yaml.clone(),
            revoked: BTreeMap::new(),
        },
        operator: operator_record(request)?,
    };
    files::write(&request.dirs.bootstrap(), &json(&bootstrap))
}

fn store_environment(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let Some(ip) = site.management_address(&request.node) else {
        return Err(InitError::UnknownNode(request.node.clone()));
    };
    let path = request.dirs.store_environment();
    // Members of one cluster find each other by this name; it must not fit another site's.
    let cluster = match files::text(&path)? {
        Some(_) => return Ok(()),
        None => format!("{}-{}", site.name, hex::encode(&random::bytes::<8>())),
    };
    let settings = Settings {
        member: request.node.to_string(),
        data: request.dirs.store_data(),
        tls: request.dirs.store_tls(),
        cluster,
        client: (std::net::Ipv4Addr::LOCALHOST, ports::STORE_CLIENT).into(),
        peer: (ip, ports::STORE_PEER).into(),
        joins: None,
    };
    files::write(&path, store_tls::environment_file(&settings).as_bytes())
}

fn config(request: &InitRequest, site: &Site) -> Result<(), InitError> {
    let Some(address) = site.management_address(&request.node) else {
        return Err(InitError::UnknownNode(request.node.clone()));
    };
    let config = Config::of(site, &request.node, address);
    files::write(&request.dirs.config(), &json(&config))
}

/// Gives everything to the service user.
fn ownership(request: &InitRequest) -> Result<(), InitError> {
    let taken = request.owner.map(|owner| owner.take_all(&request.dirs));
    let taken = taken.unwrap_or(Ok(()));
    taken.map_err(|(path, source)| InitError::Write { path, source })
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain values are JSON")
}
