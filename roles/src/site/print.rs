//! A site as a document: one line per network, virtual address and node.

use std::fmt;
use std::path::Path;

use super::print_database;
use super::print_proxies::{edge_fields, internal_fields};
use super::{Backups, HeldBy, LabOptions, Mode, Network, Node, Site, Vip};
use crate::checks::{Check, CheckKind};
use crate::duration;

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "site: {}", text(&self.name))?;
        writeln!(f, "networks:")?;
        for (name, Network { cidr }) in &self.networks {
            writeln!(f, "  {}: {{cidr: {}}}", text(name), quoted(cidr))?;
        }
        writeln!(f, "management_network: {}", text(&self.management_network))?;
        let coordinators = self.coordinators.iter().map(text).collect::<Vec<_>>();
        writeln!(f, "coordinators: [{}]", coordinators.join(", "))?;
        if !self.vips.is_empty() {
            writeln!(f, "vips:")?;
        }
        for (name, vip) in &self.vips {
            writeln!(f, "  {}: {{{}}}", text(name), vip_fields(vip).join(", "))?;
        }
        if let Some(backups) = &self.backups {
            writeln!(f, "backups: {{{}}}", backup_fields(backups).join(", "))?;
        }
        if let Some(edge) = &self.edge_proxy {
            writeln!(f, "edge_proxy: {{{}}}", edge_fields(edge).join(", "))?;
        }
        if let Some(internal) = &self.internal_proxy {
            let fields = internal_fields(internal).join(", ");
            writeln!(f, "internal_proxy: {{{fields}}}")?;
        }
        if let Some(database) = &self.database {
            let fields = print_database::fields(database).join(", ");
            writeln!(f, "database: {{{fields}}}")?;
        }
        if !self.packages.is_empty() {
            let packages = self.packages.iter();
            let packages = packages.map(|(name, version)| {
                format!(
                    "{}: {}",
                    any_text(name.as_ref()),
                    any_text(version.as_ref())
                )
            });
            let packages = packages.collect::<Vec<_>>().join(", ");
            writeln!(f, "packages: {{{packages}}}")?;
        }
        writeln!(f, "nodes:")?;
        for (name, node) in &self.nodes {
            writeln!(f, "  {}: {{{}}}", text(name), fields(node).join(", "))?;
        }
        Ok(())
    }
}

fn backup_fields(backups: &Backups) -> Vec<String> {
    let Backups {
        every,
        keep,
        directory,
    } = backups;
    let mut fields = vec![format!("every: {}", duration::show(*every))];
    if *keep != Backups::DEFAULT_KEEP {
        fields.push(format!("keep: {keep}"));
    }
    if directory != Path::new(Backups::DEFAULT_DIRECTORY) {
        let directory = any_text(&directory.display().to_string());
        fields.push(format!("directory: {directory}"));
    }
    fields
}

fn vip_fields(vip: &Vip) -> Vec<String> {
    let Vip {
        addresses,
        networks,
        role,
        ttl,
        prefer,
        fail_back,
        checks,
        held_by,
    } = vip;
    let addresses = addresses.iter().map(quoted).collect::<Vec<_>>();
    let mut fields = vec![
        format!("address: [{}]", addresses.join(", ")),
        match &networks[..] {
            [network] => format!("network: {}", text(network)),
            several => {
                let names = several.iter().map(text).collect::<Vec<_>>();
                format!("network: [{}]", names.join(", "))
            }
        },
        format!("role: {role}"),
    ];
    if *ttl != Vip::DEFAULT_TTL {
        fields.push(format!("ttl: {}", duration::show(*ttl)));
    }
    if !prefer.is_empty() {
        let prefer = prefer.iter().map(text).collect::<Vec<_>>();
        fields.push(format!("prefer: [{}]", prefer.join(", ")));
    }
    if let Some(patience) = fail_back {
        fields.push(format!("fail_back: {}", duration::show(*patience)));
    }
    if !checks.is_empty() {
        let checks = checks.iter().map(check).collect::<Vec<_>>();
        fields.push(format!("checks: [{}]", checks.join(", ")));
    }
    if *held_by != HeldBy::default() {
        fields.push(format!("held_by: {held_by}"));
    }
    fields
}

fn check(check: &Check) -> String {
    let kind = &check.kind;
    let subject = match kind {
        CheckKind::Process(unit) => unit.to_string(),
        CheckKind::Tcp(server) => quoted(server),
        CheckKind::Http(url) => any_text(&url.to_string()),
        CheckKind::Command(line) => {
            let words = line.words().iter().map(|word| any_text(word));
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        }
    };
    let terms = check.said_terms();
    let terms = terms.iter().map(|(key, value)| format!(", {key}: {value}"));
    format!("{{{}: {subject}{}}}", kind.key(), terms.collect::<String>())
}

fn fields(node: &Node) -> Vec<String> {
    let mut fields = Vec::new();
    if let Some(role) = node.role {
        fields.push(format!("role: {role}"));
    }
    let addresses = node.addresses.iter();
    let addresses = addresses.map(|(network, ip)| format!("{}: {}", text(network), quoted(ip)));
    fields.push(format!(
        "addresses: {{{}}}",
        addresses.collect::<Vec<_>>().join(", ")
    ));
    if node.mode != Mode::default() {
        fields.push(format!("mode: {}", node.mode));
    }
    if node.lab != LabOptions::default() {
        let memory = node
            .lab
            .memory_mib
            .map(|mib| format!(", memory_mib: {mib}"));
        let memory = memory.unwrap_or_default();
        fields.push(format!("lab: {{engine: {}{memory}}}", node.lab.engine));
    }
    fields
}

/// A name, quoted where YAML would read it as no value.
fn text(name: impl AsRef<str>) -> String {
    match name.as_ref() {
        "null" => "\"null\"".to_owned(),
        name => name.to_owned(),
    }
}

/// Any text, in double quotes. What is not plain to see is written by its number.
pub(super) fn any_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            _ => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// An address, quoted where its colons would be YAML's.
fn quoted(address: impl fmt::Display) -> String {
    let address = address.to_string();
    if address.contains(':') {
        format!("\"{address}\"")
    } else {
        address
    }
}
