//! Whose orders are believed, and how far they have come. Reads no clock, file or process.
//!
//! Guarantees: what is believed was signed by a coordinator of this node's site for this node
//! ([`hamesh_proto::orders`]), and is none that came before one that was taken.
//!
//! The idea: it is kept where the agent cannot write. Enrolment puts it there, which root does with
//! a token that names the CA; from then on only what is believed changes it.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::credentials::{Credentials, CredentialsError, TrustBundle};
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::orders::{Believer, OrderError, Purpose, verify};
use hamesh_proto::spiffe::Principal;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};

use super::decide::Refusal;

/// Whom this node believes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Its site.
    pub site: SiteName,
    /// Its own name there.
    pub node: NodeId,
    /// The site's CAs, base64 of DER.
    cas: Vec<String>,
    /// The newest order that was taken.
    newest: Option<Number>,
}

/// Orders of a site are compared by it: those of a later incarnation, then of a later leadership,
/// are newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Number {
    incarnation: u64,
    epoch: u64,
    number: u64,
}

/// What a coordinator said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Which it is.
    pub number: Number,
    /// What it is.
    pub order: v1::RoleOrder,
    /// The CAs to believe from now on.
    cas: Vec<Vec<u8>>,
}

impl Anchor {
    /// That of a node with this identity; `None`: it is no node's.
    pub fn of(credentials: &Credentials) -> Option<Self> {
        let id = credentials.spiffe_id();
        let Principal::Agent(node) = &id.principal else {
            return None;
        };
        Some(Self {
            site: id.site.clone(),
            node: node.clone(),
            cas: encoded(credentials.trust().ders()),
            newest: None,
        })
    }

    /// What was signed, if it is to be believed `now`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(
        &self,
        signed: &v1::SignedRole,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<Believed, Refusal> {
        let trust = self.ders().and_then(|ders| TrustBundle::new(ders).ok());
        let believer = Believer {
            trust: &trust.ok_or(Refusal::Unanchored)?,
            site: &self.site,
            node: &self.node,
        };
        let statement = verify(signed, purpose, believer, now)?;
        let order = statement.order.ok_or(OrderError::Malformed)?;
        let number = Number::of(&order);
        match purpose {
            Purpose::Order => self.is_not_outdated(number)?,
            // It changes nothing, and only who asked it hears the answer.
            Purpose::Question => {}
        }
        Ok(Believed {
            number,
            order,
            cas: statement.ca_der,
        })
    }

    /// Whether an order of this number may still be taken.
    ///
    /// # Errors
    /// [`Refusal::Outdated`].
    pub fn is_not_outdated(&self, offered: Number) -> Result<(), Refusal> {
        match self.newest {
            Some(newest) if offered < newest => Err(Refusal::Outdated { offered, newest }),
            Some(_) | None => Ok(()),
        }
    }

    /// What it is when this was taken.
    #[must_use]
    pub fn after(&self, taken: &Believed) -> Self {
        let usable = TrustBundle::new(taken.cas.clone()).is_ok();
        Self {
            cas: match usable {
                true => encoded(&taken.cas),
                false => self.cas.clone(),
            },
            newest: Some(taken.number),
            ..self.clone()
        }
    }

    /// The node's identity with the CAs of here: what the agent keeps beside it is not asked.
    ///
    /// # Errors
    /// When it is not from these CAs.
    pub fn holding(&self, identity: Credentials) -> Result<Credentials, CredentialsError> {
        identity.trusting(self.ders().unwrap_or_default())
    }

    fn ders(&self) -> Option<Vec<Vec<u8>>> {
        let ders = self.cas.iter().map(|text| STANDARD.decode(text).ok());
        ders.collect()
    }
}

impl Number {
    fn of(order: &v1::RoleOrder) -> Self {
        Self {
            incarnation: order.assignment.map_or(0, |id| id.incarnation),
            epoch: order.epoch,
            number: order.number,
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.incarnation, self.epoch, self.number)
    }
}

fn encoded(ders: &[Vec<u8>]) -> Vec<String> {
    ders.iter().map(|der| STANDARD.encode(der)).collect()
}
