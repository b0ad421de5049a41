//! From the YAML tree to a draft: every key known, every value of its type.
//!
//! A draft holds whatever could be read; what it lacks has been reported.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hamesh_proto::ids::{NodeId, SiteName};
use ipnet::IpNet;

use super::read_proxies::DraftEdge;
use super::report::{Fields, Report};
use super::{
    Backups, DatabaseCluster, Engine, Examined, HeldBy, InternalProxy, LabOptions, Mode, Network,
    Node, Site, Vip, check, check_database, check_proxies,
};
use crate::checks::Check;
use crate::names::{NetworkName, VipName};
use crate::role::Role;
use crate::words::{PackageName, PackageVersion};
use crate::yaml::{self, Kind, Value};

/// What could be read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) name: Option<SiteName>,
    pub(super) networks: BTreeMap<NetworkName, Network>,
    pub(super) management_network: Option<NetworkName>,
    pub(super) coordinators: Vec<NodeId>,
    pub(super) vips: BTreeMap<VipName, DraftVip>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) backups: Option<Backups>,
    pub(super) edge_proxy: Option<DraftEdge>,
    pub(super) internal_proxy: Option<InternalProxy>,
    pub(super) database: Option<DatabaseCluster>,
    pub(super) packages: BTreeMap<PackageName, PackageVersion>,
    pub(super) report: Report,
}

/// A [`Vip`] that may lack parts.
pub(super) struct DraftVip {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) networks: Vec<NetworkName>,
    pub(super) role: Option<Role>,
    pub(super) ttl: Duration,
    pub(super) prefer: Vec<NodeId>,
    pub(super) fail_back: Option<Duration>,
    pub(super) checks: Vec<Check>,
    pub(super) held_by: HeldBy,
}

const REQUIRED: [&str; 5] = [
    "site",
    "networks",
    "management_network",
    "coordinators",
    "nodes",
];
const KNOWN: [&str; 11] = [
    "site",
    "networks",
    "management_network",
    "coordinators",
    "vips",
    "nodes",
    "backups",
    "edge_proxy",
    "internal_proxy",
    "database",
    "packages",
];
/// The least memory that boots a Debian.
const LEAST_MEMORY_MIB: u32 = 64;

/// Reads, checks and finishes a document.
pub(super) fn examine(text: &str) -> Examined {
    let mut draft = Draft::default();
    match yaml::load(text) {
        Err(faults) => {
            return Examined {
                site: Err(faults),
                warnings: Vec::new(),
            };
        }
        Ok(None) => {
            let hint = format!(
                "a site has {}",
                REQUIRED.map(|key| format!("`{key}`")).join(", ")
            );
            draft
                .report
                .error("", "the document is empty".into(), Some(hint));
        }
        Ok(Some(root)) => {
            if draft.read(&root).is_some() {
                check::check(&mut draft);
                check_proxies::check(&mut draft);
                check_database::check(&mut draft);
            }
        }
    }
    draft.finish()
}

impl Draft {
    /// `None`: the document is not even a mapping.
    fn read(&mut self, root: &Value) -> Option<()> {
        let fields = self.report.fields("", root, &KNOWN)?;
        self.report.require("", &fields, &REQUIRED);
        if let Some(value) = fields.get("site") {
            self.name = self.report.name("site", value);
        }
        if let Some(value) = fields.get("networks") {
            for (name, path, value) in self.report.entries("networks", value) {
                self.read_network(name, &path, value);
            }
        }
        if let Some(value) = fields.get("management_network") {
            self.management_network = self.report.name("management_network", value);
        }
        if let Some(value) = fields.get("coordinators") {
            self.coordinators = self.report.list("coordinators", value, Report::name);
        }
        if let Some(value) = fields.get("vips") {
            for (name, path, value) in self.report.entries("vips", value) {
                self.read_vip(name, &path, value);
            }
        }
        if let Some(value) = fields.get("nodes") {
            for (name, path, value) in self.report.entries("nodes", value) {
                // A node with a fault is a node still: others may refer to it.
                let node = self.read_node(&path, value);
                self.nodes.insert(name, node);
            }
        }
        if let Some(value) = fields.get("backups") {
            self.backups = self.report.backups(value);
        }
        if let Some(value) = fields.get("edge_proxy") {
            self.edge_proxy = self.report.edge_proxy(value);
        }
        if let Some(value) = fields.get("internal_proxy") {
            self.internal_proxy = self.report.internal_proxy(value);
        }
        if let Some(value) = fields.get("database") {
            self.database = self.report.database(value);
        }
        if let Some(value) = fields.get("packages") {
            self.packages = self.report.packages(value);
        }
        Some(())
    }

    fn read_network(&mut self, name: NetworkName, path: &str, value: &Value) {
        let Some(fields) = self.report.fields(path, value, &["cidr"]) else {
            return;
        };
        self.report.require(path, &fields, &["cidr"]);
        let Some(value) = fields.get("cidr") else {
            return;
        };
        let path = format!("{path}.cidr");
        let Some(text) = self.report.text(&path, value) else {
            return;
        };
        match text.parse::<IpNet>() {
            Ok(cidr) if cidr.trunc() != cidr => {
                let hint = Some(format!("did you mean `{}`?", cidr.trunc()));
                let message = format!("`{cidr}` is an address in a network, not a network");
                self.report.error(&path, message, hint);
            }
            Ok(cidr) => {
                self.networks.insert(name, Network { cidr });
            }
            Err(_) => {
                let hint = "write its first address and its length: 10.0.0.0/24, fd00:1::/64";
                self.report.error(
                    &path,
                    format!("`{text}` is not a network"),
                    Some(hint.into()),
                );
            }
        }
    }

    fn read_vip(&mut self, name: VipName, path: &str, value: &Value) {
        let required = ["address", "network", "role"];
        let known = [
            "address",
            "network",
            "role",
            "ttl",
            "prefer",
            "fail_back",
            "checks",
            "held_by",
        ];
        let mut vip = DraftVip {
            addresses: Vec::new(),
            networks: Vec::new(),
            role: None,
            ttl: Vip::DEFAULT_TTL,
            prefer: Vec::new(),
            fail_back: None,
            checks: Vec::new(),
            held_by: HeldBy::default(),
        };
        if let Some(fields) = self.report.fields(path, value, &known) {
            self.report.require(path, &fields, &required);
            self.read_addresses(&mut vip, path, &fields);
            self.read_terms(&mut vip, path, &fields);
        }
        self.vips.insert(name, vip);
    }

    fn read_addresses(&mut self, vip: &mut DraftVip, path: &str, fields: &Fields<'_>) {
        if let Some(value) = fields.get("address") {
            let path = format!("{path}.address");
            vip.addresses = match &value.kind {
                Kind::List(_) => self.report.list(&path, value, Report::address),
                Kind::Text { .. } | Kind::Map(_) => {
                    self.report.address(&path, value).into_iter().collect()
                }
            };
        }
        if let Some(value) = fields.get("network") {
            let path = format!("{path}.network");
            vip.networks = match &value.kind {
                Kind::List(_) => self.report.list(&path, value, Report::name),
                Kind::Text { .. } | Kind::Map(_) => {
                    self.report.name(&path, value).into_iter().collect()
                }
            };
        }
        if let Some(value) = fields.get("role") {
            vip.role = self.report.role(&format!("{path}.role"), value);
        }
    }

    /// On which terms it is held.
    fn read_terms(&mut self, vip: &mut DraftVip, path: &str, fields: &Fields<'_>) {
        let report = &mut self.report;
        if let Some(value) = fields.get("ttl") {
            let ttl = report.duration(&format!("{path}.ttl"), value, &Vip::TTL);
            vip.ttl = ttl.unwrap_or(Vip::DEFAULT_TTL);
        }
        if let Some(value) = fields.get("prefer") {
            vip.prefer = report.list(&format!("{path}.prefer"), value, Report::name);
        }
        if let Some(value) = fields.get("fail_back") {
            let path = format!("{path}.fail_back");
            vip.fail_back = report.duration(&path, value, &Vip::FAIL_BACK);
        }
        if let Some(value) = fields.get("checks") {
            vip.checks = report.checks(&format!("{path}.checks"), value);
        }
        if let Some(value) = fields.get("held_by") {
            let held_by = report.held_by(&format!("{path}.held_by"), value);
            vip.held_by = held_by.unwrap_or_default();
        }
    }

    fn read_node(&mut self, path: &str, value: &Value) -> Node {
        let mut node = Node {
            role: None,
            addresses: BTreeMap::new(),
            mode: Mode::default(),
            lab: LabOptions::default(),
        };
        let known = ["role", "addresses", "mode", "lab"];
        let Some(fields) = self.report.fields(path, value, &known) else {
            return node;
        };
        self.report.require(path, &fields, &["addresses"]);
        if let Some(value) = fields.get("role") {
            node.role = self.report.role_or_none(&format!("{path}.role"), value);
        }
        if let Some(value) = fields.get("addresses") {
            let entries = self.report.entries(&format!("{path}.addresses"), value);
            for (network, path, value) in entries {
                if let Some(address) = self.report.address(&path, value) {
                    node.addresses.insert(network, address);
                }
            }
        }
        if let Some(value) = fields.get("mode") {
            let mode = self.report.mode(&format!("{path}.mode"), value);
            node.mode = mode.unwrap_or_default();
        }
        if let Some(value) = fields.get("lab") {
            node.lab = self.read_lab(&format!("{path}.lab"), value);
        }
        node
    }

    fn read_lab(&mut self, path: &str, value: &Value) -> LabOptions {
        let mut lab = LabOptions::default();
        let known = ["engine", "memory_mib"];
        let Some(fields) = self.report.fields(path, value, &known) else {
            return lab;
        };
        if let Some(value) = fields.get("engine") {
            let path = format!("{path}.engine");
            if let Some(text) = self.report.text(&path, value) {
                match Engine::ALL.into_iter().find(|engine| engine.name() == text) {
                    Some(engine) => lab.engine = engine,
                    None => {
                        self.report
                            .unknown(&path, "engine", text, Engine::ALL.map(Engine::name));
                    }
                }
            }
        }
        if let Some(value) = fields.get("memory_mib") {
            let path = format!("{path}.memory_mib");
            if let Some(text) = self.report.text(&path, value) {
                lab.memory_mib = text.parse().ok().filter(|mib| *mib >= LEAST_MEMORY_MIB);
                if lab.memory_mib.is_none() {
                    let hint = format!("write MiB as a whole number, {LEAST_MEMORY_MIB} or more");
                    self.report
                        .error(&path, format!("`{text}` is not a memory size"), Some(hint));
                }
            }
        }
        lab
    }

    /// The site, if nothing was wrong.
    fn finish(self) -> Examined {
        let (errors, warnings) = self.report.finish();
        if !errors.is_empty() {
            return Examined {
                site: Err(errors),
                warnings,
            };
        }
        let name = self
            .name
            .expect("a document without a fault names its site");
        let management_network = self
            .management_network
            .expect("a document without a fault names this network");
        let vips = self.vips.into_iter().map(|(name, vip)| {
            let role = vip
                .role
                .expect("a virtual address without a fault has a role");
            (
                name,
                Vip {
                    addresses: vip.addresses,
                    networks: vip.networks,
                    role,
                    ttl: vip.ttl,
                    prefer: vip.prefer,
                    fail_back: vip.fail_back,
                    checks: vip.checks,
                    held_by: vip.held_by,
                },
            )
        });
        let site = Site {
            name,
            management_network,
            vips: vips.collect(),
            networks: self.networks,
            coordinators: self.coordinators,
            nodes: self.nodes,
            backups: self.backups,
            edge_proxy: self.edge_proxy.map(DraftEdge::finish),
            internal_proxy: self.internal_proxy,
            database: self.database,
            packages: self.packages,
        };
        Examined {
            site: Ok(site),
            warnings,
        }
    }
}
