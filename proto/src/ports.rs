//! The ports that hamesh listens on. `docs/security.md` says who may speak to each.

/// Coordinator: the gRPC API, mutual TLS.
pub const API: u16 = 7443;
/// Coordinator: lease datagrams, sealed UDP; the API's number.
pub const COORDINATOR_LEASES: u16 = 7443;
/// Coordinator: enrolment, TLS with the site CA pinned by the client.
pub const ENROLMENT: u16 = 7444;
/// Agent: gossip, sealed UDP datagrams.
pub const GOSSIP: u16 = 7445;
/// Agent: metrics, HTTPS with mutual TLS.
pub const AGENT_METRICS: u16 = 7446;
/// Coordinator: metrics, HTTPS with mutual TLS.
pub const COORDINATOR_METRICS: u16 = 7447;
/// Store: clients, 127.0.0.1 only, mutual TLS under the store's own CA.
pub const STORE_CLIENT: u16 = 7448;
/// Store: peers, mutual TLS under the store's own CA.
pub const STORE_PEER: u16 = 7449;
/// Agent: lease datagrams, sealed UDP, with coordinators and other members of its claims.
pub const AGENT_LEASES: u16 = 7450;
