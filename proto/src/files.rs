//! Files that are either the old or the new version, whatever happens.
//!
//! A reader (or the next boot) never sees half a file, and once [`write_atomic`] has returned the
//! new version survives a power cut. A crash can leave a `.NAME.tmp*` file behind; nothing reads
//! those.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The mode of a file that holds a secret.
pub const SECRET: u32 = 0o600;

/// Replaces (or makes) `path` by `bytes` with exactly `mode`, durably.
///
/// On an error the old file is still there, unless the error came from the last step, the
/// directory's own fsync: then the new file is in place but may not survive a power cut.
/// The file belongs to the caller; a symbolic link at `path` is replaced, not followed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".tmp");
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(SECRET))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    // Set explicitly: the mode given at creation is cut by the umask.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|refused| refused.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("the file exists")
            .permissions()
            .mode()
            & 0o7777
    }

    #[test]
    fn a_written_file_holds_the_bytes_and_the_mode_and_leaves_no_other_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("identity.pem");
        write_atomic(&path, b"one", 0o600).expect("written");
        assert_eq!(
            (fs::read(&path).expect("read"), mode_of(&path)),
            (b"one".to_vec(), 0o600)
        );
        write_atomic(&path, b"two", 0o644).expect("replaced");
        assert_eq!(
            (fs::read(&path).expect("read"), mode_of(&path)),
            (b"two".to_vec(), 0o644)
        );
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_secret_is_never_wider_than_0600_even_when_it_replaces_a_wide_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seal.key");
        write_atomic(&path, b"old", 0o666).expect("a wide file");
        write_atomic(&path, b"secret", SECRET).expect("written");
        assert_eq!(mode_of(&path), 0o600);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("taken");
        fs::create_dir(&path).expect("a directory in the way");
        fs::write(path.join("inside"), "kept").expect("written");
        assert!(write_atomic(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(path.join("inside")).expect("still there"), b"kept");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_symbolic_link_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        fs::write(&target, "untouched").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        write_atomic(&link, b"new", 0o600).expect("written");
        assert_eq!(fs::read(&target).expect("read"), b"untouched");
        assert!(!fs::symlink_metadata(&link).expect("there").is_symlink());
    }
}
