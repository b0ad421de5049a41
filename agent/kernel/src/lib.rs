//! The Linux side of a claim.
pub mod device;
pub mod fence;
pub mod interfaces;
pub mod load;
pub mod nf;
mod netlink;
mod nla;
pub mod rtnl;
pub mod ruleset;
