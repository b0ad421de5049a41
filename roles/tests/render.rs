//! Golden files of what the roles make of nodes.
//!
//! `golden/sites/SITE.yaml` is a document; `golden/roles/SITE/NODE/` holds each file and table of
//! that node that may be shown, and `resources` all that it is to have. `UPDATE_GOLDEN=1 cargo
//! test -p hamesh-roles` writes them anew; review the difference.

use std::fs;
use std::path::Path;

use hamesh_roles::engine::{Certificate, Desired, Probe, Resource};

mod support;

const PEM: &str = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";

/// Compares with the golden file, or writes it if asked to.
fn golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("the golden folder is writable");
        fs::write(path, actual).expect("the golden file is writable");
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    let path = path.display();
    assert_eq!(actual, wanted, "{path}: UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn every_file_and_table_of_a_node_is_as_reviewed() {
    for (site, node) in support::PROXIES.into_iter().chain(support::DATABASES) {
        let desired = support::desired(site, node, PEM);
        let folder = support::folder().join("roles").join(site).join(node);
        golden(&folder.join("resources"), &summary(&desired));
        for resource in &desired.resources {
            let (path, text) = match resource {
                // Programs are read where they are.
                Resource::File(file) if file.path.ends_with(".py") => continue,
                Resource::File(file) if !file.content.secret => (&file.path, &file.content.text),
                Resource::Table(table) => (&table.path, &table.rules),
                _ => continue,
            };
            let path = Path::new(path);
            let name = path.file_name().expect("a name");
            // What is added to a unit has the unit's name.
            let unit = path.parent().and_then(Path::file_name).filter(|it| {
                let name = it.to_string_lossy();
                name.ends_with(".service.d")
            });
            golden(&folder.join(unit.unwrap_or(name)), text);
        }
    }
}

fn summary(desired: &Desired) -> String {
    let role = desired.role.map_or("none", |role| role.name());
    let mut text = format!("role {role}\n\n");
    for resource in &desired.resources {
        let (id, terms) = (resource.id(), terms(resource));
        text.push_str(&format!("{id}{terms}{}\n", live(resource)));
    }
    text.push_str("\nproven by\n");
    for gate in &desired.gates {
        let probe = match &gate.probe {
            Probe::Active { unit } => format!("{unit} is active"),
            Probe::Tcp { address } => format!("tcp {address}"),
            Probe::Http { url } => url.clone(),
            Probe::Shows {
                address,
                certificate,
            } => format!("{address} shows {certificate}"),
            Probe::Program { argv } => format!("`{}` ends well", argv.join(" ")),
        };
        text.push_str(&format!(
            "  {}: {probe}, within {} ms\n",
            gate.name, gate.within_ms
        ));
    }
    text.push_str("\nmust still reach one of\n");
    for address in &desired.lifelines {
        text.push_str(&format!("  {address}\n"));
    }
    text
}

fn live(resource: &Resource) -> String {
    let Some(live) = resource.live() else {
        return String::new();
    };
    let trusts = if live.trusts { " and trusted" } else { "" };
    format!("\n  handed to {} at {}{trusts}", live.unit, live.socket)
}

fn terms(resource: &Resource) -> String {
    match resource {
        Resource::Package(it) => it
            .version
            .as_ref()
            .map_or_else(String::new, |it| format!(" {it}")),
        Resource::Sysctl { value, .. } => format!(" = {value}"),
        Resource::Directory(it) => format!(" {:o} {}:{}", it.mode, it.owner, it.group),
        Resource::File(it) => {
            let secret = if it.content.secret { ", secret" } else { "" };
            let accepted = match it.validate.is_empty() {
                true => String::new(),
                false => format!(", accepted by `{}`", it.validate.join(" ")),
            };
            format!(" {:o} {}:{}{secret}{accepted}", it.mode, it.owner, it.group)
        }
        Resource::Certificate(it) => certificate(it),
        Resource::Table(it) => format!(" kept in {}", it.path),
        Resource::Unit(it) => {
            let reads: Vec<_> = it
                .reads
                .iter()
                .map(|id| format!("\n  reads {id}"))
                .collect();
            reads.concat()
        }
        Resource::Command(it) => {
            let undone = match it.undo.is_empty() {
                true => String::new(),
                false => format!("\n  undone by {}", it.undo.join(" ")),
            };
            let (unless, argv) = (it.unless.join(" "), it.argv.join(" "));
            format!("\n  unless {unless}\n  run {argv}{undone}")
        }
        Resource::Module { .. } | Resource::Mount(_) | Resource::User(_) => String::new(),
    }
}

fn certificate(it: &Certificate) -> String {
    let ips = it.ips.iter().map(ToString::to_string);
    let names: Vec<String> = it.dns.iter().cloned().chain(ips).collect();
    let (owner, files) = (
        format!("{}:{}", it.owner, it.group),
        [&it.certificate, &it.key],
    );
    format!(
        " {owner} for {}\n  in {}\n  key in {}",
        names.join(", "),
        files[0],
        files[1]
    )
}
