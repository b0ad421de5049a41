//! What is rendered can be reached step by step from whatever there was, and shows no secrets.

use super::*;
use crate::engine::model::{Machine, every_prefix_leaves_the_rest};

const FULL: &str = include_str!("../../tests/golden/sites/full.yaml");
const MINIMAL: &str = include_str!("../../tests/golden/sites/minimal.yaml");
const SIX: &str = include_str!("../../tests/golden/sites/six.yaml");

const PEM: &str = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nhidden-key\n";

fn secrets() -> Secrets {
    [
        ("edge-proxy/certificate", PEM),
        ("proxy/statistics", "hidden-password"),
        ("database/user/nextcloud", "hidden-nextcloud"),
        ("database/user/grafana", "hidden-grafana"),
        ("database/user/forgejo", "hidden-forgejo"),
    ]
    .into_iter()
    .collect()
}

fn rendered(yaml: &str, node: &str) -> Result<Option<Desired>, Missing> {
    let site = Site::parse(yaml).expect("a valid site");
    desired(&site, &node.parse().expect("a name"), &secrets())
}

fn made(yaml: &str, node: &str) -> Desired {
    let desired = rendered(yaml, node).expect("all secrets are there");
    desired.expect("the site says what its proxies do")
}

/// The full site with one line of it changed.
fn changed(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replace(from, to)
}

#[test]
fn each_role_is_reached_from_any_step_of_the_way_to_it() {
    let (edge, internal) = (made(FULL, "haproxy-ext-1"), made(FULL, "haproxy-int-1"));
    for desired in [
        &edge,
        &internal,
        &made(MINIMAL, "edge-1"),
        &made(MINIMAL, "inner-1"),
        &made(SIX, "edge"),
        &made(SIX, "inner"),
        &made(SIX, "database"),
        &made(FULL, "database-1"),
    ] {
        every_prefix_leaves_the_rest(&Machine::default(), desired);
        let built = Machine::default().with(desired);
        assert_eq!(built.plan(desired).steps, [], "a second plan is empty");
        for resource in &desired.resources {
            every_prefix_leaves_the_rest(&built.clone().without(&resource.id()), desired);
        }
    }
}

#[test]
fn each_change_of_an_option_or_a_role_is_reached_from_any_step_of_the_way() {
    let nothing = made(MINIMAL, "spare");
    let (edge, internal) = (made(FULL, "haproxy-ext-1"), made(FULL, "haproxy-int-1"));
    let to_file = changed("certificate: site-ca", "certificate: file");
    let renamed = changed("cloud.example.org", "git.example.org");
    let unlimited = changed("  rate_limit: {requests: 200, per: 10s}\n", "");
    let moved = changed("192.168.30.130", "192.168.30.140");
    let newer = changed("deb12u4", "deb12u5");
    let other_port = changed("30080", "30081");
    let no_database = FULL.replace("role: database", "role: none");
    let database = made(FULL, "database-1");
    let kept = changed("durability: fast", "durability: zero-loss");
    let fewer = changed("grafana: {}, ", "");
    let smaller = FULL.replace("database-3: {role: database", "database-3: {role: none");
    let databases = [&kept, &fewer, &smaller].map(|yaml| made(yaml, "database-1"));
    let edges = [&to_file, &renamed, &unlimited, &moved, &newer];
    let edges = edges.map(|yaml| made(yaml, "haproxy-ext-1"));
    let internals = [&other_port, &no_database, &newer];
    let internals = internals.map(|yaml| made(yaml, "haproxy-int-1"));
    let changes = (edges.iter().map(|new| (&edge, new)))
        .chain(internals.iter().map(|new| (&internal, new)))
        .chain(databases.iter().map(|new| (&database, new)))
        .chain([
            (&edge, &nothing),
            (&database, &nothing),
            (&database, &internal),
            (&internal, &nothing),
            (&edge, &internal),
            (&internal, &edge),
        ]);
    for (old, new) in changes {
        let built = Machine::default().with(old);
        assert_ne!(built.plan(new).steps, []);
        every_prefix_leaves_the_rest(&built, new);
        let there = built.with(new);
        assert_eq!(there.plan(new).steps, [], "a second plan is empty");
    }
}

#[test]
fn a_node_without_a_role_keeps_nothing_and_one_that_the_site_is_silent_about_is_left_alone() {
    let spare = made(MINIMAL, "spare");
    assert_eq!((spare.role, spare.resources), (None, Vec::new()));
    let silent = MINIMAL
        .replace("edge_proxy: {names", "#")
        .replace("internal_proxy: {", "#");
    for node in ["edge-1", "inner-1", "web-1", "nowhere"] {
        assert_eq!(rendered(&silent, node), Ok(None), "{node}");
    }
    for node in ["control-1", "node-1"] {
        assert_eq!(rendered(FULL, node), Ok(None), "{node}");
    }
}

#[test]
fn a_secret_that_is_missing_or_useless_is_named_with_what_to_do() {
    let site = Site::parse(MINIMAL).expect("a valid site");
    let told = |secrets: &Secrets| {
        let node = "edge-1".parse().expect("a name");
        desired(&site, &node, secrets).map_err(|missing| missing.to_string())
    };
    let without = Secrets::default().with("proxy/statistics", "x");
    assert_eq!(
        told(&without).expect_err("no certificate"),
        "the secret `edge-proxy/certificate` is missing: \
         give its chain and key by `coordctl certificate set edge-proxy --file PEM`"
    );
    let keyless = without.with("edge-proxy/certificate", "-----BEGIN CERTIFICATE-----");
    let said = told(&keyless).expect_err("no key");
    assert!(said.contains("lacks a certificate or its key"), "{said}");
    for bad in ["", "#x", "a b", "a\nhamesh", "é"] {
        let said = told(&secrets().with("proxy/statistics", bad)).expect_err(bad);
        assert!(said.contains("visible ASCII"), "{said}");
    }
    let needed: Vec<_> = needed_secrets(&site).into_iter().collect();
    let mine = [NeededSecret::EdgeCertificate, NeededSecret::ProxyStatistics];
    assert_eq!(needed, mine);
    let full = Site::parse(FULL).expect("a valid site");
    let needed: Vec<_> = needed_secrets(&full).into_iter().collect();
    let user = |name: &str| NeededSecret::DatabaseUser(name.parse().expect("a name"));
    let users = ["forgejo", "grafana", "nextcloud"].map(user);
    assert_eq!(needed[0], NeededSecret::ProxyStatistics);
    assert_eq!(needed[1..], users);
    for secret in needed {
        assert_eq!(NeededSecret::named(&secret.name()), Some(secret));
    }
    for other in ["", "database/user/", "database/user/A", "database/x"] {
        assert_eq!(NeededSecret::named(other), None, "{other}");
    }
}

#[test]
fn no_secret_is_in_any_words() {
    let to_file = changed("certificate: site-ca", "certificate: file");
    for (yaml, node) in [
        (MINIMAL, "edge-1"),
        (&to_file, "haproxy-ext-1"),
        (FULL, "haproxy-int-1"),
        (FULL, "database-1"),
    ] {
        let desired = made(yaml, node);
        let plan = Machine::default().plan(&desired);
        let words = format!("{desired:?} {plan:?} {:?}", secrets());
        assert!(!words.contains("hidden"), "{node}");
    }
}

#[test]
fn every_text_of_a_document_stays_within_its_word() {
    let words = |text: &str| haproxy::literal(text);
    assert_eq!(words("DENY"), "'DENY'");
    assert_eq!(words("it's"), r"'it'\''s'");
    assert_eq!(words("%[src]"), "'%%[src]'");
    let desired = made(FULL, "haproxy-ext-1");
    let config = desired
        .resources
        .iter()
        .find_map(|resource| match resource {
            Resource::File(file) if file.path.ends_with("haproxy.cfg") => Some(&file.content.text),
            _ => None,
        });
    let config = config.expect("a configuration");
    let odd = config.lines().filter(|line| line.contains("X-Odd"));
    assert_eq!(odd.count(), 1);
}

#[test]
fn what_a_unit_reads_is_made_before_it() {
    for (yaml, node) in [
        (FULL, "haproxy-ext-1"),
        (FULL, "haproxy-int-1"),
        (MINIMAL, "edge-1"),
    ] {
        let resources = made(yaml, node).resources;
        let unit = resources.iter().enumerate().find_map(|(at, it)| match it {
            Resource::Unit(unit) => Some((at, unit)),
            _ => None,
        });
        let (at, unit) = unit.expect("a unit");
        let made: Vec<_> = resources[..at].iter().map(Resource::id).collect();
        assert!(unit.reads.len() >= 2, "{:?}", unit.reads);
        assert!(unit.reads.iter().all(|id| made.contains(id)), "{node}");
    }
}
