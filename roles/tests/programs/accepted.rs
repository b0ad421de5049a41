//! Every configuration is accepted by the program that reads it.

use std::fs;

use anyhow::{Result, ensure};
use hamesh_roles::engine::Resource;

use crate::files::Files;
use crate::network::run;
use crate::support::{DATABASES, PROXIES, desired};

#[test]
fn haproxy_accepts_every_configuration_without_a_warning() -> Result<()> {
    let files = Files::new()?;
    for (site, node) in PROXIES {
        let desired = desired(site, node, &files.given()?);
        let config = files.lay_out(node, &desired)?;
        let said = run("haproxy", &["-c", "-f", &config.display().to_string()])?;
        ensure!(!said.contains("WARNING"), "{site} {node}:\n{said}");
    }
    Ok(())
}

#[test]
fn nft_accepts_every_firewall() -> Result<()> {
    let files = Files::new()?;
    let mut tables = 0;
    for (site, node) in PROXIES.into_iter().chain(DATABASES) {
        for resource in desired(site, node, &files.given()?).resources {
            let Resource::Table(table) = resource else {
                continue;
            };
            let path = files.folder().join("firewall.nft");
            let (family, name, rules) = (table.family, table.name, table.rules);
            // As it is loaded: in place of what there was, in one transaction.
            let replaced = format!("table {family} {name} {{}}\ndelete table {family} {name}\n");
            fs::write(&path, replaced + &rules)?;
            let path = path.display().to_string();
            run("unshare", &["--net", "nft", "--check", "--file", &path])?;
            tables += 1;
        }
    }
    ensure!(tables == 5, "each edge and each database has one: {tables}");
    Ok(())
}
