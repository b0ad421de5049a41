//! Builds the base images, once per recipe, with mmdebstrap from the host's own Debian sources.
//!
//! An image is built beside its place and renamed into it when it is whole, so one that exists is
//! complete.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hamesh_proto::digest::sha256_hex;
use hamesh_roles::Engine;

use crate::cgroup::Cgroups;
use crate::names::{self, CACHE, WORK_GROUP};
use crate::recipe::{Recipe, SUITE};
use crate::tool::{Tool, quote};

/// Suffix of what is not yet whole. Such leftovers are removed by `down` and by the next build.
pub const UNFINISHED: &str = ".unfinished";

/// Hex characters of a hash that tell recipes apart in a directory listing.
const KEY_LENGTH: usize = 16;

/// The base image of an engine, built if it is not in the cache.
pub fn ensure(engine: Engine, cgroups: &Cgroups) -> Result<PathBuf> {
    let recipe = Recipe::of(engine);
    let path = path(engine);
    if path.exists() {
        return Ok(path);
    }
    let building = path.with_extension(UNFINISHED.trim_start_matches('.'));
    remove_tree(&building)?;
    fs::create_dir_all(CACHE).with_context(|| format!("creating {CACHE}"))?;
    let sources = debian_sources()?;
    let options = building.with_extension("apt");
    fs::write(&options, host_apt_options()?)
        .with_context(|| format!("writing {}", options.display()))?;
    let packages = format!("--include={}", recipe.packages.join(","));
    let apt = format!("--aptopt={}", options.display());
    cgroups.create(WORK_GROUP, None)?;
    // In a group of its own, so that `down` finds it should this process be killed.
    let command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--format=directory",
        "--dpkgopt=force-unsafe-io",
        &apt,
        &packages,
        SUITE,
        &building.to_string_lossy(),
        "-",
    ];
    let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
    let script = format!("{} && exec {}", cgroups.join(WORK_GROUP), words.join(" "));
    let built = Tool::new("sh", ["-c", &script]).stdin(sources).run();
    let _ = fs::remove_file(&options);
    built?;
    customize(&building, &recipe)?;
    fs::rename(&building, &path).with_context(|| format!("naming {}", path.display()))?;
    Ok(path)
}

/// Where the base image of an engine is, once built.
pub fn path(engine: Engine) -> PathBuf {
    let key = hex_key(Recipe::of(engine).text().as_bytes());
    Path::new(CACHE).join(format!("base-{}-{key}", engine.name()))
}

/// A short hash in hex.
pub fn hex_key(bytes: &[u8]) -> String {
    sha256_hex(bytes)[..KEY_LENGTH].to_owned()
}

/// Removes images and images in the making, all or only the latter.
pub fn remove_unfinished() -> Result<()> {
    let entries = fs::read_dir(CACHE).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().ends_with(UNFINISHED)) {
        remove_tree(&entry.path())?;
    }
    Ok(())
}

/// Removes a directory and all below it, unless something is mounted there.
pub fn remove_tree(path: &Path) -> Result<()> {
    let mounted = crate::down::mounts_below(path)?;
    if let Some(mount) = mounted.first() {
        bail!(
            "{} is still mounted; {} was not removed",
            mount.display(),
            path.display()
        );
    }
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

fn customize(root: &Path, recipe: &Recipe) -> Result<()> {
    // mmdebstrap leaves the options it was given; the image has its own.
    for left in [
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ] {
        let _ = fs::remove_file(root.join(left));
    }
    let lists = root.join("etc/apt/sources.list.d");
    for entry in fs::read_dir(&lists).into_iter().flatten().flatten() {
        let path = entry.path();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    for (path, content) in &recipe.files {
        write_file(root, path, content)?;
    }
    for dir in [names::POOL_IN_NODE, "/var/log/journal"] {
        let path = root.join(dir.trim_start_matches('/'));
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    }
    let systemctl = |verb, units: &[&str]| {
        let root = format!("--root={}", root.display());
        Tool::new("systemctl", ["--quiet", &root, verb].iter().chain(units)).run()
    };
    systemctl("enable", &recipe.enabled)?;
    systemctl("mask", &recipe.masked)?;
    Ok(())
}

/// Writes a file below a root, with the directories that lead to it. Scripts are executable.
pub fn write_file(root: &Path, path: &str, content: &str) -> Result<()> {
    let path = root.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    // Anew: a file that exists would keep its mode, and a link would lead out of the root.
    let _ = fs::remove_file(&path);
    let mode = if content.starts_with("#!") {
        0o755
    } else {
        0o644
    };
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&path);
    file.and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// The host's own Debian sources of the release, as lines of a sources.list.
fn debian_sources() -> Result<String> {
    let wanted = |line: &&str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, suite, _, origin] = fields[..] else {
            return false;
        };
        let suites = [
            SUITE.to_owned(),
            format!("{SUITE}-updates"),
            format!("{SUITE}-security"),
        ];
        origin == "Debian" && suites.iter().any(|known| known == suite)
    };
    let read = || -> Result<Vec<String>> {
        let format = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)";
        let targets = ["indextargets", "--format", format, "Created-By: Packages"];
        let text = Tool::new("apt-get", targets).run()?;
        let mut lines: Vec<String> = text.lines().filter(wanted).map(ToOwned::to_owned).collect();
        lines.sort();
        lines.dedup();
        Ok(lines)
    };
    let mut lines = read()?;
    if lines.is_empty() {
        Tool::new("apt-get", ["update", "-q"]).run()?;
        lines = read()?;
    }
    if lines.is_empty() {
        bail!("this machine's apt knows no source of Debian {SUITE}; add one below /etc/apt");
    }
    let line = |line: &String| {
        let fields: Vec<&str> = line.split(' ').collect();
        format!("deb {} {} {}\n", fields[0], fields[1], fields[2])
    };
    Ok(lines.iter().map(line).collect())
}

/// How the host's apt reaches its sources: proxies, and what it believes of old mirrors.
fn host_apt_options() -> Result<String> {
    let dump = Tool::new("apt-config", ["dump"]).run()?;
    let carried = |line: &&str| {
        line.starts_with("Acquire::")
            && !line.starts_with("Acquire::IndexTargets")
            && !line.starts_with("Acquire::GzipIndexes")
            && !line.starts_with("Acquire::Languages")
            && !line.contains(" \"\";")
    };
    Ok(dump
        .lines()
        .filter(carried)
        .map(|line| format!("{line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_changes_with_what_it_is_of() {
        assert_eq!(hex_key(b"a").len(), KEY_LENGTH);
        assert_ne!(hex_key(b"a"), hex_key(b"b"));
    }

    #[test]
    fn a_script_is_executable_and_a_setting_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        write_file(dir.path(), "usr/sbin/run", "#!/bin/sh\n").expect("written");
        write_file(dir.path(), "etc/setting", "a=b\n").expect("written");
        let mode = |path: &str| {
            let meta = fs::metadata(dir.path().join(path)).expect("it exists");
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode("usr/sbin/run"), mode("etc/setting")), (0o755, 0o644));
    }
}
