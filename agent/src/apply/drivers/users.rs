//! System users, each with a group of its own name.

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_roles::engine::{Seen, State, User};

use crate::apply::program;
use crate::apply::trouble::Trouble;

/// How long a change of `/etc/passwd` may take.
const CHANGED: Duration = Duration::from_secs(60);

/// How it is now.
pub fn look(user: &User) -> Seen {
    let found = match nix::unistd::User::from_name(&user.name) {
        Ok(Some(found)) => found,
        Ok(None) => return Seen::Absent,
        Err(error) => return Seen::Unknown(error.to_string()),
    };
    match std::fs::read_to_string("/etc/group") {
        Ok(text) => Seen::Present(State::User {
            home: found.dir.display().to_string(),
            groups: groups(&text, &user.name),
        }),
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

/// The groups that name the user as a member.
fn groups(text: &str, user: &str) -> BTreeSet<String> {
    let named = text.lines().filter_map(|line| {
        let (name, members) = (line.split(':').next()?, line.rsplit(':').next()?);
        let member = members.split(',').any(|member| member == user);
        member.then(|| name.to_owned())
    });
    named.collect()
}

/// Adds it, or changes what it lacks.
///
/// # Errors
/// [`Trouble`].
pub async fn make(user: &User) -> Result<(), Trouble> {
    let there = matches!(look(user), Seen::Present(_));
    let mut argv = match there {
        true => vec!["usermod", "--home", &user.home],
        false => vec![
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            &user.home,
            "--shell",
            "/usr/sbin/nologin",
        ],
    };
    let groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
    let groups = groups.join(",");
    if !groups.is_empty() {
        argv.extend(there.then_some("--append"));
        argv.extend(["--groups", &groups]);
    }
    argv.extend(["--", &user.name]);
    let ran = program::run(&argv, Some(CHANGED)).await?;
    ran.well(&format!("{} {}", argv[0], user.name)).map(drop)
}

/// Removes it. Its home stays.
///
/// # Errors
/// [`Trouble`].
pub async fn remove(user: &User) -> Result<(), Trouble> {
    let ran = program::run(&["userdel", "--", &user.name], Some(CHANGED)).await?;
    ran.well(&format!("userdel {}", user.name)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_those_that_name_the_user() {
        let text = "root:x:0:\nssl-cert:x:115:postgres,web\nadm:x:4:syslog\nweb:x:900:\n";
        assert_eq!(groups(text, "web"), BTreeSet::from(["ssl-cert".to_owned()]));
        assert!(groups(text, "we").is_empty());
        let root = User {
            name: "root".to_owned(),
            home: "/root".to_owned(),
            groups: BTreeSet::new(),
        };
        assert!(matches!(look(&root), Seen::Present(_)));
    }
}
