//! What served before hamesh on this machine. It only looks.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hamesh_roles::adoption::{Found, Traces};

use crate::apply::program;
use crate::apply::systemd::Systemd;
use crate::observe::interfaces;

/// How long nft may take to name its tables.
const LISTED: Duration = Duration::from_secs(60);
/// How the names of hamesh's own tables begin.
const OWN: &str = "hamesh";

/// What is found of `traces`: `files` are those of the role, `outside` the addresses that hamesh
/// does not hold.
pub async fn look(
    traces: &Traces,
    files: &BTreeSet<&str>,
    outside: &[IpAddr],
    systemd: &Systemd,
) -> Found {
    let mut found = Found::default();
    match systemd.look(traces.mover).await {
        Ok(now) => found.mover = (now.runs(), now.enabled && now.load != "not-found"),
        Err(trouble) => found.unknown.push(trouble.problem),
    }
    match fs::read_to_string(traces.config) {
        Ok(text) => found.config = Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => found.unknown.push(format!("{}: {error}", traces.config)),
    }
    match interfaces::read() {
        Ok(all) => {
            let on = all.iter().flat_map(|it| {
                let addresses = it
                    .addresses
                    .iter()
                    .filter_map(|text| text.split('/').next());
                addresses.filter_map(|ip| Some((ip.parse::<IpAddr>().ok()?, it.name.clone())))
            });
            found.on = on.filter(|(ip, _)| outside.contains(ip)).collect();
        }
        Err(error) => found.unknown.push(format!("the interfaces: {error}")),
    }
    for (folder, end) in traces.beside {
        beside(folder, end, files, &mut found);
    }
    tables(&mut found).await;
    found
}

fn beside(folder: &str, end: &str, files: &BTreeSet<&str>, found: &mut Found) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            found.unknown.push(format!("{folder}: {error}"));
            return;
        }
    };
    let paths = entries
        .flatten()
        .map(|entry| entry.path().display().to_string());
    let other = paths.filter(|path| path.ends_with(end) && !files.contains(path.as_str()));
    found.beside.extend(other);
    found.beside.sort();
}

async fn tables(found: &mut Found) {
    let listed = program::run(&["nft", "list", "tables"], Some(LISTED)).await;
    let listed = listed.and_then(|ran| ran.well("nft list tables"));
    match listed {
        Ok(ran) => {
            let named = ran
                .stdout
                .lines()
                .filter_map(|line| line.strip_prefix("table "));
            let other = named.filter(|table| {
                let name = table.split_whitespace().nth(1);
                !name.is_some_and(|name| name.starts_with(OWN))
            });
            found.tables.extend(other.map(str::to_owned));
        }
        Err(trouble) => found.unknown.push(trouble.problem),
    }
}
