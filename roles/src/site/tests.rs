//! What is read is what was meant, and printing loses nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use any_options::{any_backups, any_check, any_database, any_proxies};

mod any_options;

const THIRTEEN: &str = include_str!("../../../sites/thirteen.yaml");

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

#[test]
fn addresses_of_two_networks_move_together_between_nodes_that_are_on_both() {
    let text = "site: small
networks: {trust: {cidr: 10.1.0.0/24}, six: {cidr: 'fd01::/64'}}
management_network: trust
coordinators: [a]
vips:
  edge: {address: [10.1.0.9, 'fd01::9'], network: [trust, six], role: edge-proxy}
nodes:
  a: {role: edge-proxy, addresses: {trust: 10.1.0.1, six: 'fd01::1'}}
  b: {role: edge-proxy, addresses: {trust: 10.1.0.2}}
";
    let examined = Site::examine(text);
    let told = examined.warnings.iter().map(ToString::to_string);
    let told: String = told.collect();
    assert!(
        told.contains("`b` has the role `edge-proxy` but no address in `six`"),
        "{told}"
    );
    let site = examined.site.expect("a valid site");
    let edge = site.vips.values().next().expect("one");
    let candidates: Vec<_> = site
        .candidates(edge)
        .map(AsRef::as_ref)
        .collect::<Vec<&str>>();
    assert_eq!(candidates, ["a"]);
    assert_eq!(Site::parse(&site.to_string()).expect("its own form"), site);
    let fault = |text: &str| {
        let faults = Site::parse(text).expect_err("a fault");
        faults.iter().map(ToString::to_string).collect::<String>()
    };
    let said = fault(&text.replace("10.1.0.9", "10.2.0.9"));
    assert!(
        said.contains("10.2.0.9 is in none of `trust`, `six`"),
        "{said}"
    );
    let said = fault(&text.replace("[trust, six]", "[six, six]"));
    assert!(said.contains("`six` is listed twice"), "{said}");
    let said = fault(&text.replace("[trust, six]", "[]"));
    assert!(said.contains("needs at least one network"), "{said}");
}

#[test]
fn the_reference_site_is_valid_and_without_warnings() {
    let examined = Site::examine(THIRTEEN);
    assert_eq!(examined.warnings, []);
    let site = examined.site.expect("a valid site");
    assert_eq!(site.nodes.len(), 13);
    assert_eq!(site.coordinators, [node("control-1")]);
    let address = site.management_address(&node("haproxy-ext-1"));
    assert_eq!(address, Some(IpAddr::from([192, 168, 56, 10])));
    let databases = site
        .with_role(Role::Database)
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(databases, ["database-1", "database-2", "database-3"]);
}

#[test]
fn ipv6_addresses_are_read_plain_and_quoted_in_both_styles() {
    let yaml = "
site: six
networks: {trust: {cidr: fd00:56::/64}}
management_network: trust
coordinators:
- a
vips:
  edge: {address: [fd00:56::20, fd00:56::21], network: trust, role: edge-proxy}
nodes:
  a: {role: edge-proxy, addresses: {trust: fd00:56::1}}
  b:
    addresses:
      trust: \"fd00:56::2\"
";
    let site = Site::parse(yaml).expect("a valid site");
    assert_eq!(
        site.management_address(&node("b")),
        Some("fd00:56::2".parse().expect("an ip"))
    );
    assert_eq!(site.vips.values().next().expect("a vip").addresses.len(), 2);
    assert_eq!(Site::parse(&site.to_string()), Ok(site));
}

#[test]
fn a_document_larger_than_the_bound_is_refused() {
    let huge = "#".repeat(crate::yaml::LONGEST_DOCUMENT + 1);
    let faults = Site::parse(&huge).expect_err("too long");
    assert!(
        faults[0].message.contains("more than 1048576 bytes"),
        "{}",
        faults[0]
    );
}

#[test]
fn a_document_wrong_everywhere_gives_a_bounded_number_of_faults() {
    let mut yaml = THIRTEEN.to_owned();
    for i in 0..5000 {
        yaml.push_str(&format!(
            "  new-{i}: {{rolle: x, addresses: {{trust: 192.168.57.1}}}}\n"
        ));
    }
    let faults = Site::parse(&yaml).expect_err("faults");
    assert_eq!(faults.len(), 101);
    assert!(
        faults[100].message.contains("more faults"),
        "{}",
        faults[100]
    );
}

#[test]
fn what_a_node_would_have_to_do_is_bounded() {
    let with = |vips: &str| THIRTEEN.replace("vips:\n", &format!("vips:\n{vips}"));
    let told = |yaml: &str| {
        let faults = Site::parse(yaml).expect_err("too much");
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let vip = |i: usize| {
        let (high, low) = (i / 250, i % 250);
        format!("  v{i}: {{address: 10.1.{high}.{low}, network: trust, role: database}}\n")
    };
    let many = told(&with(&(0..2500).map(vip).collect::<String>()));
    assert!(
        many.contains("2502 virtual addresses, and 2000 are the most"),
        "{many}"
    );
    let addresses = (60..77)
        .map(|i| format!("192.168.56.{i}"))
        .collect::<Vec<_>>()
        .join(", ");
    let wide = format!("  wide: {{address: [{addresses}], network: trust, role: database}}\n");
    let wide = told(&with(&wide));
    assert!(wide.contains("17 addresses, and 16 are the most"), "{wide}");
    let checks = (1..5000)
        .map(|port| format!("{{tcp: {port}}}"))
        .collect::<Vec<_>>()
        .join(", ");
    let checked = format!(
        "  x: {{address: 192.168.56.99, network: trust, role: database, checks: [{checks}]}}\n"
    );
    let checked = told(&with(&checked));
    assert!(
        checked.contains("4999 checks, and 32 are the most"),
        "{checked}"
    );
}

#[test]
fn names_and_words_that_yaml_reads_as_something_else_are_names_here() {
    let yaml = THIRTEEN
        .replace("node-1", "null")
        .replace("node-2", "1e3")
        .replace("node-3", "no");
    let site = Site::parse(&yaml).expect("a valid site");
    for name in ["null", "1e3", "no"] {
        assert!(site.nodes.contains_key(&node(name)), "{name}");
    }
    assert_eq!(Site::parse(&site.to_string()), Ok(site));
}

prop_compose! {
    /// A valid site: distinct addresses, no network or broadcast address among them.
    fn any_site()(
        name in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
        six in any::<bool>(),
        second in any::<bool>(),
        names in proptest::collection::btree_set("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", 1..20),
        vips in btree_map("[a-z]{1,5}|null", any_terms(), 0..4),
        choices in vec((option::of(select(&Role::ALL[..])), any::<bool>(),
            select(&Engine::ALL[..]), option::of(64..9000u32)), 20),
        coordinators in 1..4usize,
        backups in option::of(any_backups()),
        observed in any::<bool>(),
        proxies in any_proxies(),
        database in option::of(any_database()),
    ) -> Site {
        let mut networks = BTreeMap::from([(network("null"), Network { cidr: cidr(six, 0) })]);
        if second {
            networks.insert(network("b"), Network { cidr: cidr(!six, 1) });
        }
        let mut nodes = BTreeMap::new();
        for (i, (name, (role, both, engine, memory_mib))) in names.iter().zip(choices).enumerate() {
            let mut addresses = BTreeMap::from([(network("null"), host(six, 0, i))]);
            if second && both {
                addresses.insert(network("b"), host(!six, 1, i));
            }
            let lab = LabOptions { engine, memory_mib };
            let mode = if observed { Mode::Observe } else { Mode::Apply };
            nodes.insert(node(name), Node { role, addresses, mode, lab });
        }
        let mut free = 100;
        let vips = vips.into_iter().map(|(name, (count, mut vip))| {
            vip.addresses = (0..count).map(|_| { free += 1; host(six, 0, free) }).collect();
            vip.prefer = nodes.keys().take(usize::from(count) - 1).cloned().collect();
            (name.parse().expect("a name"), vip)
        }).collect::<BTreeMap<VipName, Vip>>();
        let (edge_proxy, internal_proxy, packages) = proxies;
        let internal = vips.iter().find(|(_, vip)| vip.role == Role::InternalProxy);
        let edge_proxy = edge_proxy.zip(internal).map(|(edge, (name, _))| {
            EdgeProxy { forward_to: name.clone(), ..edge }
        });
        let members = nodes.values().filter(|it| it.role == Some(Role::Database)).count();
        let database = database.filter(|_| members <= 7);
        Site {
            name: name.parse().expect("a name"),
            networks,
            management_network: network("null"),
            coordinators: nodes.keys().take(coordinators).cloned().collect(),
            vips,
            nodes,
            backups,
            edge_proxy,
            internal_proxy,
            database,
            packages,
        }
    }
}

prop_compose! {
    /// A number of addresses and the terms on which they are held.
    fn any_terms()(
        count in 1..4u8,
        role in select(&Role::ALL[..]),
        ttl in 100..=30_000u64,
        fail_back in option::of(0..86_400_000u64),
        checks in vec(any_check(), 0..4),
        held_by in select(&[HeldBy::Hamesh, HeldBy::Others][..]),
    ) -> (u8, Vip) {
        let mut once = Vec::<Check>::new();
        for check in checks {
            if once.iter().all(|before| before.kind != check.kind) {
                once.push(check);
            }
        }
        let vip = Vip {
            addresses: Vec::new(),
            networks: vec![network("null")],
            role,
            ttl: Duration::from_millis(ttl),
            prefer: Vec::new(),
            fail_back: fail_back.map(Duration::from_millis),
            checks: once,
            held_by,
        };
        (count, vip)
    }
}

fn network(name: &str) -> NetworkName {
    name.parse().expect("a name")
}

fn cidr(six: bool, which: u8) -> IpNet {
    if six {
        let first = Ipv6Addr::new(0xfd00, u16::from(which), 0, 0, 0, 0, 0, 0);
        IpNet::V6(Ipv6Net::new_assert(first, 64))
    } else {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, which, 0), 24))
    }
}

fn host(six: bool, which: u8, number: usize) -> IpAddr {
    let number = u8::try_from(number + 1).expect("few hosts");
    if six {
        Ipv6Addr::new(0xfd00, u16::from(which), 0, 0, 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(10, 0, which, number).into()
    }
}

proptest! {
    #[test]
    fn a_site_printed_and_parsed_is_the_same_site(site in any_site()) {
        let printed = site.to_string();
        let parsed = Site::parse(&printed);
        prop_assert_eq!(parsed.as_ref(), Ok(&site), "{}", printed);
    }

    #[test]
    fn a_changed_role_changes_nothing_else(
        site in any_site(),
        which in any::<proptest::sample::Index>(),
        role in option::of(select(&Role::ALL[..])),
    ) {
        let name = which.get(&site.nodes.keys().collect::<Vec<_>>()).to_string();
        let name = node(&name);
        let edited = crate::with_role(&site.to_string(), &name, role).expect("edited");
        let mut wanted = site.clone();
        wanted.nodes.get_mut(&name).expect("a node").role = role;
        prop_assert_eq!(Site::parse(&edited), Ok(wanted));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        let _ = Site::parse(&text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Site::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_yaml_like_text_never_panics(
        words in vec(select(&[
            "site", "nodes", "networks", "cidr", ":", ": ", "\n", "\n  ", "\n\t", "- ", "{", "}",
            "[", "]", ",", "&a ", "*a", "!!str ", "|", ">-", "\"", "'", "#", "---\n", "...\n",
            "10.0.0.0/8", "::", "~", "? ", "%", "\u{feff}", "\\x", "\r",
        ][..]), 0..80),
    ) {
        let _ = Site::parse(&words.concat());
    }

    #[test]
    fn a_damaged_site_never_panics_and_always_says_where(
        at in any::<proptest::sample::Index>(),
        cut in 0..40usize,
        inserted in "\\PC{0,3}|[\\n\\t {}\\[\\]:,&*!|>'\"-]{0,4}",
    ) {
        let characters = THIRTEEN.chars().collect::<Vec<_>>();
        let at = at.index(characters.len());
        let end = (at + cut).min(characters.len());
        let damaged = characters[..at].iter().chain(inserted.chars().collect::<Vec<_>>().iter())
            .chain(&characters[end..]).collect::<String>();
        if let Err(faults) = Site::parse(&damaged) {
            let lines = damaged.lines().count() + 1;
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!((1..=lines).contains(&fault.at.line), "{fault}");
                prop_assert!(fault.at.column >= 1, "{fault}");
            }
        }
    }
}
