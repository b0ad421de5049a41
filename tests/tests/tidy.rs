//! Holds the tree to its own rules: layering, sizes, words, licences, links.
//!
//! The rules are in `hamesh_tests::tidy`, where each is tried on bad input. Here are the tables.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use hamesh_tests::tidy::crates::{self, Layer};
use hamesh_tests::tidy::text::{self, LongFile};
use hamesh_tests::tidy::{Finding, Source, docs, report, root, sources};
use serde_json::Value;

/// `claims <- proto <- roles <- {agent, coordinator} <- {lab, tests}`; siblings never
/// use each other.
const LAYERS: &[Layer] = &[
    Layer {
        name: "hamesh-claims",
        may_use: &[],
        only: Some(&["serde", "thiserror"]),
    },
    Layer {
        name: "hamesh-proto",
        may_use: &["hamesh-claims"],
        only: None,
    },
    Layer {
        name: "hamesh-roles",
        may_use: &["hamesh-claims", "hamesh-proto"],
        only: Some(&[
            "http",
            "ipnet",
            "jiff",
            "saphyr-parser",
            "serde",
            // Text alone: the form in which an order travels and is digested.
            "serde_json",
            // Text alone: the lines of a file that a plan would change.
            "similar",
            "strsim",
            "thiserror",
        ]),
    },
    Layer {
        name: "hamesh-kernel",
        may_use: &[],
        only: None,
    },
    Layer {
        name: "hamesh-agent",
        may_use: &[
            "hamesh-claims",
            "hamesh-proto",
            "hamesh-roles",
            "hamesh-kernel",
        ],
        only: None,
    },
    Layer {
        name: "hamesh-coordinator",
        may_use: &["hamesh-claims", "hamesh-proto", "hamesh-roles"],
        only: None,
    },
    Layer {
        name: "hamesh-lab",
        may_use: &["hamesh-claims", "hamesh-proto", "hamesh-roles"],
        only: None,
    },
    Layer {
        name: "hamesh-tests",
        may_use: &[
            "hamesh-claims",
            "hamesh-proto",
            "hamesh-roles",
            "hamesh-agent",
            "hamesh-kernel",
            "hamesh-coordinator",
        ],
        only: None,
    },
];

/// Files that may be longer than the rule, each with its reason.
const LONG_FILES: &[LongFile] = &[];

/// Written by cargo and by the licence's authors: not ours to shape.
const FOREIGN: &[&str] = &["Cargo.lock", "LICENSE"];

fn tree() -> Result<Vec<Source>> {
    let all = sources(&root())?;
    ensure!(
        all.len() > 10,
        "only {} files found: is this the tree?",
        all.len()
    );
    Ok(all)
}

fn none(findings: &[Finding]) -> Result<()> {
    ensure!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        report(findings)
    );
    Ok(())
}

fn each(rule: impl Fn(&Source) -> Vec<Finding>) -> Result<()> {
    let tree = tree()?;
    let ours = tree.iter().filter(|s| !FOREIGN.contains(&s.path.as_str()));
    none(&ours.flat_map(rule).collect::<Vec<_>>())
}

fn metadata() -> Result<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo metadata failed: {complaint}"
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn no_line_is_wider_than_a_hundred_characters() -> Result<()> {
    each(text::width)
}

#[test]
fn no_file_has_outgrown_its_job() -> Result<()> {
    none(&text::length(&tree()?, LONG_FILES))
}

#[test]
fn no_forbidden_word_stands_anywhere() -> Result<()> {
    each(text::words)
}

#[test]
fn every_module_opens_with_its_purpose() -> Result<()> {
    each(text::opening)
}

#[test]
fn every_script_stops_at_its_first_error() -> Result<()> {
    each(text::strict_shell)
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    none(&crates::layering(&metadata()?, LAYERS)?)
}

#[test]
fn every_licence_is_on_the_list_of_deny_toml() -> Result<()> {
    let deny = std::fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    none(&crates::licences(&metadata()?, &deny)?)
}

#[test]
fn every_crate_takes_the_shared_lints() -> Result<()> {
    let tree = tree()?;
    let manifests: Vec<&Source> = tree
        .iter()
        .filter(|s| s.path.ends_with("Cargo.toml"))
        .collect();
    ensure!(
        manifests.len() > LAYERS.len(),
        "manifests are missing: {}",
        manifests.len()
    );
    none(
        &manifests
            .into_iter()
            .flat_map(crates::shared_lints)
            .collect::<Vec<_>>(),
    )
}

#[test]
fn every_relative_link_leads_somewhere() -> Result<()> {
    let tree = tree()?;
    let pages = tree.iter().filter(|s| s.is("md"));
    none(
        &pages
            .flat_map(|s| docs::links(s, &tree))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn the_code_map_names_every_folder_and_no_other() -> Result<()> {
    let tree = tree()?;
    let map = tree.iter().find(|s| s.path == "docs/architecture.md");
    none(&docs::code_map(
        map.context("docs/architecture.md is missing")?,
        &tree,
    ))
}

#[test]
fn every_decision_has_a_number_of_its_own() -> Result<()> {
    none(&docs::decision_numbers(&tree()?))
}
