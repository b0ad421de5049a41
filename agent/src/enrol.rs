//! Becoming a member of a site, and coming back after the certificate has run out.
//!
//! Guarantees: the coordinator is believed only if it shows the CA whose fingerprint came with the
//! token; the token leaves the node only then. A retry after a crash at any point is safe: the key
//! is on disk before it is first sent and is the same at every retry, and the identity replaces
//! the old one as a whole, after everything it needs.
//!
//! ```text
//! identity.pending -> Enrol(token, key) -> coordinators.json -> identity.pem -> no .pending
//! ```

use std::net::SocketAddr;

use hamesh_proto::ca::Fingerprint;
use hamesh_proto::credentials::{Credentials, CredentialsError, PrivateKey};
use hamesh_proto::ids::NodeId;
use hamesh_proto::leader::{ASK_AGAIN, ELECTION, Elsewhere};
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::{ConnectError, pinned_channel};
use hamesh_proto::token::EnrolmentToken;
use hamesh_proto::v1;
use hamesh_proto::v1::enrolment_client::EnrolmentClient;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::assignment::{Coordinator, Refusal, coordinators};
use crate::state::{StateDir, StateError};

/// Why a node could not enrol or re-enrol. Unless it says otherwise, the node's identity is
/// unchanged and the same command may be given again.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The node has an identity already.
    #[error(
        "this node is enrolled already, as {id}; nothing was changed. \
         To give it another identity, run the same command with --replace"
    )]
    AlreadyEnrolled {
        /// Who it is.
        id: String,
    },
    /// The node has no identity yet.
    #[error("this node is not enrolled; `coordctl token create NODE` makes a token for it")]
    NotEnrolled,
    /// The token names another CA than the coordinator shows.
    #[error(
        "{address} does not show the CA that the token names, so the token was not sent. \
         Is the address right, and the token from this site? (expected CA {expected})"
    )]
    OtherCa {
        /// Who was asked.
        address: SocketAddr,
        /// The CA's fingerprint in the token.
        expected: Fingerprint,
    },
    /// No coordinator could be reached.
    #[error(
        "cannot reach the enrolment port of {address}; nothing was changed. \
         Check the address, the network and `systemctl status hamesh-coordinator` there"
    )]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What the connection said.
        source: tonic::Status,
    },
    /// The coordinator said no.
    #[error("the coordinator at {address} refused: {reason}")]
    Refused {
        /// Who was asked.
        address: SocketAddr,
        /// In its own words.
        reason: String,
    },
    /// The coordinator's answer is of no use.
    #[error("the coordinator at {address} answered with {what}; nothing was changed")]
    BadAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// What is wrong with the answer.
        what: String,
    },
    /// No coordinator is known.
    #[error("no coordinator is known on this node; name one with --coordinator IP:7444")]
    NoCoordinator,
    /// The state directory is of no use.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What to enrol as, and where.
#[derive(Debug)]
pub struct Enrolment {
    /// The coordinator's enrolment port.
    pub coordinator: SocketAddr,
    /// The single-use token.
    pub token: EnrolmentToken,
    /// The node that the token was made for.
    pub node: NodeId,
    /// Whether an identity that is there may be replaced.
    pub replace: bool,
}

impl Enrolment {
    /// Enrols, and keeps the identity on disk.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn run(&self, state: &StateDir) -> Result<Credentials, EnrolError> {
        // A damaged identity may be replaced, too.
        let present = if self.replace {
            None
        } else {
            state.identity()?
        };
        if let Some(present) = present {
            return Err(EnrolError::AlreadyEnrolled {
                id: present.spiffe_id().to_string(),
            });
        }
        let key = state.pending_key()?;
        let request = v1::EnrolRequest {
            node: self.node.to_string(),
            token: self.token.to_string(),
            csr_der: key.csr_der(),
            agent_version: crate::version().to_owned(),
        };
        let (address, answer) = self.ask(request).await?;
        Accepted::read(address, key, answer, &self.node)?.keep(state)
    }

    /// Asks the coordinator that was named, or the one that leads by its word. The same request may
    /// be sent again: a token that was traded for a key is good for that key.
    async fn ask(
        &self,
        request: v1::EnrolRequest,
    ) -> Result<(SocketAddr, v1::EnrolResponse), EnrolError> {
        let ca = self.token.ca();
        let (named, begun) = (self.coordinator, Instant::now());
        let mut address = named;
        loop {
            let mut client = EnrolmentClient::new(pinned_channel(address, ca));
            let status = match client.enrol(request.clone()).await {
                Ok(answer) => return Ok((address, answer.into_inner())),
                Err(status) => status,
            };
            let elsewhere = Elsewhere::of(&status);
            let refusal = refusal(address, ca, status);
            if begun.elapsed() > ELECTION {
                return Err(refusal);
            }
            address = match (elsewhere, &refusal) {
                (Some(Elsewhere::At(leader)), _) => leader.enrolment,
                (Some(Elsewhere::Nowhere), _) => named,
                // The leader that was named may just have been lost.
                (None, EnrolError::Unreachable { .. }) if address != named => named,
                (None, _) => return Err(refusal),
            };
            sleep(ASK_AGAIN).await;
        }
    }
}

/// Trades the expired certificate for a new one, while an admin holds the window open.
///
/// # Errors
/// [`EnrolError`] of the last coordinator that was asked.
pub async fn re_enrol(
    state: &StateDir,
    present: &Credentials,
    known: &[SocketAddr],
) -> Result<Credentials, EnrolError> {
    let node = match &present.spiffe_id().principal {
        Principal::Agent(node) => node.clone(),
        Principal::Coordinator(_) | Principal::Operator(_) => return Err(EnrolError::NotEnrolled),
    };
    let key = state.pending_key()?;
    let request = hamesh_proto::re_enrol::request(present, key.csr_der(), crate::version());
    let mut last = EnrolError::NoCoordinator;
    for &address in known {
        for der in present.trust().ders() {
            let ca = Fingerprint::of(der);
            let mut client = EnrolmentClient::new(pinned_channel(address, ca));
            match client.re_enrol(request.clone()).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    return Accepted::read(address, key, answer, &node)?.keep(state);
                }
                Err(status) => {
                    // A word from a coordinator says more than a connection that failed.
                    if !matches!(last, EnrolError::Refused { .. }) {
                        last = refusal(address, ca, status);
                    }
                }
            }
        }
    }
    Err(last)
}

/// A coordinator's answer, checked.
struct Accepted {
    credentials: Credentials,
    coordinators: Vec<Coordinator>,
}

impl Accepted {
    fn read(
        address: SocketAddr,
        key: PrivateKey,
        answer: v1::EnrolResponse,
        node: &NodeId,
    ) -> Result<Self, EnrolError> {
        let bad = |what: String| EnrolError::BadAnswer { address, what };
        let bundle = answer
            .bundle
            .ok_or_else(|| bad("no certificate".to_owned()))?;
        let credentials = credentials(key, bundle)
            .map_err(|error| bad(format!("a certificate that is of no use ({error})")))?;
        let id = credentials.spiffe_id();
        if id.principal != Principal::Agent(node.clone()) {
            return Err(bad(format!("a certificate for {id}, not for agent/{node}")));
        }
        let coordinators = coordinators(answer.coordinators)
            .map_err(|error: Refusal| bad(format!("addresses that cannot be read ({error})")))?;
        Ok(Self {
            credentials,
            coordinators,
        })
    }

    fn keep(self, state: &StateDir) -> Result<Credentials, EnrolError> {
        state.save_coordinators(&self.coordinators)?;
        state.save_identity(&self.credentials)?;
        state.forget_pending_key()?;
        Ok(self.credentials)
    }
}

/// Puts a key and what a coordinator issued for it together.
///
/// # Errors
/// When they do not belong together.
pub fn credentials(
    key: PrivateKey,
    bundle: v1::CertificateBundle,
) -> Result<Credentials, CredentialsError> {
    Credentials::new(key, bundle.certificate_der, bundle.ca_der)
}

fn refusal(address: SocketAddr, expected: Fingerprint, status: tonic::Status) -> EnrolError {
    let connection = ConnectError::find(&status).map(ConnectError::is_refusal);
    match (connection, status.code()) {
        (Some(true), _) => EnrolError::OtherCa { address, expected },
        (Some(false), _) | (None, Code::Unavailable | Code::DeadlineExceeded) => {
            EnrolError::Unreachable {
                address,
                source: status,
            }
        }
        (None, _) => EnrolError::Refused {
            address,
            reason: status.message().to_owned(),
        },
    }
}
