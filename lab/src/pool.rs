//! The package pool: a local apt repository with everything a node may install.
//!
//! Nodes have no way out of the site. What hamesh's own packages and the roles need is fetched
//! beforehand by the host's apt, worked out against what the base image already holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use hamesh_roles::Engine;

use crate::image::{self, hex_key};
use crate::names::{self, CACHE};
use crate::tool::Tool;

/// Debian packages that nodes install beyond what hamesh's own depend on. The one list of them.
/// serf and keepalived are the rivals of the benches; nginx stands in for what Kubernetes will
/// serve.
const SERVICES: [&str; 11] = [
    "etcd-client",
    "etcd-server",
    "haproxy",
    "keepalived",
    "nginx-light",
    "patroni",
    "postgresql-15",
    "prometheus",
    "prometheus-node-exporter",
    // Patroni's HTTP client needs it for names, and Debian only suggests it.
    "python3-idna",
    "serf",
];

/// Names the list a pool was made for.
const STAMP: &str = "made-for";

/// A package of hamesh on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPackage {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// A hash of the file: two builds of one version differ.
    pub key: String,
}

/// The packages of hamesh in a directory, in the order of their names.
pub fn own_packages(dir: &Path) -> Result<Vec<OwnPackage>> {
    let mut archives: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            // apt takes a word for a file only if it has a slash.
            let path = path
                .canonicalize()
                .with_context(|| format!("finding {path:?}"))?;
            let meta = entry
                .metadata()
                .with_context(|| format!("reading {path:?}"))?;
            archives.push((meta.modified().context("reading its age")?, path));
        }
    }
    archives.sort();
    // Of several builds of one package the newest counts.
    let mut found: BTreeMap<String, OwnPackage> = BTreeMap::new();
    for (_, path) in archives {
        let name = Tool::new("dpkg-deb", ["--field"])
            .arg(&path)
            .arg("Package")
            .run()?;
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = name.trim().to_owned();
        found.insert(
            name.clone(),
            OwnPackage {
                name,
                path,
                key: hex_key(&bytes),
            },
        );
    }
    if found.is_empty() {
        bail!(
            "no packages of hamesh in {}; `./lab/up` builds them, `--bare` needs none",
            { dir.display() }
        );
    }
    Ok(found.into_values().collect())
}

/// Makes the pool hold these packages and all that they and the services need. Says whether
/// anything had to be done.
pub fn ensure(own: &[OwnPackage]) -> Result<bool> {
    let pool = names::pool_dir();
    fs::create_dir_all(&pool).with_context(|| format!("creating {}", pool.display()))?;
    let base = image::path(Engine::Nspawn);
    let keys: Vec<&str> = own.iter().map(|package| package.key.as_str()).collect();
    let wanted = format!(
        "{}\n{}\n{}\n",
        base.display(),
        SERVICES.join(" "),
        keys.join(" ")
    );
    let stamp = pool.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == wanted) {
        return Ok(false);
    }
    let _ = fs::remove_file(&stamp);
    let fetched = fetch(&base, own)?;
    let files: Vec<PathBuf> = fetched
        .into_iter()
        .chain(own.iter().map(|package| package.path.clone()))
        .collect();
    fill(&pool, &files)?;
    index(&pool)?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(true)
}

/// Downloads what the base image lacks; apt keeps what it already has.
fn fetch(base: &Path, own: &[OwnPackage]) -> Result<Vec<PathBuf>> {
    let cache = Path::new(CACHE).join("apt");
    let archives = cache.join("archives");
    fs::create_dir_all(archives.join("partial"))
        .with_context(|| format!("creating {}", archives.display()))?;
    let status = format!(
        "Dir::State::status={}",
        base.join("var/lib/dpkg/status").display()
    );
    let directory = format!("Dir::Cache={}", cache.display());
    let install = |extra: &[&str]| {
        let options = [
            &status,
            &directory,
            "Debug::NoLocking=true",
            "APT::Sandbox::User=root",
        ];
        let options = options.into_iter().flat_map(|option| ["-o", option]);
        let mut tool = Tool::new("apt-get", options)
            .arg("--yes")
            .arg("--quiet")
            .arg("--no-install-recommends")
            .arg("install");
        for word in extra.iter().chain(&SERVICES) {
            tool = tool.arg(word);
        }
        for package in own {
            tool = tool.arg(&package.path);
        }
        tool.run()
    };
    if install(&["--download-only"]).is_err() {
        Tool::new("apt-get", ["update", "-q"]).run()?;
        install(&["--download-only"])?;
    }
    // The directory may hold older versions too: ask which files belong to this plan.
    let plan = install(&["--simulate"])?;
    let mut wanted = Vec::new();
    for entry in fs::read_dir(&archives)
        .context("reading the archives")?
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") && planned(&plan, &path) {
            wanted.push(path);
        }
    }
    Ok(wanted)
}

/// Whether an archive (`name_version_arch.deb`) is installed by a simulated plan, whose lines read
/// `Inst name (version origin [arch])`.
fn planned(plan: &str, archive: &Path) -> bool {
    let stem = archive
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.unwrap_or_default();
    let mut parts = stem.split('_');
    let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
        return false;
    };
    let version = version.replace("%3a", ":");
    let wanted = format!("Inst {name} ({version} ");
    plan.lines().any(|line| line.starts_with(&wanted))
}

/// Makes the pool hold exactly these archives. Nodes may be reading it: files appear whole.
fn fill(pool: &Path, files: &[PathBuf]) -> Result<()> {
    let mut kept = Vec::new();
    for file in files {
        let Some(name) = file.file_name() else {
            continue;
        };
        let (half, whole) = (pool.join(".half"), pool.join(name));
        fs::copy(file, &half).with_context(|| format!("copying {}", file.display()))?;
        fs::rename(&half, &whole).with_context(|| format!("naming {}", whole.display()))?;
        kept.push(whole);
    }
    for entry in fs::read_dir(pool).with_context(|| format!("reading {}", pool.display()))? {
        let path = entry.context("reading the pool")?.path();
        if path.extension().is_some_and(|e| e == "deb") && !kept.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn index(pool: &Path) -> Result<()> {
    let directory = crate::tool::quote(&pool.to_string_lossy());
    for (what, name) in [("packages", "Packages"), ("release", "Release")] {
        let script = format!("cd {directory} && apt-ftparchive {what} .");
        let text = Tool::new("sh", ["-c", &script]).run()?;
        let (half, whole) = (pool.join(".half"), pool.join(name));
        fs::write(&half, text).with_context(|| format!("writing {}", half.display()))?;
        fs::rename(&half, &whole).with_context(|| format!("naming {}", whole.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_planned_version_of_a_package_is_taken() {
        let plan = "Inst etcd-server (3.4.23-4+b6 Debian:12/oldstable [amd64])\n\
                    Inst adduser (1:3.134 Debian:12/oldstable [all])\nConf adduser (x)\n";
        assert!(planned(
            plan,
            Path::new("/a/etcd-server_3.4.23-4+b6_amd64.deb")
        ));
        assert!(!planned(plan, Path::new("/a/etcd-server_3.4.22_amd64.deb")));
        assert!(planned(plan, Path::new("/a/adduser_1%3a3.134_all.deb")));
        assert!(!planned(plan, Path::new("/a/etcd_3.4.23-4+b6_amd64.deb")));
    }
}
