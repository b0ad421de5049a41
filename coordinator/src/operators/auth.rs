//! Who calls, and whether that operator may.
//!
//! Guarantees: every call reads the caller's record from the store. Only a look at what this
//! coordinator holds in memory is allowed by the record as last read while the store does not
//! answer, and the question who leads at any time; another coordinator may have removed that
//! operator meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hamesh_proto::ids::OperatorName;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::{self, PeerIdentity};
use tonic::{Request, Status};

use super::OperatorsService;
use crate::core::Core;
use crate::ledger::{Kept, ReadError};
use crate::records::{OperatorAccess, OperatorRecord, keys};
use crate::store::StoreError;

/// The operators as they were last read.
#[derive(Debug)]
pub(super) struct LastKnown(Mutex<BTreeMap<OperatorName, OperatorRecord>>);

impl LastKnown {
    pub fn new(operators: Vec<Kept<OperatorRecord>>) -> Self {
        let named = |kept: Kept<OperatorRecord>| (kept.value.name.clone(), kept.value);
        Self(Mutex::new(operators.into_iter().map(named).collect()))
    }

    pub fn note(&self, name: &OperatorName, record: Option<&OperatorRecord>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match record {
            Some(record) => known.insert(name.clone(), record.clone()),
            None => known.remove(name),
        };
    }

    fn of(&self, name: &OperatorName) -> Option<OperatorRecord> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }
}

/// An operator who may do what was asked.
pub(super) struct Caller {
    pub name: OperatorName,
    pub peer: PeerIdentity,
    pub record: Kept<OperatorRecord>,
}

impl Caller {
    /// The SPIFFE path, for events.
    pub fn path(&self) -> String {
        format!("operator/{}", self.name)
    }
}

impl OperatorsService {
    /// Who may admit operators: an admin, or this coordinator itself. Whoever holds its identity
    /// holds the CA's key beside it, and a site whose last admin's certificate ran out must find
    /// a way back. Gives the SPIFFE path, for events.
    pub(super) async fn admitter<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let own = Principal::Coordinator(self.core.node.clone());
        let peer = tls::peer(request);
        match peer.filter(|peer| peer.id.site == self.core.site && peer.id.principal == own) {
            Some(peer) => {
                self.core.in_force(&peer)?;
                Ok(own.path())
            }
            None => Ok(self.caller(request, OperatorAccess::Admin).await?.path()),
        }
    }

    /// Reads the caller's record now. Only a certificate that stands in it counts: one of an
    /// earlier operator of the same name does not.
    pub(super) async fn caller<T>(
        &self,
        request: &Request<T>,
        needed: OperatorAccess,
    ) -> Result<Caller, Status> {
        let (name, peer) = operator(&self.core, request)?;
        let record = self.read_operator(&name).await?;
        let record = record.filter(|kept| shows(&kept.value, &peer));
        let record = record.ok_or_else(|| stranger(&name))?;
        match (record.value.access, needed) {
            (OperatorAccess::Viewer, OperatorAccess::Admin) => Err(Status::permission_denied(
                format!("{name} is a viewer and may only look; nothing was changed; ask an admin"),
            )),
            (OperatorAccess::Admin, OperatorAccess::Admin | OperatorAccess::Viewer)
            | (OperatorAccess::Viewer, OperatorAccess::Viewer) => Ok(Caller { name, peer, record }),
        }
    }

    /// As [`Self::caller`], for a look that the store need not answer; gives why it did not.
    pub(super) async fn onlooker<T>(
        &self,
        request: &Request<T>,
    ) -> Result<Result<(), StoreError>, Status> {
        let (name, peer) = operator(&self.core, request)?;
        let (record, store) = match self.read_operator(&name).await {
            Ok(kept) => (kept.map(|kept| kept.value), Ok(())),
            Err(ReadError::Store(silent @ StoreError::Unavailable { .. })) => {
                (self.known.of(&name), Err(silent))
            }
            Err(error) => return Err(error.into()),
        };
        match (record.filter(|record| shows(record, &peer)), store) {
            (Some(_), store) => Ok(store),
            (None, Ok(())) => Err(stranger(&name)),
            // Not known here is not the same as not there.
            (None, Err(silent)) => Err(silent.into()),
        }
    }

    /// As [`Self::onlooker`], and by the record as last read where there is one: for what may not
    /// wait for the store, and is no secret.
    pub(super) async fn acquaintance<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let (name, peer) = operator(&self.core, request)?;
        let known = self.known.of(&name);
        if known.is_some_and(|record| shows(&record, &peer)) {
            return Ok(());
        }
        self.onlooker(request).await.map(drop)
    }

    async fn read_operator(
        &self,
        name: &OperatorName,
    ) -> Result<Option<Kept<OperatorRecord>>, ReadError> {
        let record: Option<Kept<OperatorRecord>> =
            self.core.ledger.read(&keys::operator(name)).await?;
        self.known
            .note(name, record.as_ref().map(|kept| &kept.value));
        Ok(record)
    }
}

/// The operator whom the connection's certificate names, of whatever site.
pub(crate) fn named<T>(request: &Request<T>) -> Result<(OperatorName, PeerIdentity), Status> {
    let peer = tls::peer(request)
        .ok_or_else(|| Status::unauthenticated("show an operator's certificate"))?;
    let Principal::Operator(name) = peer.id.principal.clone() else {
        return Err(Status::permission_denied(format!(
            "{} is no operator; only operators may call this",
            peer.id
        )));
    };
    Ok((name, peer))
}

/// The operator of this site whom the connection's certificate names.
fn operator<T>(core: &Core, request: &Request<T>) -> Result<(OperatorName, PeerIdentity), Status> {
    let (name, peer) = named(request)?;
    if peer.id.site != core.site {
        return Err(Status::permission_denied(format!(
            "this is the site {}",
            core.site
        )));
    }
    core.in_force(&peer)?;
    Ok((name, peer))
}

/// Whether the certificate is one of the operator's.
pub(crate) fn shows(record: &OperatorRecord, peer: &PeerIdentity) -> bool {
    let mut known = record.certificates.iter();
    known.any(|known| known.serial == peer.serial)
}

fn stranger(name: &OperatorName) -> Status {
    Status::unauthenticated(format!(
        "the operator {name} does not exist any more, or this certificate is not theirs; ask an \
         admin for `coordctl operator add {name}`"
    ))
}
