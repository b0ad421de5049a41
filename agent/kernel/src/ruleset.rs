//! The fence as text for `nft -f`: pure, and the same text for the boot unit and for the agent.
//!
//! Guarantees, for every address that is claimed and has no live element, whatever addresses are
//! configured and whoever is sending:
//! - the node answers neither ARP nor neighbour discovery for it;
//! - the node accepts no packet for it, and nothing leaves with it as source, ARP sender or
//!   neighbour-advertisement target, from the kernel or from a packet socket.
//!
//! The idea: each table has a set of what is claimed (`vips4`, `vips6`) and a set with timeouts of
//! what is live (`live4`, `live6`); a rule drops what is in the first and not in the second. A set
//! element stops matching at its deadline inside the lookup, so that no program has to run for the
//! fence to close. Three tables, because each sees what the others cannot: `inet` the packets that
//! arrive or are sent, `arp` the kernel's own ARP on interfaces of any kind, `netdev` everything
//! that leaves an interface, packet sockets included.
//!
//! Loading is one transaction that keeps the live elements: rules are flushed and written again,
//! sets are kept. Chains at an interface carry its index and name in theirs, so that a changed
//! interface has another chain and a chain of a gone one can be deleted by name.
//!
//! Absent on purpose: the `owner` flag (the tables would vanish with the agent), and matches on
//! `ether type` (nft adds a test of the *incoming* interface, which never matches on egress).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::device::Device;
use crate::nf::Family;
use crate::rules::{self, Chain, EGRESS, PRIORITY};

/// The name of each of the three tables.
pub const TABLE: &str = "hamesh_fence";

/// What the fence shall hold: every address of every claim, whoever holds it, and the interfaces
/// at which packet sockets are kept from announcing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// All claimed addresses of the site that this node could ever hold.
    pub addresses: BTreeSet<IpAddr>,
    /// Interfaces whose egress is fenced; each must exist when the text is loaded.
    pub devices: BTreeSet<Device>,
}

/// A chain of ours in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName {
    /// The family of its table.
    pub family: Family,
    /// Its own name.
    pub name: String,
}

/// What the kernel was seen to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Our chains with the number of rules in each.
    pub chains: BTreeMap<ChainName, u32>,
    /// The claimed addresses, per table.
    pub claimed: BTreeMap<Family, BTreeSet<IpAddr>>,
}

/// One thing that is wrong with the fence in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// A chain is not there.
    ChainMissing(ChainName),
    /// A chain does not hold the rules it was loaded with.
    RulesChanged(ChainName),
    /// A table's set of claimed addresses is not the site's.
    AddressesChanged(Family),
    /// A chain is there for an interface that is gone or has another name; harmless by itself.
    ChainLeftOver(ChainName),
}

/// The two transactions in which the fence is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What depends on nothing that may be absent at boot.
    Host,
    /// What is hooked to interfaces, which must be there.
    Interfaces,
}

impl Part {
    /// Both, in the order in which they are loaded.
    pub const ALL: [Self; 2] = [Self::Host, Self::Interfaces];

    fn families(self) -> &'static [Family] {
        match self {
            Self::Host => &[Family::Inet, Family::Arp],
            Self::Interfaces => &[Family::Netdev],
        }
    }
}

impl Damage {
    /// The part to load again.
    #[must_use]
    pub fn part(&self) -> Part {
        let family = match self {
            Self::ChainMissing(chain) | Self::RulesChanged(chain) | Self::ChainLeftOver(chain) => {
                chain.family
            }
            Self::AddressesChanged(family) => *family,
        };
        match family {
            Family::Inet | Family::Arp => Part::Host,
            Family::Netdev => Part::Interfaces,
        }
    }
}

impl Desired {
    /// The text that makes the kernel hold this in the tables of a part, as one transaction.
    /// Live elements stay.
    #[must_use]
    pub fn text(&self, part: Part, observed: &Observed) -> String {
        let mut text = String::from("# The fence of hamesh: see hamesh-agent(8).\n");
        for family in part.families() {
            self.sets(&mut text, *family);
        }
        for ChainName { family, name } in self.left_over(observed) {
            if part.families().contains(&family) {
                line(&mut text, &format!("delete chain {family} {TABLE} {name}"));
            }
        }
        for family in part.families() {
            self.chains(&mut text, *family);
        }
        text
    }

    /// What is wrong in the kernel, in a stable order. Empty when the fence stands.
    #[must_use]
    pub fn damage(&self, observed: &Observed) -> Vec<Damage> {
        let mut damage = Vec::new();
        for (chain, rules) in self.expected() {
            match observed.chains.get(&chain) {
                None => damage.push(Damage::ChainMissing(chain)),
                Some(seen) if *seen != rules => damage.push(Damage::RulesChanged(chain)),
                Some(_) => {}
            }
        }
        for family in Family::ALL {
            let wanted: BTreeSet<IpAddr> = self.of(family).copied().collect();
            if observed.claimed.get(&family) != Some(&wanted) {
                damage.push(Damage::AddressesChanged(family));
            }
        }
        damage.extend(self.left_over(observed).map(Damage::ChainLeftOver));
        damage
    }

    fn expected(&self) -> BTreeMap<ChainName, u32> {
        let mut expected = BTreeMap::new();
        for family in Family::ALL {
            for chain in rules::chains(family, &self.devices) {
                let rules = u32::try_from(chain.rules.len()).expect("a handful of rules");
                let name = chain.name;
                expected.insert(ChainName { family, name }, rules);
            }
        }
        expected
    }

    fn left_over<'a>(&self, observed: &'a Observed) -> impl Iterator<Item = ChainName> + use<'a> {
        let wanted: BTreeSet<String> = self.devices.iter().map(rules::egress_chain).collect();
        observed
            .chains
            .keys()
            .filter(move |c| c.name.starts_with(EGRESS) && !wanted.contains(&c.name))
            .cloned()
    }

    /// The addresses that a table of this family knows: ARP has no IPv6.
    fn of(&self, family: Family) -> impl Iterator<Item = &IpAddr> {
        self.addresses
            .iter()
            .filter(move |a| family != Family::Arp || a.is_ipv4())
    }

    fn sets(&self, text: &mut String, family: Family) {
        let mut body = String::new();
        body.push_str("\tset vips4 {\n\t\ttype ipv4_addr\n\t}\n");
        body.push_str("\tset live4 {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t}\n");
        if family != Family::Arp {
            // One set serves source, destination and neighbour-discovery target: nft 1.0.6 has no
            // name for the last, and a raw expression only matches a set of a raw type.
            body.push_str("\tset vips6 {\n\t\ttypeof @nh,64,128\n\t}\n");
            body.push_str("\tset live6 {\n\t\ttypeof @nh,64,128\n\t\tflags timeout\n\t}\n");
        }
        line(text, &format!("table {family} {TABLE} {{\n{body}}}"));
        line(text, &format!("flush table {family} {TABLE}"));
        for (set, v4) in [("vips4", true), ("vips6", false)] {
            if v4 || family != Family::Arp {
                line(text, &format!("flush set {family} {TABLE} {set}"));
            }
            let elements: Vec<String> = self
                .of(family)
                .filter(|a| a.is_ipv4() == v4)
                .map(element)
                .collect();
            if !elements.is_empty() {
                let list = elements.join(", ");
                line(
                    text,
                    &format!("add element {family} {TABLE} {set} {{ {list} }}"),
                );
            }
        }
    }

    fn chains(&self, text: &mut String, family: Family) {
        let chains = rules::chains(family, &self.devices);
        if chains.is_empty() {
            return;
        }
        line(text, &format!("table {family} {TABLE} {{"));
        for Chain { name, hook, rules } in chains {
            line(text, &format!("\tchain {name} {{"));
            line(
                text,
                &format!("\t\ttype filter hook {hook} priority {PRIORITY}; policy accept;"),
            );
            for rule in rules {
                line(text, &format!("\t\t{rule}"));
            }
            line(text, "\t}");
        }
        line(text, "}");
    }
}

fn element(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:#034x}", v6.to_bits()),
    }
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str) -> Device {
        let name = name.parse().unwrap();
        Device { index, name }
    }

    fn site() -> Desired {
        let addresses = ["192.168.30.130", "192.168.56.20", "fd00:30::130"];
        Desired {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            devices: [
                device(2, "ens192"),
                device(7, "bond0.30"),
                device(9, "br_t@1"),
            ]
            .into(),
        }
    }

    fn as_loaded(desired: &Desired) -> Observed {
        let claimed = |f: Family| (f, desired.of(f).copied().collect());
        Observed {
            chains: desired.expected(),
            claimed: Family::ALL.into_iter().map(claimed).collect(),
        }
    }

    #[test]
    fn the_text_is_the_golden_one() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fence.nft");
        let text: String = Part::ALL
            .map(|part| site().text(part, &Observed::default()))
            .concat();
        if std::env::var_os("HAMESH_GOLDEN").is_some() {
            std::fs::write(golden, &text).unwrap();
        }
        assert_eq!(
            text,
            std::fs::read_to_string(golden).unwrap(),
            "HAMESH_GOLDEN=1 rewrites it"
        );
    }

    #[test]
    fn a_renamed_interface_gets_a_new_chain_and_its_old_one_is_deleted() {
        let observed = as_loaded(&site());
        let mut desired = site();
        desired.devices.remove(&device(2, "ens192"));
        desired.devices.insert(device(2, "trust0"));
        let text = desired.text(Part::Interfaces, &observed);
        assert!(
            text.contains("delete chain netdev hamesh_fence egress_2_ens192\n"),
            "{text}"
        );
        assert!(text.contains("chain egress_2_trust0 {"), "{text}");
        let left = ChainName {
            family: Family::Netdev,
            name: "egress_2_ens192".into(),
        };
        assert!(
            desired
                .damage(&observed)
                .contains(&Damage::ChainLeftOver(left))
        );
    }

    #[test]
    fn names_that_differ_only_in_escaped_characters_have_chains_of_their_own() {
        let names = ["a_b", "a@b", "a_40b", "a-b", "a.b"];
        let chains: BTreeSet<String> = names
            .iter()
            .map(|n| rules::egress_chain(&device(1, n)))
            .collect();
        assert_eq!(chains.len(), names.len(), "{chains:?}");
    }

    #[test]
    fn a_fence_as_loaded_is_undamaged() {
        assert_eq!(site().damage(&as_loaded(&site())), []);
    }

    #[test]
    fn a_flushed_ruleset_is_damage_in_every_chain_and_table() {
        let damage = site().damage(&Observed::default());
        assert_eq!(damage.len(), site().expected().len() + Family::ALL.len());
    }

    #[test]
    fn a_deleted_rule_and_a_removed_address_are_damage() {
        let mut observed = as_loaded(&site());
        let input = ChainName {
            family: Family::Inet,
            name: "input".into(),
        };
        *observed.chains.get_mut(&input).unwrap() -= 1;
        let arp = observed.claimed.get_mut(&Family::Arp).unwrap();
        arp.pop_first();
        assert_eq!(
            site().damage(&observed),
            [
                Damage::RulesChanged(input),
                Damage::AddressesChanged(Family::Arp)
            ]
        );
    }

    #[test]
    fn the_part_for_the_boot_names_no_interface_and_leaves_their_table_alone() {
        let text = site().text(Part::Host, &as_loaded(&Desired::default()));
        assert!(
            !text.contains("netdev") && !text.contains(" device "),
            "{text}"
        );
        assert!(text.contains("hook prerouting") && text.contains("table arp"));
    }
}
