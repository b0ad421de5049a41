//! The kernel closes the fence at the deadline by itself, and nothing but a new grant opens it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamesh_kernel::fence::Written;
use nix::sys::signal::Signal;

use crate::Test;
use crate::holder::Holder;
use crate::lab::{LONG, Lab, Node, VIP4, VIPS, until};

pub const TESTS: &[(&str, Test)] = &[
    (
        "a_stopped_holder_falls_silent_and_finds_its_lease_lapsed",
        stopped,
    ),
    (
        "a_killed_holder_falls_silent_although_its_address_stays",
        killed,
    ),
    (
        "a_renewal_moves_the_deadline_of_a_live_element",
        renewal_extends,
    ),
    ("a_renewal_never_opens_what_has_lapsed", renewal_never_opens),
    (
        "a_renewal_of_several_addresses_is_all_or_nothing",
        renewal_is_whole,
    ),
    (
        "a_take_over_replaces_a_longer_element_that_was_left",
        take_replaces,
    ),
    ("a_deadline_in_the_past_opens_nothing", past_deadline),
    ("giving_back_what_is_not_held_is_no_error", close_twice),
];

/// A fenced node with the addresses configured and a holder process that has been heard.
fn held(lab: &Lab) -> Result<(&Node, Holder)> {
    let node = &lab.nodes[0];
    node.load()?;
    node.configure()?;
    let mut holder = Holder::start(node)?;
    ensure!(holder.says()?.as_deref() == Some("live"));
    for vip in VIPS {
        until(
            "the holder answers",
            || lab.answers(node, vip),
            |answers| *answers,
        )?;
    }
    Ok((node, holder))
}

fn falls_silent(lab: &Lab, node: &Node) -> Result<()> {
    for vip in VIPS {
        until(
            "the fence closes",
            || lab.answers(node, vip),
            |answers| !answers,
        )?;
    }
    let interfaces = node.rtnl()?.interfaces()?;
    let configured = VIPS
        .iter()
        .all(|vip| interfaces.carrying(*vip).count() == 1);
    ensure!(
        configured,
        "the addresses were to stay configured: {interfaces:?}"
    );
    Ok(())
}

fn stopped() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut holder) = held(&lab)?;
    holder.signal(Signal::SIGSTOP)?;
    until("it is stopped", || holder.state(), |state| state == "T")?;
    falls_silent(&lab, node)?;
    ensure!(holder.state()? == "T", "it was stopped all the while");
    holder.signal(Signal::SIGCONT)?;
    let said = holder.says()?.context("it ended without a word")?;
    ensure!(said == "Lapsed" || said == "TooLate", "it said {said}");
    for vip in VIPS {
        ensure!(!lab.answers(node, vip)?, "it answers for {vip} again");
    }
    Ok(())
}

fn killed() -> Result<()> {
    let lab = Lab::new(1)?;
    let (node, mut holder) = held(&lab)?;
    holder.signal(Signal::SIGKILL)?;
    ensure!(holder.says()?.is_none());
    falls_silent(&lab, node)
}

fn renewal_extends() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    let take_and_renew = || {
        let first = Instant::now() + Duration::from_millis(500);
        fence.take(&VIPS, first)?;
        Ok((fence.renew(&VIPS, Instant::now() + LONG)?, first))
    };
    // A busy machine may need more than one try to renew in time.
    let in_time = |seen: &(Written, Instant)| seen.0 == Written::Live;
    let (_, first) = until("a renewal in time", take_and_renew, in_time)?;
    std::thread::sleep(first.saturating_duration_since(Instant::now()));
    for vip in VIPS {
        ensure!(
            lab.answers(node, vip)?,
            "silent for {vip} at the first deadline"
        );
        let open = fence.live()?.get(&vip).copied().context("not live")?;
        ensure!(
            open.remaining
                .is_some_and(|left| left > LONG / 2 && left <= LONG),
            "{open:?}"
        );
        ensure!(open.tables == if vip.is_ipv4() { 3 } else { 2 }, "{open:?}");
    }
    Ok(())
}

fn renewal_never_opens() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    let never_taken = fence.renew(&VIPS, Instant::now() + LONG)?;
    ensure!(never_taken == Written::Lapsed, "{never_taken:?}");
    fence.take(&VIPS, Instant::now() + Duration::from_millis(30))?;
    until("it lapses", || Ok(fence.live()?), |live| live.is_empty())?;
    let lapsed = fence.renew(&VIPS, Instant::now() + LONG)?;
    ensure!(lapsed == Written::Lapsed, "{lapsed:?}");
    ensure!(fence.live()?.is_empty());
    for vip in VIPS {
        ensure!(!lab.answers(node, vip)?, "a renewal opened {vip}");
    }
    ensure!(fence.take(&VIPS, Instant::now() + LONG)? == Written::Live);
    ensure!(lab.answers(node, VIP4)?, "a fresh grant does open it");
    Ok(())
}

fn renewal_is_whole() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    fence.take(&VIPS, Instant::now() + LONG)?;
    fence.close(&VIPS[1..])?;
    ensure!(fence.renew(&VIPS, Instant::now() + LONG)? == Written::Lapsed);
    ensure!(
        fence.live()?.is_empty(),
        "half a claim is open: {:?}",
        fence.live()?
    );
    ensure!(!lab.answers(node, VIP4)?);
    Ok(())
}

fn take_replaces() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    fence.take(&VIPS, Instant::now() + LONG)?;
    fence.take(&VIPS, Instant::now() + Duration::from_millis(300))?;
    falls_silent(&lab, node)
}

fn past_deadline() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    let now = Instant::now();
    ensure!(fence.take(&VIPS, now)? == Written::TooLate);
    ensure!(fence.live()?.is_empty());
    fence.take(&VIPS, now + LONG)?;
    ensure!(fence.renew(&VIPS, now)? == Written::TooLate);
    ensure!(
        fence.live()?.is_empty(),
        "a renewal that came too late left the fence open"
    );
    Ok(())
}

fn close_twice() -> Result<()> {
    let lab = Lab::new(1)?;
    lab.nodes[0].load()?;
    let mut fence = lab.nodes[0].fence()?;
    fence.close(&VIPS)?;
    fence.close(&VIPS)?;
    ensure!(fence.live()?.is_empty());
    Ok(())
}
