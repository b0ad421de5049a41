//! The claims of this node: who holds them is decided by [`hamesh_claims`], made true in the kernel
//! by [`hamesh_kernel`]; here both are driven.
//!
//! ```text
//!  assignment, keys, health, gossip                     datagrams   interfaces, ARP
//!            |                                              |             |
//!         service  --- orders (bounded), waker --->   thread: holder --> duty --> Member
//!            |     <--- words, reports (bounded) ---        |             |
//!      disk, log, nft                                 /run, fence, addresses, announcements
//! ```
//! | module | does |
//! |---|---|
//! | [`service`] | the asynchronous side: tells the thread, writes to disk, logs, loads the fence |
//! | [`fencing`], [`words`] | keeps the fence loaded; what happened, as lines of the log |
//! | [`thread`], [`orders`], [`machine`] | the holder's thread, the way to it, the real machine |
//! | [`holder`], [`duty`], [`outbox`] | all claims, one claim, what they want said |
//! | [`world`] | what a holder needs of a machine |
//! | [`brief`], [`keys`], [`channels`] | what it was told; the keys and what opens under them |
//! | [`ears`], [`links`] | who else answers; whether interfaces can carry a claim |
//! | [`lease`] | until when this node leads the databases, for others |
//! | [`run_dir`], [`by_hand`] | what lives in `/run`; what a human does on the node |
//! | [`report`], [`metrics`] | how claims stand, for others |
//!
//! Guarantees: nothing on the thread waits for disk, log, DNS or a subprocess; when the agent dies
//! the kernel closes what it held.

pub mod brief;
pub mod by_hand;
pub mod channels;
pub mod duty;
pub mod ears;
pub mod fencing;
pub mod holder;
pub mod keys;
pub mod lease;
pub mod links;
pub mod machine;
pub mod metrics;
pub mod orders;
pub mod outbox;
pub mod report;
pub mod run_dir;
pub mod service;
pub mod thread;
pub mod words;
pub mod world;

pub use report::Report;
