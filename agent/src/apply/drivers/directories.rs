//! Directories, with their owner and mode.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use hamesh_roles::engine::{Directory, Seen, State};

use super::files::absent_or_unknown;
use super::owners;
use crate::apply::trouble::Trouble;

/// How it is now.
pub fn look(directory: &Directory) -> Seen {
    match fs::symlink_metadata(&directory.path) {
        Ok(metadata) if metadata.is_dir() => owners::directory(&metadata),
        // Something else is in its place: making it says so.
        Ok(_) => Seen::Present(State::Module),
        Err(error) => absent_or_unknown(&error),
    }
}

/// Makes it, and gives it its owner and mode.
///
/// # Errors
/// [`Trouble`].
pub fn make(directory: &Directory) -> Result<(), Trouble> {
    let path = Path::new(&directory.path);
    let failed = |error: io::Error| Trouble::of(path.display(), &error);
    let (user, group) = owners::numbers(&directory.owner, &directory.group)?;
    make_above(path)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_dir() {
        let problem = format!("{} is in the way: it is no directory", path.display());
        return Err(Trouble::plain(problem));
    }
    let handle = File::open(path).map_err(failed)?;
    fchown(&handle, Some(user.as_raw()), Some(group.as_raw())).map_err(failed)?;
    let permissions = Permissions::from_mode(directory.mode);
    handle.set_permissions(permissions).map_err(failed)
}

/// Takes it away: with all that is in it where it holds data, which the plan has decided; else
/// only if nothing is in it.
///
/// # Errors
/// [`Trouble`].
pub fn remove(directory: &Directory) -> Result<(), Trouble> {
    let path = Path::new(&directory.path);
    let removed = match directory.data {
        true => fs::remove_dir_all(path),
        false => fs::remove_dir(path),
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            // It is somebody else's now.
            io::ErrorKind::DirectoryNotEmpty if !directory.data => Ok(()),
            _ => Err(Trouble::of(path.display(), &error)),
        },
    }
}

/// Makes the directories above a path, 0755, where they are missing.
///
/// # Errors
/// [`Trouble`].
pub fn make_above(path: &Path) -> Result<(), Trouble> {
    let above = path.parent().unwrap_or(Path::new("/"));
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(above);
    made.map_err(|error| Trouble::of(above.display(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(root: &Path, data: bool) -> Directory {
        let metadata = fs::metadata(root).expect("a folder");
        let (owner, group) = owners::names(&metadata);
        Directory {
            path: root.join("srv/data").display().to_string(),
            owner,
            group,
            mode: 0o750,
            data,
        }
    }

    #[test]
    fn it_is_made_with_its_mode_and_goes_with_its_data_only_if_it_holds_data() {
        let root = tempfile::tempdir().expect("a folder");
        let wanted = directory(root.path(), false);
        assert_eq!(look(&wanted), Seen::Absent);
        make(&wanted).expect("made");
        make(&wanted).expect("made again");
        let Seen::Present(State::Directory { mode, .. }) = look(&wanted) else {
            panic!("{:?}", look(&wanted));
        };
        assert_eq!(mode, 0o750);
        let inside = Path::new(&wanted.path).join("inside");
        fs::write(&inside, "kept").expect("written");
        remove(&wanted).expect("left alone");
        assert!(inside.exists());
        remove(&directory(root.path(), true)).expect("removed");
        assert_eq!(look(&wanted), Seen::Absent);
    }

    #[test]
    fn a_file_in_its_place_is_no_directory() {
        let root = tempfile::tempdir().expect("a folder");
        let wanted = directory(root.path(), false);
        make_above(Path::new(&wanted.path)).expect("made");
        fs::write(&wanted.path, "in the way").expect("written");
        let trouble = make(&wanted).expect_err("a file is there");
        assert!(trouble.problem.contains("in the way"), "{trouble}");
    }
}
