//! The fence of the databases: who reaches PostgreSQL and Patroni on a node, and whom PostgreSQL's
//! user reaches from it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hamesh_kernel::database::DatabaseFence;
use hamesh_kernel::fence::{FenceError, Written};
use hamesh_kernel::load::{Claimed, load};

use crate::Test;
use crate::lab::{LONG, Lab, Node, until};

pub const TESTS: &[(&str, Test)] = &[
    (
        "a_database_is_reached_under_a_lease_and_not_after_it",
        leased,
    ),
    ("a_lapsed_lease_of_a_database_is_not_renewed", lapsed),
    (
        "a_database_that_only_reads_is_reached_for_a_while",
        let_read,
    ),
    (
        "patroni_takes_part_under_a_lease_or_when_it_is_let",
        stands_by,
    ),
    (
        "a_table_of_the_databases_that_is_missing_is_named",
        not_loaded,
    ),
];

const POSTGRESQL: u16 = 5432;
const PATRONI: u16 = 8008;
const ETCD: u16 = 2379;
/// Nothing fences it.
const OTHER: u16 = 5433;
/// How long a connection is waited for: its packets are dropped, or it is there at once.
const SOON: Duration = Duration::from_millis(400);

/// A node that listens, with a closed fence, and the way to that fence.
fn fenced(lab: &Lab) -> Result<(&Node, DatabaseFence)> {
    let node = &lab.nodes[0];
    let own = node.own()[0];
    node.namespace.within(|| {
        load(&Claimed {
            database: true,
            ..Claimed::default()
        })?;
        for port in [POSTGRESQL, PATRONI, ETCD, OTHER] {
            let listener = TcpListener::bind((own, port))?;
            // Until the process ends: connections that nobody takes would fill its queue.
            std::thread::spawn(move || listener.incoming().for_each(drop));
        }
        Ok((node, DatabaseFence::open()?))
    })
}

/// Whether another machine reaches a port. That nothing else is in the way is seen at another one.
fn reached(lab: &Lab, node: &Node, port: u16) -> Result<bool> {
    let connects = |port| -> Result<bool> {
        let at = SocketAddr::new(node.own()[0], port);
        lab.hub
            .within(|| Ok(TcpStream::connect_timeout(&at, SOON).is_ok()))
    };
    let reached = connects(port)?;
    ensure!(connects(OTHER)?, "the node is not reached at all");
    Ok(reached)
}

fn leased() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut fence) = fenced(&lab)?;
    ensure!(!reached(&lab, node, POSTGRESQL)?, "open from the start");
    let lease = Duration::from_secs(2);
    ensure!(fence.take(Instant::now() + lease)? == Written::Live);
    ensure!(reached(&lab, node, POSTGRESQL)? && reached(&lab, node, PATRONI)?);
    until(
        "the lease runs out",
        || reached(&lab, node, POSTGRESQL),
        |reached| !reached,
    )?;
    ensure!(!reached(&lab, node, PATRONI)?, "Patroni is reached yet");
    ensure!(fence.live()?.is_none());
    ensure!(fence.take(Instant::now() + LONG)? == Written::Live);
    ensure!(reached(&lab, node, POSTGRESQL)?);
    fence.close()?;
    ensure!(
        !reached(&lab, node, POSTGRESQL)?,
        "open after it was closed"
    );
    // What is loaded again while it is open stays open.
    fence.take(Instant::now() + LONG)?;
    node.namespace.within(|| {
        load(&Claimed {
            database: true,
            ..Claimed::default()
        })?;
        Ok(())
    })?;
    ensure!(reached(&lab, node, POSTGRESQL)?, "closed by loading");
    Ok(())
}

fn lapsed() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut fence) = fenced(&lab)?;
    fence.take(Instant::now() + Duration::from_millis(200))?;
    until("it lapses", || Ok(fence.live()?), Option::is_none)?;
    ensure!(fence.renew(Instant::now() + LONG)? == Written::Lapsed);
    ensure!(!reached(&lab, node, POSTGRESQL)?, "a renewal opened it");
    ensure!(fence.take(Instant::now())? == Written::TooLate);
    ensure!(fence.live()?.is_none(), "open after its time");
    ensure!(fence.take(Instant::now() + LONG)? == Written::Live);
    ensure!(fence.renew(Instant::now() + Duration::from_secs(5))? == Written::Live);
    let left = fence.live()?.unwrap_or_default();
    ensure!(left <= Duration::from_secs(5), "{left:?} are left");
    Ok(())
}

fn let_read() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut fence) = fenced(&lab)?;
    fence.let_read(Duration::from_secs(2))?;
    ensure!(reached(&lab, node, POSTGRESQL)?);
    until(
        "reading is over",
        || reached(&lab, node, POSTGRESQL),
        |reached| !reached,
    )?;
    // Who takes the lease and loses it is closed, though it was read from just before.
    fence.let_read(LONG)?;
    fence.take(Instant::now() + LONG)?;
    fence.close()?;
    ensure!(!reached(&lab, node, POSTGRESQL)?, "open to readers");
    Ok(())
}

/// Whether PostgreSQL's user reaches etcd on this node; `None`: the machine has no such user.
fn user_reaches_etcd(node: &Node, own: IpAddr) -> Result<Option<bool>> {
    if node.namespace.try_run("id postgres")?.status.code() != Some(0) {
        return Ok(None);
    }
    let ask = format!("runuser -u postgres -- timeout 0.4 bash -c :</dev/tcp/{own}/{ETCD}");
    Ok(Some(node.namespace.try_run(&ask)?.status.success()))
}

fn stands_by() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut fence) = fenced(&lab)?;
    let own = node.own()[0];
    let check = |what: &str, open: bool| -> Result<()> {
        let patroni = reached(&lab, node, PATRONI)?;
        ensure!(patroni == open, "{what}: Patroni is reached: {patroni}");
        let etcd = user_reaches_etcd(node, own)?;
        ensure!(etcd.is_none_or(|etcd| etcd == open), "{what}: {etcd:?}");
        Ok(())
    };
    check("at first", false)?;
    ensure!(!fence.stands_by()?);
    fence.stand_by()?;
    ensure!(fence.stands_by()?);
    check("let", true)?;
    fence.take(Instant::now() + LONG)?;
    ensure!(!fence.stands_by()?, "without an end, under a lease");
    check("under a lease", true)?;
    fence.close()?;
    check("after the lease", false)?;
    // Root is not kept from etcd: the agent asks it, whatever became of the lease.
    let at = SocketAddr::new(own, ETCD);
    let asked = node
        .namespace
        .within(|| Ok(TcpStream::connect_timeout(&at, SOON).is_ok()))?;
    ensure!(asked, "the agent does not reach etcd");
    Ok(())
}

fn not_loaded() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.namespace.within(|| Ok(DatabaseFence::open()?))?;
    let missing = |done: Result<(), FenceError>| matches!(done, Err(FenceError::NoDatabase));
    ensure!(missing(fence.close()) && missing(fence.stand_by()));
    ensure!(missing(fence.live().map(drop)));
    let later = Instant::now() + LONG;
    ensure!(missing(fence.take(later).map(drop)) && missing(fence.renew(later).map(drop)));
    // And is taken away where nothing is claimed any more.
    let (node, mut fence) = fenced(&lab)?;
    node.namespace
        .within(|| Ok(load(&Claimed::default()).map(drop)?))?;
    ensure!(missing(fence.close()), "the table is there yet");
    Ok(())
}
