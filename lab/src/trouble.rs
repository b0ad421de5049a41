//! Changes the network faults in force: the record and the kernel's rules together.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};

use anyhow::{Context as _, Result, bail};

use crate::faults::{Faults, Loss, parse_partition};
use crate::host;
use crate::lab::Lab;
use crate::names;

/// The faults in force.
pub fn current() -> Result<Faults> {
    match fs::read_to_string(names::faults_file()) {
        Ok(text) if text.is_empty() => Ok(Faults::default()),
        Ok(text) => serde_json::from_str(&text).context("reading the faults in force"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Faults::default()),
        Err(error) => Err(error).context("reading the faults in force"),
    }
}

/// Changes the faults in force; two changes at once are made one after the other.
pub fn change(lab: &Lab, edit: impl FnOnce(&mut Faults)) -> Result<()> {
    let path = names::faults_file();
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    file.lock()
        .context("waiting for another change of faults")?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .context("reading the faults in force")?;
    let mut faults = match text.as_str() {
        "" => Faults::default(),
        text => serde_json::from_str(text).context("reading the faults in force")?,
    };
    edit(&mut faults);
    host::load_rules(faults.ruleset(&lab.topology.ports()))?;
    let text = serde_json::to_string_pretty(&faults).context("writing the faults")?;
    file.rewind().context("writing the faults")?;
    file.set_len(0).context("writing the faults")?;
    file.write_all(text.as_bytes())
        .context("writing the faults")
}

/// Cuts members off from every network.
pub fn cut(lab: &Lab, members: &[String]) -> Result<()> {
    check_members(lab, members)?;
    change(lab, |faults| {
        faults.cut.extend(members.iter().cloned());
    })
}

/// Ends the faults of members, or every fault if none is named.
pub fn heal(lab: &Lab, members: &[String]) -> Result<()> {
    check_members(lab, members)?;
    change(lab, |faults| {
        if members.is_empty() {
            *faults = Faults::default();
        }
        members.iter().for_each(|member| faults.heal(member));
    })
}

/// Parts the site into the groups of a text such as `a,b | c`.
pub fn partition(lab: &Lab, groups: &str) -> Result<()> {
    let known = lab.topology.ports().into_keys().collect();
    let groups = parse_partition(groups, &known).map_err(anyhow::Error::msg)?;
    change(lab, |faults| {
        faults.partition = groups;
    })
}

/// Makes a member lose a share of its packets.
pub fn lose(lab: &Lab, member: &str, loss: Loss) -> Result<()> {
    check_members(lab, &[member.to_owned()])?;
    change(lab, |faults| {
        faults.lose(member, loss);
    })
}

/// Refuses names that are neither a node nor a client.
fn check_members(lab: &Lab, members: &[String]) -> Result<()> {
    let known = lab.topology.ports();
    if let Some(unknown) = members.iter().find(|member| !known.contains_key(*member)) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        bail!(
            "no `{unknown}` in site {}; it has {}",
            lab.topology.site,
            names.join(", ")
        );
    }
    Ok(())
}
