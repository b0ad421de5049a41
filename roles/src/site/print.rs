//! A site as a document: one line per network, virtual address and node.

use std::fmt;

use super::{LabOptions, Network, Node, Site, Vip};

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
        for (
            name,
            Vip {
                addresses,
                network,
                role,
            },
        ) in &self.vips
        {
            let addresses = addresses.iter().map(quoted).collect::<Vec<_>>();
            write!(
                f,
                "  {}: {{address: [{}], ",
                text(name),
                addresses.join(", ")
            )?;
            writeln!(f, "network: {}, role: {role}}}", text(network))?;
        }
        writeln!(f, "nodes:")?;
        for (name, node) in &self.nodes {
            writeln!(f, "  {}: {{{}}}", text(name), fields(node).join(", "))?;
        }
        Ok(())
    }
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

/// An address, quoted where its colons would be YAML's.
fn quoted(address: impl fmt::Display) -> String {
    let address = address.to_string();
    if address.contains(':') {
        format!("\"{address}\"")
    } else {
        address
    }
}
