//! Packages: dpkg is asked, apt changes.
//!
//! Guarantees: nobody is asked anything, the administrator's configuration files stay, no more
//! than what is wanted and what that needs is installed, and dpkg is never killed halfway. A
//! package that starts its daemon at once may: what the daemon is to read comes after it, and so
//! does its reload.

use std::collections::BTreeMap;
use std::time::Duration;

use hamesh_roles::engine::{Package, Seen, State};

use crate::apply::program::{self, Ran};
use crate::apply::trouble::Trouble;
use crate::upgrade::install::APT;

/// How long dpkg may take to say what is installed.
const ASKED: Duration = Duration::from_secs(60);
/// What dpkg says when it was interrupted.
const INTERRUPTED: &str = "dpkg --configure -a";

/// How packages are installed: also an earlier version, also one that is held at another.
const INSTALL: [&str; 3] = [
    "--no-install-recommends",
    "--allow-downgrades",
    "--allow-change-held-packages",
];

/// What was installed at one look.
#[derive(Debug)]
pub struct Installed(Result<BTreeMap<String, (String, bool)>, String>);

impl Installed {
    /// Asks dpkg about these.
    pub async fn ask(names: &[&str]) -> Self {
        if names.is_empty() {
            return Self(Ok(BTreeMap::new()));
        }
        let format = "--showformat=${Package} ${Version} ${db:Status-Status} ${db:Status-Want}\\n";
        let mut argv = vec!["dpkg-query", "--show", format, "--"];
        argv.extend(names);
        // It complains of those that it does not know, and tells the others.
        let asked = program::run(&argv, Some(ASKED)).await;
        let told = asked.and_then(|ran| match ran.status.code() {
            Some(0 | 1) => Ok(read(&ran.stdout)),
            _ => ran.well("dpkg-query").map(|ran| read(&ran.stdout)),
        });
        Self(told.map_err(|trouble| trouble.problem))
    }

    /// How one is.
    pub fn look(&self, name: &str) -> Seen {
        match &self.0 {
            Err(why) => Seen::Unknown(why.clone()),
            Ok(installed) => match installed.get(name).cloned() {
                Some((version, held)) => Seen::Present(State::Package { version, held }),
                None => Seen::Absent,
            },
        }
    }
}

fn read(told: &str) -> BTreeMap<String, (String, bool)> {
    let installed = told.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, version, "installed", want] = words.as_slice() else {
            return None;
        };
        Some(((*name).to_owned(), ((*version).to_owned(), *want == "hold")))
    });
    installed.collect()
}

/// Installs it, and keeps it at its version where that is given.
///
/// # Errors
/// [`Trouble`].
pub async fn make(package: &Package) -> Result<(), Trouble> {
    let word = match &package.version {
        Some(version) => format!("{}={version}", package.name),
        None => package.name.clone(),
    };
    let install = || apt("install", &INSTALL, Some(&word));
    if let Err(trouble) = install().await {
        if trouble.said.iter().any(|line| line.contains(INTERRUPTED)) {
            let argv = ["dpkg", "--force-confold", "--configure", "-a"];
            let mended = program::run(&argv, None).await?;
            mended.well("dpkg --configure -a")?;
        }
        // The index may be of before that version. If it cannot be had, the second try says more.
        let updated = apt("update", &[], None).await;
        install().await.map_err(|again| match updated {
            Ok(_) => again,
            Err(update) => Trouble::with(again.problem, [update.said, again.said].concat()),
        })?;
    }
    match &package.version {
        Some(_) => mark("hold", &package.name).await,
        None => Ok(()),
    }
}

/// Removes it; its configuration files stay.
///
/// # Errors
/// [`Trouble`].
pub async fn remove(package: &Package) -> Result<(), Trouble> {
    if package.version.is_some() {
        mark("unhold", &package.name).await?;
    }
    apt("remove", &[], Some(&package.name)).await.map(drop)
}

async fn mark(verb: &str, name: &str) -> Result<(), Trouble> {
    let ran = program::run(&["apt-mark", verb, "--", name], Some(ASKED)).await?;
    ran.well(&format!("apt-mark {verb} {name}")).map(drop)
}

async fn apt(verb: &str, options: &[&str], word: Option<&str>) -> Result<Ran, Trouble> {
    let mut argv = vec!["apt-get"];
    argv.extend(APT);
    argv.push(verb);
    argv.extend(options);
    argv.extend(word.iter().flat_map(|word| ["--", *word]));
    let ran = program::run(&argv, None).await?;
    let doing = match word {
        Some(word) => format!("apt-get {verb} {word}"),
        None => format!("apt-get {verb}"),
    };
    // apt begins what matters with "E:".
    let lines = ran.lines();
    let matters = lines.iter().find(|line| line.starts_with("E: ")).cloned();
    ran.well(&doing).map_err(|trouble| match matters {
        Some(why) => Trouble::with(format!("{doing}: {why}"), trouble.said),
        None => trouble,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wholly_installed_counts() {
        let told = "haproxy 2.6.12-1 installed hold\nnftables 1.0.6 unpacked install\n\
                    jq  not-installed unknown\npatroni 3.0 installed install\n";
        let installed = Installed(Ok(read(told)));
        let (version, held) = ("2.6.12-1".to_owned(), true);
        assert_eq!(
            installed.look("haproxy"),
            Seen::Present(State::Package { version, held })
        );
        assert_eq!(installed.look("nftables"), Seen::Absent);
        assert_eq!(installed.look("jq"), Seen::Absent);
        assert!(matches!(installed.look("patroni"), Seen::Present(_)));
        let unknown = Installed(Err("dpkg-query: broken".to_owned()));
        assert!(matches!(unknown.look("haproxy"), Seen::Unknown(_)));
    }
}
