//! What a lab could leave behind on the machine it runs on: processes, namespaces, mounts,
//! interfaces, firewall rules.
//!
//! Only what other programs of a busy machine do not change by themselves is compared: namespaces
//! stand for the processes in them, and processes count when they name the lab.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// All of it, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at the machine.
    pub fn look() -> Result<Self> {
        let mut found = BTreeSet::new();
        processes_and_namespaces(&mut found)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("mountinfo")?;
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        found.extend(points.map(|point| format!("mount {point}")));
        for entry in fs::read_dir("/sys/class/net").context("/sys/class/net")? {
            found.insert(format!("interface {}", entry?.file_name().display()));
        }
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            found.insert(format!("named namespace {}", entry.file_name().display()));
        }
        let rules = Command::new("nft")
            .args(["list", "ruleset"])
            .output()
            .context("nft")?;
        ensure!(rules.status.success(), "nft list ruleset: {rules:?}");
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        found.extend(rules.lines().map(|line| format!("firewall {line}")));
        Ok(Traces(found))
    }

    /// What is there now and was not there `before`.
    pub fn beyond(&self, before: &Traces) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

fn processes_and_namespaces(found: &mut BTreeSet<String>) -> Result<()> {
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == own {
            continue;
        }
        // A process that ends meanwhile leaves nothing behind.
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let of_the_lab = ["systemd-nspawn", "hamesh-lab", "linux.uml", "qemu-system"];
        if of_the_lab.iter().any(|word| command.contains(word)) {
            found.insert(format!("process {pid} {command}"));
        }
        for kind in ["net", "pid"] {
            if let Ok(namespace) = fs::read_link(entry.path().join("ns").join(kind)) {
                found.insert(format!("namespace {}", namespace.display()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_was_not_there_before_is_found() {
        let before = Traces(BTreeSet::from(["mount /".to_owned()]));
        let after = Traces(BTreeSet::from([
            "mount /".to_owned(),
            "mount /x".to_owned(),
        ]));
        assert_eq!(after.beyond(&before), ["mount /x"]);
        assert!(before.beyond(&after).is_empty());
    }
}
