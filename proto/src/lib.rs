//! The contract between agents, coordinators and operators.
//!
//! | module | holds |
//! |---|---|
//! | [`v1`] | the generated gRPC messages, clients and servers |
//! | [`logging`] | journald fields, or lines for a person |
//! | [`etcd`] | the part of etcd's API that the store speaks |

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

pub mod logging;
