//! Whose the coordinator's files are.

use std::io;
use std::path::Path;

/// The system user that the package makes, and that both services run as.
const SERVICE_USER: &str = "hamesh";

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

/// Why the files cannot be given to the service user. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The package is not installed.
    #[error(
        "there is no user `hamesh`; nothing was changed; install the package \
             hamesh-coordinator first"
    )]
    NoSuchUser,
    /// The system could not say.
    #[error("cannot look up the user `hamesh`: {0}; nothing was changed")]
    Lookup(#[from] nix::Error),
}

impl Owner {
    /// The service user, if the caller is root; else `None`: the caller keeps its files.
    pub fn service() -> Result<Option<Self>, OwnerError> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let user = nix::unistd::User::from_name(SERVICE_USER)?.ok_or(OwnerError::NoSuchUser)?;
        Ok(Some(Self {
            user: user.uid.as_raw(),
            group: user.gid.as_raw(),
        }))
    }

    /// Gives a file or directory, not what a link points to, to this owner.
    pub(crate) fn take(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.user), Some(self.group))
    }
}
