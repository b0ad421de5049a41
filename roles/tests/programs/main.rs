//! What real programs make of what is rendered: HAProxy and nft accept it, and packets go where
//! they should and nowhere else; members of a database find each other. Needs root, `haproxy`,
//! `nft`, `ip`, `curl`, `etcd`, `etcdctl`, `patroni` and PostgreSQL's programs.

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod database;
mod files;
mod firewall;
mod network;
mod traffic;
