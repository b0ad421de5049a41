//! What others do to the fence, and what changes under it: noticed, and mended without opening.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use hamesh_kernel::fence::{FenceError, Written};
use hamesh_kernel::load::{self, Claimed, LoadError};
use hamesh_kernel::ruleset::{Damage, Desired, Part};

use crate::Test;
use crate::lab::{LONG, Lab, VIP4, VIPS, claimed};

pub const TESTS: &[(&str, Test)] = &[
    ("a_flushed_ruleset_is_reported_and_mended_closed", flushed),
    ("a_flushed_or_emptied_table_is_damage", partly_flushed),
    ("loading_again_keeps_what_is_live", loading_keeps_live),
    ("addresses_come_and_go_with_the_site", addresses_change),
    (
        "a_renamed_interface_stays_fenced_and_a_new_one_becomes_so",
        interfaces_change,
    ),
    ("the_golden_text_is_accepted_by_nft", golden_text),
    ("what_nft_refuses_is_said_in_its_own_words", refused_text),
];

fn flushed() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    fence.take(&VIPS, Instant::now() + LONG)?;
    node.namespace.run("nft flush ruleset")?;
    let renewed = fence.renew(&VIPS, Instant::now() + LONG);
    ensure!(
        matches!(renewed, Err(FenceError::NotLoaded { .. })),
        "{renewed:?}"
    );
    let taken = fence.take(&VIPS, Instant::now() + LONG);
    ensure!(
        matches!(taken, Err(FenceError::NotLoaded { .. })),
        "{taken:?}"
    );
    let closed = fence.close(&VIPS);
    ensure!(
        matches!(closed, Err(FenceError::NotLoaded { .. })),
        "{closed:?}"
    );
    ensure!(!desired(&lab)?.damage(&fence.observe()?).is_empty());
    node.load()?;
    let damage = desired(&lab)?.damage(&fence.observe()?);
    ensure!(damage.is_empty(), "{damage:?}");
    for vip in VIPS {
        ensure!(!lab.answers(node, vip)?, "a mended fence is open for {vip}");
    }
    Ok(())
}

fn desired(lab: &Lab) -> Result<Desired> {
    let interfaces = lab.nodes[0].rtnl()?.interfaces()?;
    let claimed = claimed().addresses;
    Ok(Desired {
        devices: interfaces.fenced(&claimed).devices,
        addresses: claimed,
    })
}

fn partly_flushed() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    for (attack, part) in [
        ("nft flush table inet hamesh_fence", Part::Host),
        ("nft flush chain arp hamesh_fence output", Part::Host),
        (
            "nft delete element inet hamesh_fence vips4 { 10.77.0.100 }",
            Part::Host,
        ),
        ("nft flush table netdev hamesh_fence", Part::Interfaces),
        ("nft delete table netdev hamesh_fence", Part::Interfaces),
    ] {
        node.load()?;
        let mut fence = node.fence()?;
        let damage = desired(&lab)?.damage(&fence.observe()?);
        ensure!(damage.is_empty(), "before `{attack}`: {damage:?}");
        node.namespace.run(attack)?;
        let damage = desired(&lab)?.damage(&fence.observe()?);
        let parts: Vec<Part> = damage.iter().map(Damage::part).collect();
        ensure!(parts.first() == Some(&part), "`{attack}`: {damage:?}");
        ensure!(parts.iter().all(|p| *p == part), "`{attack}`: {damage:?}");
    }
    Ok(())
}

fn loading_keeps_live() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    let mut fence = node.loaded_and_configured()?;
    fence.take(&VIPS, Instant::now() + LONG)?;
    // Damage in both parts makes both be loaded again.
    for family in ["inet", "netdev"] {
        node.namespace
            .run(&format!("nft flush table {family} hamesh_fence"))?;
    }
    node.load()?;
    for vip in VIPS {
        ensure!(
            lab.answers(node, vip)?,
            "loading closed the fence for {vip}"
        );
    }
    ensure!(fence.renew(&VIPS, Instant::now() + LONG)? == Written::Live);
    Ok(())
}

fn addresses_change() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.configure()?;
    let only_v6 = Claimed::of([VIPS[1]].into());
    node.namespace.within(|| Ok(load::load(&only_v6)?))?;
    ensure!(
        lab.answers(node, VIP4)?,
        "what is not claimed is not fenced"
    );
    ensure!(!lab.answers(node, VIPS[1])?);
    node.load()?;
    ensure!(!lab.answers(node, VIP4)?, "what became claimed is fenced");
    node.namespace.within(|| Ok(load::load(&only_v6)?))?;
    ensure!(
        lab.answers(node, VIP4)?,
        "what is no longer claimed is free again"
    );
    Ok(())
}

fn interfaces_change() -> Result<()> {
    let lab = Lab::new(1)?;
    let node = &lab.nodes[0];
    node.load()?;
    let net = &node.namespace;
    net.run("ip link set eth0 down")?;
    net.run("ip link set eth0 name trust.0")?;
    net.run("ip link set trust.0 up")?;
    net.run("ip addr replace fd77::2/64 dev trust.0 nodad")?;
    net.run("ip link add link trust.0 name trust.30 type macvlan mode bridge")?;
    node.load()?;
    let desired = desired(&lab)?;
    let names: BTreeSet<&str> = desired.devices.iter().map(|d| d.name.as_ref()).collect();
    ensure!(names == ["trust.0", "trust.30"].into(), "{names:?}");
    let damage = desired.damage(&node.fence()?.observe()?);
    ensure!(damage.is_empty(), "{damage:?}");
    let listed = net.run("nft list table netdev hamesh_fence")?;
    for device in ["\"trust.0\"", "\"trust.30\""] {
        ensure!(listed.contains(device), "{device} is not hooked: {listed}");
    }
    ensure!(
        !listed.contains("eth0"),
        "a chain of the old name is left: {listed}"
    );
    node.configure()?;
    ensure!(!lab.answers(node, VIP4)?);
    net.run("ip link delete trust.30")?;
    node.load()?;
    let damage = self::desired(&lab)?.damage(&node.fence()?.observe()?);
    ensure!(damage.is_empty(), "{damage:?}");
    Ok(())
}

fn golden_text() -> Result<()> {
    let lab = Lab::new(1)?;
    // Within the program, so that it finds it on another machine too.
    let text = include_str!("../golden/fence.nft");
    let net = &lab.nodes[0].namespace;
    for name in ["ens192", "bond0.30", "br_t@1"] {
        ensure!(
            text.contains(&format!("\"{name}\"")),
            "{name} is not in the golden text"
        );
        net.run(&format!("ip link add name {name} type bridge"))?;
    }
    net.within(|| Ok(load::check(text)?))?;
    let listed = net.run("nft list ruleset")?;
    ensure!(listed.is_empty(), "a check loaded something: {listed}");
    Ok(())
}

fn refused_text() -> Result<()> {
    let lab = Lab::new(1)?;
    let text = "table inet hamesh_fence {\n\tset live4 { type no_such_type; }\n}\n";
    let refused = lab.nodes[0].namespace.within(|| Ok(load::check(text)))?;
    match refused {
        Err(LoadError::Refused { said, .. }) => ensure!(said.contains("no_such_type"), "{said}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}
