//! Reading and writing the files of a site that is being set up.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use hamesh_proto::files::{SECRET, write_atomic};

use super::InitError;

/// Makes a directory that only its owner may enter, and its parents as they usually are.
pub(super) fn directory(path: &Path) -> Result<(), InitError> {
    let failed = |source| InitError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a secret file, whole and durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), InitError> {
    write_atomic(path, bytes, SECRET).map_err(|source| InitError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The file's bytes; `None`: there is no such file.
pub(super) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, InitError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InitError::Damaged {
            path: path.to_owned(),
            problem: error.to_string(),
        }),
    }
}

/// The file's text; `None`: there is no such file.
pub(super) fn text(path: &Path) -> Result<Option<String>, InitError> {
    let Some(bytes) = bytes(path)? else {
        return Ok(None);
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| InitError::Damaged {
            path: path.to_owned(),
            problem: "it is not text".to_owned(),
        })
}

/// Removes a file; it is fine if there is none.
pub(super) fn remove(path: &Path) -> Result<(), InitError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(InitError::Write {
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}
