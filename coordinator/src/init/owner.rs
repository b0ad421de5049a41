//! Whose the coordinator's files are.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Dirs;

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

    /// Gives all that is there of a coordinator to this owner, but for the first operator's
    /// identity, which is root's until it is handed over. Fails with the path that it stopped at.
    pub(crate) fn take_all(self, dirs: &Dirs) -> Result<(), (PathBuf, io::Error)> {
        let tls = dirs.store_tls();
        let paths = [
            dirs.state().to_owned(),
            dirs.store_tls_directory(),
            dirs.store_data(),
            dirs.ca(),
            dirs.store_ca(),
            dirs.identity(),
            dirs.seal_key(),
            tls.ca,
            tls.server,
            tls.client,
            dirs.bootstrap(),
            dirs.rebirth(),
            dirs.recover(),
            dirs.store_environment(),
            dirs.config(),
        ];
        for path in paths {
            match self.take(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err((path, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Gives a file or directory, not what a link points to, to this owner.
    pub(crate) fn take(self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.user), Some(self.group))
    }
}
