//! What real programs make of what is rendered: HAProxy and nft accept it, and packets go where
//! they should and nowhere else. Needs root, `haproxy`, `nft`, `ip` and `curl`.

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod files;
mod firewall;
mod network;
mod traffic;
