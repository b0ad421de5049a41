//! Network faults of the site and the nftables rules that cause them.
//!
//! The faults in force are one small value; each change renders the whole rule set anew and loads
//! it in one transaction, so what the kernel does never drifts from what the lab believes. The
//! rules sit on the bridges, in the lab's namespace: no node can undo or even see them. They match
//! on ports of the bridge and drop every frame, ARP and IPv6 included.
//!
//! Absent: delay and reordering (the kernels this runs on may lack netem).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The nftables table that holds every fault, in the bridges' namespace.
pub const TABLE: &str = "hamesh_lab";

/// A share of frames in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Loss(u16);

impl std::str::FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a percentage from 0 to 100");
        let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| bad())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(bad());
        }
        Ok(Self((percent * 100.0).round() as u16))
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

/// Everything that is wrong with the network on purpose. Members are nodes and clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Members that reach nobody.
    pub cut: BTreeSet<String>,
    /// Share of frames lost on the way to and from a member, each way.
    pub loss: BTreeMap<String, Loss>,
    /// Groups that cannot reach each other; whoever is in none reaches all.
    pub partition: Vec<BTreeSet<String>>,
}

impl Faults {
    /// Sets the share of frames a member loses; zero ends it.
    pub fn lose(&mut self, member: &str, loss: Loss) {
        if loss.0 == 0 {
            self.loss.remove(member);
        } else {
            self.loss.insert(member.to_owned(), loss);
        }
    }

    /// Ends every fault of one member: cut, loss, and its place in a partition.
    pub fn heal(&mut self, member: &str) {
        self.cut.remove(member);
        self.loss.remove(member);
        for group in &mut self.partition {
            group.remove(member);
        }
        self.partition.retain(|group| !group.is_empty());
        if self.partition.len() < 2 {
            self.partition.clear();
        }
    }

    /// The rules for nft, as one transaction. `ports` maps each member to its ports on the bridges.
    pub fn ruleset(&self, ports: &BTreeMap<String, Vec<String>>) -> String {
        let mut text = format!("table bridge {TABLE}\ndelete table bridge {TABLE}\n");
        let _ = write!(
            text,
            "table bridge {TABLE} {{\n  chain faults {{\n    \
             type filter hook forward priority 0; policy accept;\n"
        );
        for rule in self.rules(ports) {
            let _ = writeln!(text, "    {rule}");
        }
        text.push_str("  }\n}\n");
        text
    }

    fn rules(&self, ports: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let set = |members: &mut dyn Iterator<Item = &String>| -> Option<String> {
            let names: Vec<String> = members
                .flat_map(|member| ports.get(member).into_iter().flatten())
                .map(|port| format!("\"{port}\""))
                .collect();
            (!names.is_empty()).then(|| format!("{{ {} }}", names.join(", ")))
        };
        let mut rules = Vec::new();
        if let Some(cut) = set(&mut self.cut.iter()) {
            rules.push(format!("iifname {cut} drop"));
            rules.push(format!("oifname {cut} drop"));
        }
        for (from, to) in ordered_pairs(&self.partition) {
            if let (Some(from), Some(to)) = (set(&mut from.iter()), set(&mut to.iter())) {
                rules.push(format!("iifname {from} oifname {to} drop"));
            }
        }
        for (member, loss) in &self.loss {
            if let Some(ports) = set(&mut std::iter::once(member)) {
                let lost = format!("numgen random mod 10000 < {} drop", loss.0);
                rules.push(format!("iifname {ports} {lost}"));
                rules.push(format!("oifname {ports} {lost}"));
            }
        }
        rules
    }
}

/// Reads `A,B | C,D` into groups, refusing names that `known` does not hold and repeated ones.
pub fn parse_partition(
    text: &str,
    known: &BTreeSet<String>,
) -> Result<Vec<BTreeSet<String>>, String> {
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for part in text.split('|') {
        let mut group = BTreeSet::new();
        for member in part.split([',', ' ']).filter(|member| !member.is_empty()) {
            if !known.contains(member) {
                return Err(format!(
                    "`{member}` is neither a node nor a client of this site"
                ));
            }
            if !seen.insert(member.to_owned()) {
                return Err(format!(
                    "`{member}` is named twice; each side must be its own"
                ));
            }
            group.insert(member.to_owned());
        }
        if group.is_empty() {
            return Err(format!(
                "`{text}` has an empty side; write it as A,B \"|\" C,D"
            ));
        }
        groups.push(group);
    }
    if groups.len() < 2 {
        return Err(format!(
            "`{text}` names one side only; write it as A,B \"|\" C,D"
        ));
    }
    Ok(groups)
}

fn ordered_pairs(
    groups: &[BTreeSet<String>],
) -> impl Iterator<Item = (&BTreeSet<String>, &BTreeSet<String>)> {
    groups.iter().enumerate().flat_map(move |(i, from)| {
        groups
            .iter()
            .enumerate()
            .filter(move |(j, _)| i != *j)
            .map(move |(_, to)| (from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn ports() -> BTreeMap<String, Vec<String>> {
        BTreeMap::from([
            ("a".into(), vec!["n0-0".into(), "n0-1".into()]),
            ("b".into(), vec!["n1-0".into()]),
            ("c".into(), vec!["n2-0".into()]),
        ])
    }

    #[test]
    fn a_site_without_faults_has_a_chain_without_rules() {
        let text = Faults::default().ruleset(&ports());
        assert!(text.contains("chain faults"), "{text}");
        assert!(!text.contains("drop"), "{text}");
    }

    #[test]
    fn a_cut_node_is_dropped_both_ways_on_all_its_ports() {
        let faults = Faults {
            cut: set(&["a"]),
            ..Faults::default()
        };
        let rules = faults.rules(&ports());
        assert_eq!(
            rules,
            [
                "iifname { \"n0-0\", \"n0-1\" } drop",
                "oifname { \"n0-0\", \"n0-1\" } drop"
            ]
        );
    }

    #[test]
    fn a_partition_drops_between_the_sides_and_not_within_them() {
        let faults = Faults {
            partition: vec![set(&["a"]), set(&["b", "c"])],
            ..Faults::default()
        };
        assert_eq!(
            faults.rules(&ports()),
            [
                "iifname { \"n0-0\", \"n0-1\" } oifname { \"n1-0\", \"n2-0\" } drop",
                "iifname { \"n1-0\", \"n2-0\" } oifname { \"n0-0\", \"n0-1\" } drop",
            ]
        );
    }

    #[test]
    fn loss_is_kept_to_a_hundredth_of_a_percent_and_zero_ends_it() {
        let mut faults = Faults::default();
        faults.lose("b", "2.25%".parse().expect("a percentage"));
        assert!(faults.rules(&ports())[0].ends_with("numgen random mod 10000 < 225 drop"));
        faults.lose("b", "0".parse().expect("a percentage"));
        assert_eq!(faults, Faults::default());
    }

    #[test]
    fn a_share_that_is_no_percentage_is_refused() {
        for text in ["101", "-1", "NaN", "", "ten"] {
            assert!(text.parse::<Loss>().is_err(), "{text}");
        }
    }

    #[test]
    fn healing_a_node_takes_it_out_of_every_fault() {
        let mut faults = Faults {
            partition: vec![set(&["a"]), set(&["b", "c"])],
            ..Faults::default()
        };
        faults.cut.insert("b".into());
        faults.lose("b", Loss(100));
        faults.heal("b");
        assert_eq!(faults.partition, [set(&["a"]), set(&["c"])]);
        faults.heal("a");
        assert_eq!(faults, Faults::default());
    }

    #[test]
    fn a_partition_is_read_with_or_without_spaces_and_its_mistakes_are_named() {
        let known = set(&["a", "b", "c"]);
        let sides = vec![set(&["a", "b"]), set(&["c"])];
        assert_eq!(parse_partition("a,b | c", &known), Ok(sides.clone()));
        assert_eq!(parse_partition("a,b|c", &known), Ok(sides));
        assert!(parse_partition("a,x|c", &known).is_err_and(|e| e.contains("`x`")));
        assert!(parse_partition("a|a", &known).is_err_and(|e| e.contains("twice")));
        assert!(parse_partition("a,b", &known).is_err_and(|e| e.contains("one side")));
        assert!(parse_partition("a|", &known).is_err_and(|e| e.contains("empty")));
    }
}
