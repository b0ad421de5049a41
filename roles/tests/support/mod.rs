//! The test sites, rendered for their nodes.

use std::fs;
use std::path::{Path, PathBuf};

use hamesh_roles::Site;
use hamesh_roles::engine::Desired;
use hamesh_roles::render::{self, Secrets};

/// Which nodes of which site are databases.
pub const DATABASES: [(&str, &str); 2] = [("full", "database-1"), ("six", "database")];

/// Which nodes of which site are proxies.
pub const PROXIES: [(&str, &str); 6] = [
    ("full", "haproxy-ext-1"),
    ("full", "haproxy-int-1"),
    ("minimal", "edge-1"),
    ("minimal", "inner-1"),
    ("six", "edge"),
    ("six", "inner"),
];

/// The password of the statistics in every test.
pub const PASSWORD: &str = "correct-horse";

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// What a node is to have, `pem` being the certificate that an operator gave.
pub fn desired(site: &str, node: &str, pem: &str) -> Desired {
    let path = folder().join(format!("sites/{site}.yaml"));
    let yaml = fs::read_to_string(path).expect("a document");
    let site = Site::parse(&yaml).expect("a valid site");
    let secrets = [
        ("edge-proxy/certificate", pem),
        ("proxy/statistics", PASSWORD),
        ("database/user/nextcloud", PASSWORD),
        ("database/user/grafana", PASSWORD),
        ("database/user/forgejo", PASSWORD),
    ];
    let secrets: Secrets = secrets.into_iter().collect();
    let desired = render::desired(&site, &node.parse().expect("a name"), &secrets);
    desired.expect("all secrets").expect("the site says it")
}
