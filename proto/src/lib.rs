//! The contract between agents, coordinators and operators.
//!
//! | module | holds |
//! |---|---|
//! | [`v1`] | the generated gRPC messages, clients and servers |
//! | [`logging`] | journald fields, or lines for a person |
//! | [`etcd`] | the part of etcd's API that the store speaks |
//! | [`ids`], [`spiffe`] | names, and the identities made of them |
//! | [`ca`], [`key`], [`leaf`], [`trust`] | issuing certificates, and checking them |
//! | [`coordinate`] | the note that makes a machine a coordinator |
//! | [`credentials`] | who a process is: key, certificate and trusted CAs, renewed in flight |
//! | [`tls`] | connections: listeners, channels, who is on the other side |
//! | [`server_pem`] | a server's certificate as an operator gives it |
//! | [`seal`] | gossip datagrams and secrets at rest, sealed |
//! | [`leader`] | how a coordinator that does not lead says where the leader is |
//! | [`leases`] | lease datagrams: their content and their seal |
//! | [`facts`], [`re_enrol`] | what a node signs: facts about itself, a request after expiry |
//! | [`orders`] | what a coordinator signs: what a node is to have on it |
//! | [`metrics_http`] | metrics over mutual TLS, pages on a unix socket |
//! | [`token`] | the single-use secret that lets a node enrol |
//! | [`digest`], [`hex`], [`pem_text`] | texts of bytes |
//! | [`files`], [`random`], [`unix_time`] | the small parts underneath |
//! | [`ports`] | who listens where |
//! | [`version`] | versions of the packages: which comes later, which one runs |

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod v1 {
    //! Generated from `proto/hamesh/v1.proto`, which documents every field.
    tonic::include_proto!("hamesh.v1");
}

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod etcd {
    //! Generated from `proto/etcd/etcd.proto`.
    tonic::include_proto!("etcdserverpb");
}

pub mod ca;
pub mod coordinate;
pub mod credentials;
pub mod digest;
pub mod facts;
pub mod files;
pub mod hex;
pub mod ids;
pub mod incarnation;
pub mod key;
pub mod leader;
pub mod leaf;
pub mod leases;
pub mod logging;
pub mod metrics_http;
pub mod orders;
pub mod parts;
pub mod pem_text;
pub mod ports;
pub mod random;
pub mod re_enrol;
pub mod seal;
pub mod server_pem;
pub mod spiffe;
pub mod tls;
pub mod token;
pub mod trust;
pub mod unix_time;
pub mod version;
