//! What a base image is made of.
//!
//! Pure. The key of a recipe is a hash of all of it, so a changed recipe is a new image and an
//! unchanged one is never built twice.

use std::fmt::Write as _;

use hamesh_roles::Engine;

use crate::engine::{console, qemu, uml};
use crate::names::POOL_IN_NODE;

/// The Debian release of every node.
pub const SUITE: &str = "bookworm";

/// In every node: a small Debian that boots, with what an operator expects to find.
const PACKAGES: [&str; 17] = [
    "apt",
    "ca-certificates",
    "curl",
    "dbus",
    "init",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "netbase",
    "nftables",
    "procps",
    "systemd",
    "systemd-sysv",
    "tzdata",
];

/// In nodes with a kernel of their own: devices, and the lab's way in.
const OWN_KERNEL_PACKAGES: [&str; 3] = ["e2fsprogs", "openssh-server", "udev"];

/// Units that have no work in a lab: nothing to log in on, no clock and no updates to fetch.
const MASKED: [&str; 8] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "systemd-firstboot.service",
];

/// More such units where udev and a kernel of its own run.
const OWN_KERNEL_MASKED: [&str; 5] = [
    "getty-static.service",
    "serial-getty@hvc0.service",
    "serial-getty@tty0.service",
    "ssh.service",
    "systemd-hwdb-update.service",
];

/// A base image, described.
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Debian packages beyond the essential ones.
    pub packages: Vec<&'static str>,
    /// Files: path from the root, content.
    pub files: Vec<(&'static str, String)>,
    /// Units to enable.
    pub enabled: Vec<&'static str>,
    /// Units to mask.
    pub masked: Vec<&'static str>,
}

impl Recipe {
    /// The base image of an engine.
    pub fn of(engine: Engine) -> Self {
        let mut recipe = Self {
            packages: PACKAGES.to_vec(),
            files: files(),
            enabled: vec!["systemd-networkd.service"],
            masked: MASKED.to_vec(),
        };
        match engine {
            Engine::Nspawn => {}
            Engine::Uml => {
                recipe.give_console();
                recipe.files.extend(uml::files());
            }
            Engine::Qemu => {
                recipe.give_console();
                recipe.packages.extend(qemu::PACKAGES);
                recipe.files.extend(qemu::files());
                recipe.masked.extend(qemu::MASKED);
            }
        }
        recipe
    }

    /// What every node with a kernel of its own needs.
    fn give_console(&mut self) {
        self.packages.extend(OWN_KERNEL_PACKAGES);
        self.files.extend(console::files());
        self.enabled.push("hamesh-lab-console.service");
        self.masked.extend(OWN_KERNEL_MASKED);
    }

    /// Everything that decides what the image holds, as text.
    pub fn text(&self) -> String {
        let mut text = format!("suite {SUITE}\npackages {}\n", self.packages.join(","));
        for (path, content) in &self.files {
            let _ = writeln!(text, "file {path} {}\n{content}", content.len());
        }
        let _ = writeln!(text, "enabled {:?}\nmasked {:?}", self.enabled, self.masked);
        text
    }
}

fn files() -> Vec<(&'static str, String)> {
    vec![
        (
            "etc/apt/sources.list",
            format!(
                "# The package pool of the lab; nodes have no other way out.\n\
                     deb [trusted=yes] file:{POOL_IN_NODE} ./\n"
            ),
        ),
        (
            "etc/apt/apt.conf.d/90hamesh-lab",
            "Acquire::Languages \"none\";\nAPT::Install-Recommends \"false\";\n".to_owned(),
        ),
        // A lab node's disk need not survive the host's own loss of power.
        (
            "etc/dpkg/dpkg.cfg.d/90hamesh-lab",
            "force-unsafe-io\n".to_owned(),
        ),
        (
            "etc/systemd/journald.conf.d/90-hamesh-lab.conf",
            "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n".to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_engine_has_an_image_of_its_own() {
        let texts: BTreeSet<String> = Engine::ALL.map(|e| Recipe::of(e).text()).into();
        assert_eq!(texts.len(), Engine::ALL.len());
    }

    #[test]
    fn a_nodes_only_package_source_is_the_pool() {
        let recipe = Recipe::of(Engine::Nspawn);
        let (_, sources) = recipe
            .files
            .iter()
            .find(|(path, _)| *path == "etc/apt/sources.list")
            .expect("it");
        let sources: Vec<&str> = sources
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(sources, ["deb [trusted=yes] file:/srv/hamesh-pool ./"]);
    }
}
