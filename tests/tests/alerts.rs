//! The alert rules that the packages bring: sound, tested by Prometheus' own tool, and about
//! metrics that the programs really export.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hamesh_agent::claims::machine::monotonic;
use hamesh_tests::tidy::root;

const RULES: &str = include_str!("../../packaging/prometheus/hamesh.rules.yaml");
const UNIT_TESTS: &str = include_str!("../../packaging/prometheus/hamesh.rules.test.yaml");

fn promtool(arguments: &[&str]) -> Result<()> {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(root().join("packaging/prometheus"))
        .output()
        .context("promtool (Debian's package prometheus) is not installed")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

#[test]
fn prometheus_finds_the_rules_sound() -> Result<()> {
    promtool(&["check", "rules", "hamesh.rules.yaml"])
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() -> Result<()> {
    promtool(&["test", "rules", "hamesh.rules.test.yaml"])?;
    let alerts: Vec<&str> = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    ensure!(alerts.len() > 20, "only {} alerts found", alerts.len());
    for alert in alerts {
        let fires = format!("alertname=\"{alert}\"");
        ensure!(
            UNIT_TESTS.contains(&fires),
            "no unit test makes {alert} fire"
        );
    }
    Ok(())
}

/// The names that start with `hamesh_` in a text.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("hamesh_"))
        .collect()
}

/// What the pages of an agent with a claim and of a coordinator hold.
fn exported() -> Result<String> {
    let agent = hamesh_agent::metrics::Metrics::new("1.2.3")?;
    let claim = "vip/edge".parse()?;
    let series = agent.claims.of(&claim);
    series.lapsed();
    let check = "http://127.0.0.1:8404/".parse()?;
    let check = hamesh_roles::Check::new(hamesh_roles::CheckKind::Http(check));
    agent.checks.show(&claim, &check, true);
    let pages = agent.render() + &agent.claims.render(monotonic());
    let coordinator = hamesh_coordinator::metrics::Metrics::new();
    // What is told of each node, claim and certificate is there once there is one.
    for state in hamesh_coordinator::liveness::State::ALL {
        let labels = ["node-1", state.name()];
        coordinator.node_state.with_label_values(&labels).set(1);
    }
    for gauges in [
        &coordinator.claims.held,
        &coordinator.claims.paused,
        &coordinator.claims.awaited,
    ] {
        gauges.with_label_values(&["vip/edge"]).set(1);
    }
    for state in hamesh_coordinator::roles::metrics::PLACES {
        let labels = ["node-1", state.1];
        coordinator.roles.place.with_label_values(&labels).set(1);
    }
    for gauge in [
        coordinator
            .certificate_expiry
            .with_label_values(&["node-1"]),
        coordinator
            .roles
            .service_certificate_expiry
            .with_label_values(&["node-1", "edge"]),
        coordinator
            .roles
            .given_certificate_expiry
            .with_label_values(&["edge-proxy/certificate"]),
    ] {
        gauge.set(1.0);
    }
    coordinator
        .own_certificate_expiry
        .with_label_values(&["api"])
        .set(1.0);
    coordinator
        .store_seconds
        .with_label_values(&["get"])
        .observe(0.1);
    Ok(pages + &coordinator.text())
}

#[test]
fn every_metric_of_the_rules_is_exported() -> Result<()> {
    let exported = exported()?;
    let known = named(&exported);
    let wanted = named(RULES);
    ensure!(
        wanted.len() > 20,
        "only {} metrics in the rules",
        wanted.len()
    );
    for metric in wanted {
        ensure!(
            known.contains(metric),
            "{metric} is in a rule and exported by nobody"
        );
    }
    Ok(())
}

#[test]
fn every_label_that_a_rule_selects_by_is_exported() -> Result<()> {
    let exported = exported()?;
    for (metric, label, value) in [
        ("hamesh_claim_transitions_total", "reason", "taken"),
        ("hamesh_coordinator_node_state", "state", "dead"),
        ("hamesh_coordinator_node_state", "state", "suspect"),
        ("hamesh_coordinator_node_state", "state", "unknown"),
        ("hamesh_coordinator_role_place", "place", "failed"),
        ("hamesh_coordinator_role_place", "place", "applying"),
        ("hamesh_coordinator_role_place", "place", "waits"),
    ] {
        let selected = format!("{label}=\"{value}\"");
        let found = exported
            .lines()
            .any(|line| line.starts_with(metric) && line.contains(&selected));
        ensure!(found, "{metric} has no {selected}");
        ensure!(RULES.contains(value), "no rule selects {metric} by {value}");
    }
    Ok(())
}
