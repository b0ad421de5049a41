//! The VIP bench: hamesh beside keepalived, the same faults on the same two proxies.
//!
//! A run brings one rival to a known state, watches it from all sides, causes one fault, and leaves
//! one record. What was seen is judged by pure functions, so that a table can be made again from
//! the records alone.
//!
//! | module | holds |
//! |---|---|
//! | [`probes`], [`holding`], [`arp`] | pure: what probes, samples and ARP answers amount to |
//! | [`figures`], [`record`] | pure: one run, and its place among all |
//! | [`table`], [`curve`], [`bars`] | pure: what is printed of all runs |
//! | [`rival`], [`case`], [`options`] | pure: what is compared, under which faults, how often |
//! | [`watch`], [`client`], [`inside`], [`listener`], [`stillness`] | drivers that look on |
//! | [`proxies`], [`keepalived`], [`hamesh`] | drivers that set up the site and the rivals |
//! | [`tell`] | what keepalived is told of HAProxy, on a proxy |
//! | [`faults`], [`idle`], [`bench`] | drivers that cause, weigh, and put it all in order |
//!
//! Absent: a view of anything but this machine's monotonic clock, which all parts share.

pub mod arp;
pub mod bars;
pub mod bench;
pub mod case;
pub mod client;
pub mod curve;
pub mod faults;
pub mod figures;
pub mod hamesh;
pub mod holding;
pub mod idle;
pub mod inside;
pub mod keepalived;
pub mod listener;
pub mod options;
pub mod probes;
pub mod proxies;
pub mod record;
pub mod rival;
pub mod stillness;
pub mod table;
pub mod tell;
pub mod watch;
