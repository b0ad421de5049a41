//! Rules on crates: who may use whom, which licences come in, shared lints.
//!
//! The facts come from `cargo metadata` and the manifests; the licences allowed are those of
//! `deny.toml`, so that there is one list.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Finding, Source};

/// What one crate of the workspace may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// The crate.
    pub name: &'static str,
    /// Crates of the workspace that it may use: only those below it.
    pub may_use: &'static [&'static str],
    /// A pure crate's whole list of outside dependencies; `None`: not pure, not limited.
    pub only: Option<&'static [&'static str]>,
}

/// Breaches of `layers` by the packages of `metadata` (`cargo metadata --format-version 1`).
///
/// # Errors
/// When the metadata does not have cargo's form.
pub fn layering(metadata: &Value, layers: &[Layer]) -> Result<Vec<Finding>> {
    let packages = members(metadata)?;
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"]
            .as_str()
            .context("a package without a name")?;
        let Some(layer) = layers.iter().find(|l| l.name == name) else {
            findings.push(manifest_finding(name, "not in the table of layers".into()));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .context("no dependencies")?
        {
            let used = dependency["name"]
                .as_str()
                .context("a dependency without a name")?;
            if names.contains(used) {
                if !layer.may_use.contains(&used) {
                    findings.push(manifest_finding(name, format!("must not use {used}")));
                }
            } else if dependency["kind"].is_null()
                && layer.only.is_some_and(|only| !only.contains(&used))
            {
                let message = format!("a pure crate: {used} is not among its dependencies");
                findings.push(manifest_finding(name, message));
            }
        }
    }
    Ok(findings)
}

/// Packages whose licence is not among `[licenses] allow` of `deny_toml`.
///
/// # Errors
/// When `deny_toml` or the metadata cannot be read.
pub fn licences(metadata: &Value, deny_toml: &str) -> Result<Vec<Finding>> {
    let deny: toml::Table = deny_toml.parse().context("deny.toml is not TOML")?;
    let allowed = deny
        .get("licenses")
        .and_then(|l| l.get("allow"))
        .and_then(toml::Value::as_array)
        .context("deny.toml has no licenses.allow")?;
    let mut licensees = Vec::new();
    for licence in allowed {
        let text = licence.as_str().context("a licence that is not a string")?;
        licensees.push(spdx::Licensee::parse(text).with_context(|| format!("licence {text}"))?);
    }
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let name = package["name"]
            .as_str()
            .context("a package without a name")?;
        let text = package["license"].as_str().unwrap_or_default();
        let accepted = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX)
            .is_ok_and(|e| e.evaluate(|want| licensees.iter().any(|l| l.satisfies(want))));
        if !accepted {
            findings.push(manifest_finding(
                name,
                format!("licence `{text}` is not allowed"),
            ));
        }
    }
    Ok(findings)
}

/// Manifests of crates that do not take the workspace's lints.
pub fn shared_lints(manifest: &Source) -> Vec<Finding> {
    let table: toml::Table = match manifest.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![manifest.finding(0, format!("not TOML: {error}"))],
    };
    if !table.contains_key("package") {
        return Vec::new();
    }
    let shared = table.get("lints").and_then(|l| l.get("workspace"));
    if shared.and_then(toml::Value::as_bool) == Some(true) {
        return Vec::new();
    }
    vec![manifest.finding(0, "lacks `[lints] workspace = true`")]
}

fn members(metadata: &Value) -> Result<Vec<&Value>> {
    let ids = metadata["workspace_members"]
        .as_array()
        .context("no workspace members")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    Ok(packages.iter().filter(|p| ids.contains(&p["id"])).collect())
}

fn manifest_finding(package: &str, message: String) -> Finding {
    Finding {
        path: format!("{package}/Cargo.toml"),
        line: 0,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LAYERS: &[Layer] = &[
        Layer {
            name: "low",
            may_use: &[],
            only: Some(&["serde"]),
        },
        Layer {
            name: "left",
            may_use: &["low"],
            only: None,
        },
        Layer {
            name: "right",
            may_use: &["low"],
            only: None,
        },
    ];

    fn metadata(name: &str, uses: &[&str]) -> Value {
        let packages: Vec<Value> = ["low", "left", "right", name]
            .iter()
            .map(|n| {
                let uses = if *n == name { uses } else { &[] };
                let dependencies: Vec<Value> = uses
                    .iter()
                    .map(|u| json!({"name": u, "kind": null}))
                    .collect();
                json!({"id": n, "name": n, "dependencies": dependencies, "license": "MIT"})
            })
            .collect();
        json!({"workspace_members": ["low", "left", "right", name], "packages": packages})
    }

    fn messages(findings: &[Finding]) -> BTreeSet<&str> {
        findings.iter().map(|f| f.message.as_str()).collect()
    }

    #[test]
    fn a_sibling_that_is_used_is_found() {
        let found = layering(&metadata("left", &["right", "low"]), LAYERS).unwrap();
        assert_eq!(messages(&found), BTreeSet::from(["must not use right"]));
    }

    #[test]
    fn a_crate_that_uses_one_above_it_is_found() {
        let found = layering(&metadata("low", &["left"]), LAYERS).unwrap();
        assert_eq!(messages(&found), BTreeSet::from(["must not use left"]));
    }

    #[test]
    fn a_pure_crate_that_takes_a_runtime_is_found() {
        let found = layering(&metadata("low", &["serde", "tokio"]), LAYERS).unwrap();
        let want = "a pure crate: tokio is not among its dependencies";
        assert_eq!(messages(&found), BTreeSet::from([want]));
    }

    #[test]
    fn a_crate_outside_the_table_is_found() {
        let found = layering(&metadata("new", &[]), LAYERS).unwrap();
        assert_eq!(
            messages(&found),
            BTreeSet::from(["not in the table of layers"])
        );
    }

    #[test]
    fn a_licence_outside_the_list_is_found() {
        let deny = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\"]";
        for (licence, fine) in [
            ("MIT", true),
            ("MIT/GPL-3.0", true),
            ("(GPL-3.0-only OR Apache-2.0) AND MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-3.0-only", false),
            ("", false),
        ] {
            let metadata = json!({"packages": [{"name": "x", "license": licence}]});
            assert_eq!(
                licences(&metadata, deny).unwrap().is_empty(),
                fine,
                "{licence}"
            );
        }
    }

    #[test]
    fn a_crate_without_the_shared_lints_is_found() {
        let manifest = |text: &str| Source {
            path: "x/Cargo.toml".into(),
            text: text.into(),
        };
        assert_eq!(
            shared_lints(&manifest("[package]\nname = \"x\"\n")).len(),
            1
        );
        assert_eq!(
            shared_lints(&manifest("[package]\n[lints]\nworkspace = false\n")).len(),
            1
        );
        assert!(shared_lints(&manifest("[package]\n[lints]\nworkspace = true\n")).is_empty());
        assert!(shared_lints(&manifest("[workspace]\n")).is_empty());
    }
}
