//! Versions of hamesh's packages, by Debian's rules.
//!
//! Guarantees: a [`PackageVersion`] has only characters that a Debian version may have, so that it
//! means nothing to a shell and is no option to apt; of two, that one is greater which dpkg calls
//! later (Debian Policy 5.6.12).
//!
//! The idea: each package brings a file with its own version. A program reads that of its package
//! once, when it starts: it is what runs, whatever was unpacked since. Two packages made from one
//! tree hold the same program, so that what was compiled in cannot tell them apart.

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Where each package has its file, NAME.version.
const FOLDER: &str = "/usr/share/hamesh";
/// hamesh's packages.
pub const PACKAGES: [&str; 3] = ["hamesh-agent", "hamesh-cli", "hamesh-coordinator"];
/// More than any version has.
const LONGEST: usize = 128;

/// A version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageVersion(String);

/// The text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no version of a package: it begins with a digit, and has letters, digits and \
     `.+~:-` only"
)]
pub struct InvalidVersion(String);

impl FromStr for PackageVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b".+~:-".contains(&c);
        let numeric = |epoch: &str| epoch.bytes().all(|c| c.is_ascii_digit());
        let good = text.len() <= LONGEST
            && text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(allowed)
            && text.split_once(':').is_none_or(|(epoch, _)| numeric(epoch));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidVersion(text.chars().take(LONGEST).collect()))
        }
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for PackageVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((epoch, upstream, revision), theirs) = (self.parts(), other.parts());
        compare(epoch, theirs.0)
            .then_with(|| compare(upstream, theirs.1))
            .then_with(|| compare(revision, theirs.2))
            // Texts that dpkg takes for the same version ("1.0", "1.0-0") are two to apt's command.
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PackageVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PackageVersion {
    /// Epoch, upstream version and revision; empty: zero.
    fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("", self.0.as_str()));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.as_bytes(), upstream.as_bytes(), revision.as_bytes())
    }
}

/// Runs of other characters and runs of digits by turns, until one is greater.
fn compare<'a>(mut left: &'a [u8], mut right: &'a [u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (ours, theirs);
        (ours, left) = run(left, |c| !c.is_ascii_digit());
        (theirs, right) = run(right, |c| !c.is_ascii_digit());
        for n in 0..ours.len().max(theirs.len()) {
            let order = rank(ours.get(n)).cmp(&rank(theirs.get(n)));
            if order.is_ne() {
                return order;
            }
        }
        let (ours, theirs);
        (ours, left) = run(left, |c| c.is_ascii_digit());
        (theirs, right) = run(right, |c| c.is_ascii_digit());
        let (ours, theirs) = (significant(ours), significant(theirs));
        let order = ours.len().cmp(&theirs.len()).then_with(|| ours.cmp(theirs));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// What a text begins with of a kind, and what follows.
fn run(text: &[u8], of: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !of(*c)).unwrap_or(text.len());
    text.split_at(end)
}

/// A tilde comes before the end, letters before everything else.
fn rank(c: Option<&u8>) -> i32 {
    match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

/// The version of the package that this process came with; `built`, which was compiled in, if it
/// was not started from where the package has `program`.
pub fn running(package: &str, program: &str, built: &str) -> String {
    let ours = Path::new("/usr/bin").join(program);
    let packaged = std::env::current_exe().is_ok_and(|path| path == ours);
    let version = packaged.then(|| version_in(Path::new(FOLDER), package));
    let version = version.flatten();
    version.map_or_else(|| built.to_owned(), |version| version.to_string())
}

/// hamesh's packages on this machine.
pub fn installed() -> Vec<(&'static str, PackageVersion)> {
    let version = |package| Some((package, version_in(Path::new(FOLDER), package)?));
    PACKAGES.into_iter().filter_map(version).collect()
}

fn version_in(folder: &Path, package: &str) -> Option<PackageVersion> {
    let text = std::fs::read_to_string(folder.join(format!("{package}.version")));
    text.ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PackageVersion {
        text.parse().expect(text)
    }

    #[test]
    fn versions_rise_as_dpkg_has_them() {
        let rising = [
            "0",
            "0.1.0~rc1",
            "0.1.0",
            "0.1.0-1~bpo12",
            "0.1.0-1",
            "0.1.0-1a",
            "0.1.0+next1",
            "0.1.0+next2",
            "0.1.0+next10",
            "0.1.1",
            "0.2",
            "0.10.0",
            "1.0a",
            "1.0+1",
            "9",
            "1:0.1",
            "2:0",
        ];
        for (n, low) in rising.iter().enumerate() {
            for high in &rising[n + 1..] {
                assert!(version(low) < version(high), "{low} {high}");
            }
            assert_eq!(version(low), version(low));
        }
        assert!(version("1.0") < version("1.00"), "they are two to apt");
    }

    #[test]
    fn what_could_mean_something_to_a_shell_or_to_apt_is_no_version() {
        let long = "1".repeat(LONGEST + 1);
        for bad in [
            "",
            "-y",
            "a1",
            "1 2",
            "1;reboot",
            "1$(x)",
            "1`x`",
            "1/2",
            "1\n",
            "1é",
            "1a:2",
            "1*",
            long.as_str(),
        ] {
            assert!(bad.parse::<PackageVersion>().is_err(), "{bad:?}");
        }
        for good in ["1", "0.1.0+next1", "1:2.3-4~bpo12+1", "1.0-rc-2"] {
            assert_eq!(version(good).to_string(), good);
        }
    }

    #[test]
    fn a_packages_file_tells_its_version_and_anything_else_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(version_in(folder.path(), "hamesh-agent"), None);
        let file = folder.path().join("hamesh-agent.version");
        std::fs::write(&file, "0.1.0+next1\n").expect("written");
        let found = version_in(folder.path(), "hamesh-agent");
        assert_eq!(found, Some(version("0.1.0+next1")));
        std::fs::write(&file, "; rm").expect("written");
        assert_eq!(version_in(folder.path(), "hamesh-agent"), None);
        assert_eq!(running("hamesh-agent", "hamesh-agent", "0.1.0"), "0.1.0");
    }
}
