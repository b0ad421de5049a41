//! The site document, put together from what each node holds of it. Pure.
//!
//! What is told under a later desired state precedes; what is told under the same one must be the
//! same. What no agent knows (when backups are made, how the lab runs a node, where a node that was
//! not heard is besides the management network, virtual addresses without any candidate that was
//! heard) comes from the backup's document, and is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hamesh_proto::ids::NodeId;
use hamesh_roles::{Network, NetworkName, Node, Site, Vip, VipName};

use super::roll::{Voices, names};
use super::told::{Terms, ToldVip};
use super::{Base, Told};

/// A site document, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Read.
    pub site: Site,
    /// Its text.
    pub yaml: String,
    /// Whose.
    pub from: From,
    /// What the reader ought to know.
    pub notes: Vec<String>,
}

/// Whose a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Put together from what agents hold.
    Agents,
    /// The backup's, which no agent is ahead of.
    Backup,
    /// Given by the operator.
    Operator,
}

impl From {
    /// As programs are told it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Backup => "backup",
            Self::Operator => "operator",
        }
    }
}

/// What the agents hold together.
///
/// # Errors
/// What keeps them from being put together, each with what to do.
pub fn held(base: &Base, voices: &Voices<'_>) -> Result<Document, Vec<String>> {
    let Some((first, newest)) = voices.newest() else {
        return Err(vec!["no node was heard whose word counts".to_owned()]);
    };
    if base.id() >= newest.id {
        return Ok(Document {
            site: base.desired.site.as_ref().clone(),
            yaml: base.desired.record.yaml.clone(),
            from: From::Backup,
            notes: Vec::new(),
        });
    }
    let mut draft = Draft {
        base: &base.desired.site,
        voices,
        newest,
        notes: Vec::new(),
        obstacles: Vec::new(),
    };
    draft.compare(first);
    let site = draft.site();
    if let (Some(site), []) = (site, &draft.obstacles[..]) {
        let yaml = site.to_string();
        match Site::parse(&yaml) {
            Ok(read) if read == site => {
                return Ok(Document {
                    site,
                    yaml,
                    from: From::Agents,
                    notes: draft.notes,
                });
            }
            Ok(_) => draft.cannot("it does not read as it was written".to_owned()),
            Err(faults) => {
                let faults = faults.iter().map(|fault| fault.message.clone());
                draft.cannot(faults.collect::<Vec<_>>().join("; "));
            }
        }
    }
    Err(draft.obstacles)
}

struct Draft<'a> {
    base: &'a Site,
    voices: &'a Voices<'a>,
    newest: &'a Told,
    notes: Vec<String>,
    obstacles: Vec<String>,
}

impl<'a> Draft<'a> {
    fn cannot(&mut self, why: String) {
        let what = "the document cannot be put together from what the nodes hold";
        self.obstacles.push(format!(
            "{what}: {why}; begin again with --site-file, or go on --without who is wrong"
        ));
    }

    /// Two nodes that follow the same desired state were told the same.
    fn compare(&mut self, first: &NodeId) {
        let same = |told: &Told| {
            let theirs = (&told.members, &told.coordinators, &told.revoked);
            let ours = &self.newest;
            theirs == (&ours.members, &ours.coordinators, &ours.revoked)
        };
        let all = self.voices.iter();
        let others = all.filter(|(_, told)| told.id == self.newest.id && !same(told));
        let others: Vec<&str> = others.map(|(node, _)| node.as_str()).collect();
        if !others.is_empty() {
            let (others, id) = (names(&others), self.newest.id);
            self.cannot(format!(
                "{first} and {others} follow {id} and hold different things"
            ));
        }
    }

    fn site(&mut self) -> Option<Site> {
        let management = self.newest.management_network.clone();
        let management = management.unwrap_or_else(|| self.base.management_network.clone());
        let networks = self.networks();
        if !networks.contains_key(&management) {
            self.cannot(format!("nobody knows the network {management}"));
            return None;
        }
        let nodes = self.nodes(&management, &networks);
        let vips = self.vips(&nodes, &networks);
        if self.base.backups.is_some() {
            self.notes
                .push("when backups are made is as the backup has it".to_owned());
        }
        let edge_proxy = self.base.edge_proxy.clone();
        let edge_proxy = edge_proxy.filter(|it| vips.contains_key(&it.forward_to));
        if edge_proxy.is_some() || self.base.internal_proxy.is_some() {
            self.notes
                .push("what the proxies are to do is as the backup has it".to_owned());
        }
        if self.base.database.is_some() {
            let note = "what the databases are to do is as the backup has it";
            self.notes.push(note.to_owned());
        }
        Some(Site {
            name: self.base.name.clone(),
            networks,
            management_network: management,
            coordinators: self.newest.coordinators.clone(),
            vips,
            nodes,
            backups: self.base.backups.clone(),
            edge_proxy,
            internal_proxy: self.base.internal_proxy.clone(),
            database: self.base.database.clone(),
            packages: self.base.packages.clone(),
        })
    }

    /// Those of each node, and of the backup those that are none of theirs.
    fn networks(&self) -> BTreeMap<NetworkName, Network> {
        let mut told: Vec<&Told> = self.voices.iter().map(|(_, told)| told).collect();
        told.sort_by_key(|told| told.id);
        let places = told.into_iter().flat_map(|told| &told.places);
        let mut networks: BTreeMap<_, _> = places
            .map(|(name, place)| (name.clone(), place.network.clone()))
            .collect();
        for (name, network) in &self.base.networks {
            let apart =
                |it: &Network| !it.cidr.contains(&network.cidr) && !network.cidr.contains(&it.cidr);
            if !networks.contains_key(name) && networks.values().all(apart) {
                networks.insert(name.clone(), network.clone());
            }
        }
        networks
    }

    fn nodes(
        &mut self,
        management: &NetworkName,
        networks: &BTreeMap<NetworkName, Network>,
    ) -> BTreeMap<NodeId, Node> {
        let mut by_backup = Vec::new();
        let mut nodes = BTreeMap::new();
        for (name, member) in &self.newest.members {
            let own = self.voices.get(name).filter(|told| !told.places.is_empty());
            let mut addresses = match own {
                Some(told) => {
                    let places = told.places.iter();
                    places
                        .map(|(name, it)| (name.clone(), it.address))
                        .collect()
                }
                None => self.addresses_of_backup(name, networks),
            };
            if own.is_none() && addresses.keys().any(|network| network != management) {
                by_backup.push(name.as_str());
            }
            addresses.insert(management.clone(), member.address);
            let known = self.base.nodes.get(name);
            let node = Node {
                role: member.role,
                addresses,
                mode: known.map(|node| node.mode).unwrap_or_default(),
                lab: known.map(|node| node.lab.clone()).unwrap_or_default(),
            };
            nodes.insert(name.clone(), node);
        }
        if !by_backup.is_empty() {
            self.notes.push(format!(
                "where these are besides {management} is as the backup has it: {}",
                by_backup.join(", ")
            ));
        }
        nodes
    }

    /// Those of a node in networks that there still are.
    fn addresses_of_backup(
        &self,
        name: &NodeId,
        networks: &BTreeMap<NetworkName, Network>,
    ) -> BTreeMap<NetworkName, IpAddr> {
        let known = self.base.nodes.get(name);
        let addresses = known.map(|node| node.addresses.clone()).unwrap_or_default();
        let there = |(network, address): &(NetworkName, IpAddr)| {
            let network = networks.get(network);
            network.is_some_and(|it| it.cidr.contains(address))
        };
        addresses.into_iter().filter(there).collect()
    }

    fn vips(
        &mut self,
        nodes: &BTreeMap<NodeId, Node>,
        networks: &BTreeMap<NetworkName, Network>,
    ) -> BTreeMap<VipName, Vip> {
        let (voices, base) = (self.voices, self.base);
        let told = voices.iter().flat_map(|(_, told)| told.vips.keys());
        let told: BTreeSet<&VipName> = told.collect();
        let mut vips = BTreeMap::new();
        for name in &told {
            let vip = self.latest(name);
            let vip = vip.and_then(|(teller, vip)| self.told_vip((name, nodes), teller, vip));
            vips.extend(vip.map(|vip| ((*name).clone(), vip)));
        }
        for (name, vip) in base.vips.iter().filter(|(name, _)| !told.contains(name)) {
            if let Some(vip) = self.vip_of_backup((name, vip), nodes, (networks, &vips)) {
                vips.insert(name.clone(), vip);
            }
        }
        vips
    }

    /// The latest that a candidate knows of a virtual address.
    fn latest(&self, name: &VipName) -> Option<(&'a Told, &'a ToldVip)> {
        let tellers = self.voices.iter();
        let tellers = tellers.filter_map(|(_, told)| Some((told, told.vips.get(name)?)));
        // One that an older release was told of says less.
        let says = |it: &(&Told, &ToldVip)| (it.0.id, it.1.terms.is_some());
        tellers.reduce(|best, next| match says(&next) > says(&best) {
            true => next,
            false => best,
        })
    }

    fn told_vip(
        &mut self,
        (name, nodes): (&VipName, &BTreeMap<NodeId, Node>),
        teller: &Told,
        vip: &ToldVip,
    ) -> Option<Vip> {
        let voices = self.voices;
        let same_id = voices.iter().filter(|(_, told)| told.id == teller.id);
        let mut others = same_id.filter_map(|(node, told)| Some((node, told.vips.get(name)?)));
        if let Some((other, _)) = others.find(|(_, other)| !other.agrees(vip)) {
            let id = teller.id;
            self.cannot(format!(
                "{other} and another node that follows {id} tell different things of vip/{name}"
            ));
            return None;
        }
        let Some(terms) = vip
            .terms
            .clone()
            .or_else(|| self.terms_of_backup(name, vip))
        else {
            self.cannot(format!(
                "nobody knows the networks of vip/{name}: its nodes hold what an older release \
                 told them, and the backup does not know it"
            ));
            return None;
        };
        let Terms {
            networks,
            role,
            prefer,
            fail_back,
            held_by,
        } = terms;
        let vip_again = Vip {
            addresses: vip.addresses.clone(),
            networks,
            role,
            ttl: vip.ttl,
            // One that left the site is preferred no more.
            prefer: prefer
                .into_iter()
                .filter(|it| nodes.contains_key(it))
                .collect(),
            fail_back,
            checks: vip.checks.clone(),
            held_by,
        };
        if let Some(later) = self.would_know(&vip_again, nodes, |told| {
            told.id > teller.id && !told.vips.contains_key(name)
        }) {
            self.notes.push(format!(
                "vip/{name} left the site: {later} follows a later desired state without it"
            ));
            return None;
        }
        Some(vip_again)
    }

    fn terms_of_backup(&self, name: &VipName, vip: &ToldVip) -> Option<Terms> {
        let known = self.base.vips.get(name)?;
        (known.addresses == vip.addresses).then(|| Terms {
            networks: known.networks.clone(),
            role: known.role,
            prefer: known.prefer.clone(),
            fail_back: known.fail_back,
            held_by: known.held_by.clone(),
        })
    }

    /// One that nobody tells of.
    fn vip_of_backup(
        &mut self,
        (name, vip): (&VipName, &Vip),
        nodes: &BTreeMap<NodeId, Node>,
        (networks, vips): (&BTreeMap<NetworkName, Network>, &BTreeMap<VipName, Vip>),
    ) -> Option<Vip> {
        if let Some(node) = self.would_know(vip, nodes, |_| true) {
            self.notes.push(format!(
                "vip/{name} of the backup left the site: {node} would know it"
            ));
            return None;
        }
        let mut of_nodes = nodes.values().flat_map(|node| node.addresses.values());
        let mut of_vips = vips.values().flat_map(|vip| &vip.addresses);
        let taken = of_nodes.any(|it| vip.addresses.contains(it))
            || of_vips.any(|it| vip.addresses.contains(it));
        let lost = !vip.networks.iter().all(|it| networks.contains_key(it));
        if taken || lost {
            let why = match taken {
                true => "an address of it has another owner",
                false => "a network of it is there no more",
            };
            self.notes
                .push(format!("vip/{name} of the backup is left out: {why}"));
            return None;
        }
        self.notes.push(format!(
            "vip/{name} is as the backup has it: no node was heard that could hold it"
        ));
        let mut vip = vip.clone();
        vip.prefer.retain(|node| nodes.contains_key(node));
        Some(vip)
    }

    /// The first voice with a part in a virtual address, of those that are meant.
    fn would_know(
        &self,
        vip: &Vip,
        nodes: &BTreeMap<NodeId, Node>,
        meant: impl Fn(&Told) -> bool,
    ) -> Option<&'a NodeId> {
        let mut voices = self.voices.iter().filter(|(_, told)| meant(told));
        let admitted = |name: &NodeId| nodes.get(name).is_some_and(|node| vip.claims(name, node));
        voices
            .find(|(name, _)| admitted(name))
            .map(|(name, _)| name)
    }
}
