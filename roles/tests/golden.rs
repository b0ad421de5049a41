//! Golden files: what each faulty document is told, and what each plan says.
//!
//! `golden/NAME.yaml` is a document; `golden/NAME.txt` is what reading it says. `golden/*.plan` is
//! the plan from the reference site to a changed one. `UPDATE_GOLDEN=1 cargo test -p hamesh-roles`
//! writes them anew; review the difference.

use std::fs;
use std::path::{Path, PathBuf};

use hamesh_roles::{Role, Site, plan, with_role};

const THIRTEEN: &str = include_str!("../../sites/thirteen.yaml");
/// The same machines, with nothing said of what its proxies are to do.
const UNCONFIGURED: &str = include_str!("../../lab/sites/unconfigured.yaml");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares with the golden file, or writes it if asked to.
fn golden(name: &str, actual: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("the golden file is writable");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual,
        wanted,
        "{}: UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}

fn said(name: &str, yaml: &str) -> String {
    let examined = Site::examine(yaml);
    let file = format!("{name}.yaml");
    let (errors, verdict) = match examined.site {
        Ok(site) => (Vec::new(), format!("valid: {} nodes\n", site.nodes.len())),
        Err(faults) => (faults, "refused\n".to_owned()),
    };
    let mut text = String::new();
    for fault in errors {
        text.push_str(&format!("error: {}\n", fault.in_file(&file)));
    }
    for warning in examined.warnings {
        text.push_str(&format!("warning: {}\n", warning.in_file(&file)));
    }
    text + &verdict
}

#[test]
fn every_document_is_told_what_is_wrong_with_it_in_one_go() {
    let mut names = fs::read_dir(folder())
        .expect("the folder of golden files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect::<Vec<_>>();
    names.sort();
    assert!(names.len() >= 10, "the documents are there: {names:?}");
    for name in names {
        let yaml = fs::read_to_string(folder().join(format!("{name}.yaml"))).expect("a document");
        golden(&format!("{name}.txt"), &said(&name, &yaml));
    }
}

fn plan_text(old: Option<&Site>, new: &Site) -> String {
    let steps = plan::diff(old, new);
    steps
        .iter()
        .map(|s| format!("{} {}: {}\n", s.verb, s.subject, s.detail))
        .collect()
}

#[test]
fn the_first_plan_adds_everything() {
    let site = Site::parse(THIRTEEN).expect("a valid site");
    golden("first.plan", &plan_text(None, &site));
}

#[test]
fn a_plan_names_each_difference() {
    let old = Site::parse(UNCONFIGURED).expect("a valid site");
    let new = UNCONFIGURED
        .replace("  node-3: {role: k8s-worker", "  node-9: {role: database")
        .replace("192.168.56.53", "192.168.56.63")
        .replace(
            "  edge: {address: 192.168.30.130, network: untrust, role: edge-proxy}\n",
            "",
        )
        .replace("[control-1]", "[control-2, control-1]")
        .replace(
            "  node-1: {role: k8s-worker",
            "  node-1: {lab: {engine: uml, memory_mib: 512}",
        );
    let new = Site::parse(&new).expect("a valid site");
    golden("changes.plan", &plan_text(Some(&old), &new));
    assert_eq!(plan::diff(Some(&old), &old), []);
}

#[test]
fn a_plan_tells_of_backups() {
    let without = Site::parse(UNCONFIGURED).expect("a valid site");
    let with = |terms: &str| {
        let yaml = format!("{UNCONFIGURED}backups: {terms}\n");
        Site::parse(&yaml).expect("a valid site")
    };
    let (plain, own) = (
        with("{every: 24h}"),
        with("{every: 24h, keep: 3, directory: /srv/b}"),
    );
    let text = plan_text(Some(&without), &plain)
        + &plan_text(Some(&plain), &own)
        + &plan_text(Some(&own), &without);
    golden("backups.plan", &text);
}

#[test]
fn a_plan_tells_of_proxies_packages_and_modes() {
    let without = Site::parse(UNCONFIGURED).expect("a valid site");
    let proxies = "edge_proxy: {names: [www.example.org], certificate: site-ca}
internal_proxy: {web: {role: k8s-worker, port: 30080}}
packages: {haproxy: 2.6.12-1+deb12u4}
";
    let yaml = format!("{UNCONFIGURED}{proxies}");
    let with = Site::parse(&yaml).expect("a valid site");
    let changed = yaml
        .replace("certificate: site-ca", "hsts: 365d, headers: {X-A: '1'}")
        .replace("port: 30080", "port: 30081, check: /ready")
        .replace("deb12u4", "deb12u5")
        .replace("node-1: {role", "node-1: {mode: observe, role");
    let changed = Site::parse(&changed).expect("a valid site");
    let text = plan_text(Some(&without), &with)
        + &plan_text(Some(&with), &changed)
        + &plan_text(Some(&changed), &without);
    golden("proxies.plan", &text);
}

#[test]
fn a_plan_tells_of_databases() {
    let without = Site::parse(UNCONFIGURED).expect("a valid site");
    let yaml = format!("{UNCONFIGURED}database: {{databases: {{nextcloud: {{}}}}}}\n");
    let with = Site::parse(&yaml).expect("a valid site");
    let changed = yaml.replace(
        "{databases: {",
        "{durability: fast, databases: {git: {owner: me}, ",
    );
    let changed = Site::parse(&changed).expect("a valid site");
    let text = plan_text(Some(&without), &with)
        + &plan_text(Some(&with), &changed)
        + &plan_text(Some(&changed), &without);
    golden("database.plan", &text);
}

#[test]
fn a_plan_names_each_changed_term_of_a_virtual_address() {
    let yaml = fs::read_to_string(folder().join("terms.yaml")).expect("a document");
    let old = Site::parse(&yaml).expect("a valid site");
    let new = yaml
        .replace("ttl: 500ms", "ttl: 1s")
        .replace("prefer: [b, a]", "prefer: [a]")
        .replace("    fail_back: 10m\n", "")
        .replace("- tcp: 443", "- {tcp: 443, fall: 5}");
    let new = Site::parse(&new).expect("a valid site");
    let plain = yaml.replace(
        "{address: 192.168.56.19,",
        "{address: 192.168.56.19, ttl: 2s,",
    );
    let plain = Site::parse(&plain).expect("a valid site");
    let text =
        plan_text(None, &old) + &plan_text(Some(&old), &new) + &plan_text(Some(&old), &plain);
    golden("terms.plan", &text);
    golden("terms-printed", &old.to_string());
}

#[test]
fn a_role_is_changed_in_place_and_comments_stay() {
    let yaml = fs::read_to_string(folder().join("styles.yaml")).expect("a document");
    let mut text = yaml.clone();
    for (node, role) in [
        ("flow", Some(Role::Database)),
        ("flow-bare", Some(Role::EdgeProxy)),
        ("block", None),
        ("block-bare", Some(Role::K8sWorker)),
        ("empty", Some(Role::K8sControl)),
        ("quoted", Some(Role::InternalProxy)),
    ] {
        text = with_role(&text, &node.parse().expect("a name"), role).expect(node);
    }
    golden("styles-edited", &text);
}

#[test]
fn a_role_already_there_leaves_the_text_alone_and_an_unknown_node_is_named() {
    let node = "node-1".parse().expect("a name");
    let same = with_role(THIRTEEN, &node, Some(Role::K8sWorker)).expect("no change");
    assert_eq!(same, THIRTEEN);
    let wrong = "nod-1".parse().expect("a name");
    let error = with_role(THIRTEEN, &wrong, None).expect_err("no such node");
    assert_eq!(
        error.to_string(),
        "the site has no node `nod-1`; did you mean `node-1`?"
    );
}
