//! Taking over, keeping and giving back, as the holder's thread does it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hamesh_kernel::fence::{FenceError, Written};
use hamesh_kernel::reconcile::{Desired, Reason, Step};
use hamesh_kernel::vips::{VipError, Vips};

use crate::Test;
use crate::lab::{LONG, Lab, Node, VIP4, VIPS, until};
use crate::packets::accepts;

pub const TESTS: &[(&str, Test)] = &[
    ("a_planned_move_takes_every_client_along", planned_move),
    (
        "an_address_without_a_lease_is_taken_away_by_the_next_look",
        stray,
    ),
    (
        "a_held_address_that_someone_removed_comes_back",
        removed_by_hand,
    ),
    ("a_claim_without_a_network_here_is_not_taken", homeless),
    (
        "a_flushed_fence_makes_the_holder_give_back_at_once",
        flushed,
    ),
];

fn open(node: &Node) -> Result<Vips> {
    node.namespace.within(|| Ok(Vips::open()?))
}

/// Sockets for announcements are opened at the first take: inside, as the agent is.
fn take(node: &Node, vips: &mut Vips) -> Result<()> {
    let taken = || Ok(vips.take(&VIPS, Instant::now() + LONG)?);
    let written = node.namespace.within(taken)?;
    ensure!(written == Written::Live, "{written:?}");
    Ok(())
}

fn desired(held: &[IpAddr]) -> Desired {
    Desired {
        claimed: VIPS.into(),
        held: held.iter().copied().collect(),
    }
}

fn configured(node: &Node) -> Result<BTreeSet<IpAddr>> {
    let interfaces = node.rtnl()?.interfaces()?;
    let there = VIPS
        .into_iter()
        .filter(|v| interfaces.carrying(*v).count() > 0);
    Ok(there.collect())
}

fn planned_move() -> Result<()> {
    let lab = Lab::new(2)?;
    let [from, to] = [&lab.nodes[0], &lab.nodes[1]];
    for node in [from, to] {
        node.load()?;
    }
    let (mut old, mut new) = (open(from)?, open(to)?);
    take(from, &mut old)?;
    for vip in VIPS {
        accepts(&lab.hub, from, vip)?;
    }
    old.give_back(&VIPS)?;
    ensure!(configured(from)?.is_empty(), "an address was left behind");
    take(to, &mut new)?;
    for vip in VIPS {
        // The first announcement alone has turned the client round: nothing else was sent.
        let mac = to.mac.to_string();
        let look = || lab.hub.run(&format!("ip neigh show {vip}"));
        until("the client follows", look, |seen| seen.contains(&mac))?;
        accepts(&lab.hub, to, vip)?;
    }
    ensure!(new.announcement_due().is_some(), "the burst goes on");
    ensure!(old.announcement_due().is_none(), "who gave back is silent");
    ensure!(old.reconcile(&desired(&[]))? == []);
    ensure!(new.reconcile(&desired(&VIPS))? == []);
    Ok(())
}

fn stray() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    node.configure()?;
    node.fence()?.take(&VIPS, Instant::now() + LONG)?;
    let mut vips = open(node)?;
    let steps = vips.reconcile(&desired(&[]))?;
    let closed = steps.iter().filter(|s| matches!(s, Step::Close(_))).count();
    let reason = |s: &Step| matches!(s, Step::Remove { reason, .. } if *reason == Reason::NotHeld);
    ensure!(
        (closed, steps.iter().filter(|s| reason(s)).count()) == (2, 2),
        "{steps:?}"
    );
    ensure!(configured(node)?.is_empty());
    ensure!(node.fence()?.live()?.is_empty());
    ensure!(vips.reconcile(&desired(&[]))? == []);
    Ok(())
}

fn removed_by_hand() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    let mut vips = open(node)?;
    take(node, &mut vips)?;
    node.namespace.run("ip addr del 10.77.0.100/32 dev eth0")?;
    let steps = vips.reconcile(&desired(&VIPS))?;
    let (ip, index) = (VIP4, node.index);
    ensure!(steps == [Step::Add { ip, index }], "{steps:?}");
    ensure!(lab.answers(node, VIP4)?);
    Ok(())
}

fn homeless() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    let mut vips = open(node)?;
    let foreign = [VIP4, [172, 31, 0, 1].into()];
    let taken = vips.take(&foreign, Instant::now() + LONG);
    ensure!(matches!(taken, Err(VipError::Homeless { .. })), "{taken:?}");
    ensure!(configured(node)?.is_empty(), "half a claim was left");
    ensure!(node.fence()?.live()?.is_empty());
    Ok(())
}

fn flushed() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    let mut vips = open(node)?;
    take(node, &mut vips)?;
    node.namespace.run("nft flush ruleset")?;
    ensure!(
        lab.answers(node, VIP4)?,
        "without a fence the address still answers"
    );
    let renewed = vips.renew(&VIPS, Instant::now() + LONG);
    let error = renewed
        .err()
        .context("a renewal without a fence succeeded")?;
    ensure!(
        matches!(error, VipError::Fence(FenceError::NotLoaded { .. })),
        "{error:?}"
    );
    ensure!(
        configured(node)?.is_empty(),
        "the address was to be given back"
    );
    ensure!(!lab.answers(node, VIP4)?);
    Ok(())
}
