//! What `hamesh-upgrade.service` runs, as root: apt, for the packages of hamesh that are there.
//!
//! Guarantees: exactly the ordered version of the installed packages is asked of apt, which may
//! take an earlier one too; nobody is asked anything, and the administrator's configuration files
//! stay; it ends well only if every service that ran before runs after.
//!
//! The idea: the packages' own scripts restart the services, as they do for an administrator. This
//! program goes on meanwhile: it is no part of them, and its own file may be replaced under it.

use std::ffi::OsString;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hamesh_proto::version::{PACKAGES, PackageVersion};
use nix::sys::stat::{Mode, umask};

use super::files::{self, LINES, Order, Outcome};
use crate::held::describe;
use crate::state::StateDir;

/// The services that the packages restart.
const UNITS: [&str; 4] = [
    "hamesh-store",
    "hamesh-coordinator",
    "hamesh-agent",
    "hamesh-apply",
];
/// How long a service may take to run again: a store reads its whole log.
const SERVICES: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// What apt-get is always told: to ask nobody, to leave the administrator's configuration files
/// alone, and to wait (300 s) for another one of its kind, such as the nightly one.
pub(crate) const APT: [&str; 6] = [
    "--yes",
    "--quiet",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "DPkg::Lock::Timeout=300",
];

/// The programs that it needs, each with the arguments that always come first.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `apt-get`
    pub apt_get: Vec<OsString>,
    /// `dpkg-query`
    pub dpkg_query: Vec<OsString>,
    /// `systemctl`
    pub systemctl: Vec<OsString>,
    /// How long a service may take to run again.
    pub patience: Duration,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            apt_get: vec!["apt-get".into()],
            dpkg_query: vec!["dpkg-query".into()],
            systemctl: vec!["systemctl".into()],
            patience: SERVICES,
        }
    }
}

/// What did not work, and what it said.
struct Trouble {
    problem: String,
    said: Vec<String>,
}

impl Trouble {
    fn plain(problem: String) -> Self {
        let said = Vec::new();
        Self { problem, said }
    }
}

/// Carries out the order that waits, if one does; `false`: it was not done, and the result says
/// why.
///
/// # Errors
/// The notes cannot be read or written.
pub fn carry_out(state: &StateDir, tools: &Tools) -> anyhow::Result<bool> {
    let Some((order, lock)) = files::begin(state)? else {
        println!("no order waits; nothing was changed");
        return Ok(true);
    };
    println!("upgrading to {}, order {}", order.version, order.id);
    // What apt and the packages make is for others to read.
    umask(Mode::from_bits_truncate(0o022));
    let trouble = tools.install(&order).err();
    let done = trouble.is_none();
    if let Some(Trouble { problem, .. }) = &trouble {
        eprintln!("not upgraded: {problem}");
    }
    let (problem, said) = trouble.map_or((None, Vec::new()), |it| (Some(it.problem), it.said));
    let id = order.id;
    files::end(state, &Outcome { id, problem, said })?;
    drop(lock);
    Ok(done)
}

impl Tools {
    fn install(&self, order: &Order) -> Result<(), Trouble> {
        // It came through a file: believed no more than the wire.
        let version: PackageVersion = order
            .version
            .parse()
            .map_err(|error| Trouble::plain(format!("{error}")))?;
        let packages = self.packages()?;
        let ran = UNITS.into_iter().filter(|unit| self.runs(unit));
        let ran: Vec<&str> = ran.collect();
        // An index that is out of reach need not be the one that knows the version.
        let updated = self.apt("update", &[], &[]);
        let words: Vec<String> = packages
            .iter()
            .map(|package| format!("{package}={version}"))
            .collect();
        let options = ["--no-install-recommends", "--allow-downgrades"];
        if let Err(mut trouble) = self.apt("install", &options, &words) {
            if let Err(mut update) = updated {
                update.said.append(&mut trouble.said);
                trouble.said = update.said;
            }
            let surplus = trouble.said.len().saturating_sub(LINES);
            trouble.said.drain(..surplus);
            return Err(trouble);
        }
        ran.iter().try_for_each(|unit| self.runs_again(unit))
    }

    /// The packages of hamesh that are there, also those that an interruption left half done.
    fn packages(&self) -> Result<Vec<String>, Trouble> {
        let format = "--showformat=${Package} ${db:Status-Status}\\n";
        let mut query = command(&self.dpkg_query);
        query.args(["--show", format]).args(PACKAGES);
        // It complains of those that it does not know, and tells the others.
        let told = query.output();
        let told = told.map_err(|error| Trouble::plain(format!("dpkg-query: {error}")))?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let there = told.lines().filter_map(|line| match line.split_once(' ')? {
            (_, "not-installed" | "config-files") => None,
            (name, _) => Some(name.to_owned()),
        });
        let packages: Vec<String> = there.collect();
        if packages.is_empty() {
            let problem = "no package of hamesh is installed on this machine";
            return Err(Trouble::plain(problem.to_owned()));
        }
        Ok(packages)
    }

    fn apt(&self, verb: &str, options: &[&str], words: &[String]) -> Result<(), Trouble> {
        let mut apt = command(&self.apt_get);
        apt.args(APT).arg(verb).args(options).args(words);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.env("LC_ALL", "C.UTF-8");
        let doing = format!("apt-get {verb} {}", words.join(" "));
        let output = apt.stdin(Stdio::null()).output();
        let output = output.map_err(|error| Trouble::plain(format!("{doing}: {error}")))?;
        let said = lines(&output);
        said.iter().for_each(|line| println!("{line}"));
        if output.status.success() {
            return Ok(());
        }
        // apt begins what matters with "E:".
        let matters = said.iter().find(|line| line.starts_with("E: "));
        let why = matters.map_or_else(|| output.status.to_string(), Clone::clone);
        let from = said.len().saturating_sub(LINES);
        Err(Trouble {
            problem: format!("{doing}: {why}"),
            said: said[from..].to_vec(),
        })
    }

    fn runs(&self, unit: &str) -> bool {
        let mut ask = command(&self.systemctl);
        let answer = ask.args(["is-active", "--quiet", unit]).status();
        answer.is_ok_and(|status| status.success())
    }

    fn runs_again(&self, unit: &str) -> Result<(), Trouble> {
        let begun = Instant::now();
        while !self.runs(unit) {
            if begun.elapsed() >= self.patience {
                let mut ask = command(&self.systemctl);
                let said = ask
                    .args(["status", "--no-pager", "--lines=10", unit])
                    .output();
                return Err(Trouble {
                    problem: format!("the packages are installed, but {unit} does not run"),
                    said: said.map_or_else(|error| vec![describe(&error)], |said| lines(&said)),
                });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn command(words: &[OsString]) -> Command {
    let (program, first) = words.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(first);
    command
}

/// What a program printed, then what it complained about.
fn lines(output: &Output) -> Vec<String> {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let lines = texts.iter().flat_map(|text| text.lines());
    let told = lines.map(str::trim_end).filter(|line| !line.is_empty());
    told.map(str::to_owned).collect()
}
