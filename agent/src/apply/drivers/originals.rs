//! Files that were there before hamesh first replaced them: put back when the role goes.
//!
//! Guarantees: a copy is complete before the file is replaced; a file that hamesh wrote is never
//! taken for an original, for the copy is made only of what is not owned yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_roles::engine::Digest;
use serde::{Deserialize, Serialize};

use super::files::{Draft, remove};
use super::{directories, owners};
use crate::apply::trouble::Trouble;

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Originals(PathBuf);

#[derive(Serialize, Deserialize)]
struct Note {
    path: String,
    owner: String,
    group: String,
    mode: u32,
}

impl Originals {
    /// In this directory, which is made when it is needed.
    pub fn within(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Copies the file at `path`, if there is one, unless there is a copy of it.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was changed.
    pub fn keep(&self, path: &str) -> Result<(), Trouble> {
        let (note, copy) = self.places(path);
        let failed = |error: io::Error| Trouble::of(format!("keeping {path}"), &error);
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if note.exists() {
            return Ok(());
        }
        directories::make_above(&copy)?;
        let bytes = fs::read(path).map_err(failed)?;
        write_atomic(&copy, &bytes, SECRET).map_err(failed)?;
        let (owner, group) = owners::names(&metadata);
        let text = serde_json::to_vec(&Note {
            path: path.to_owned(),
            owner,
            group,
            mode: owners::mode(&metadata),
        });
        let text = text.map_err(io::Error::other).map_err(failed)?;
        write_atomic(&note, &text, SECRET).map_err(failed)
    }

    /// Puts the original in the place of what hamesh wrote, or takes that away if there was none.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn put_back(&self, path: &str) -> Result<(), Trouble> {
        let (note, copy) = self.places(path);
        let failed = |error: io::Error| Trouble::of(format!("putting {path} back"), &error);
        let text = match fs::read(&note) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return remove(Path::new(path));
            }
            Err(error) => return Err(failed(error)),
        };
        let was: Note = serde_json::from_slice(&text)
            .map_err(io::Error::other)
            .map_err(failed)?;
        let bytes = fs::read(&copy).map_err(failed)?;
        // Its owner may be gone by now.
        let (owner, group) = match owners::numbers(&was.owner, &was.group) {
            Ok(_) => (was.owner.as_str(), was.group.as_str()),
            Err(_) => ("root", "root"),
        };
        let draft = Draft::write(Path::new(path), owner, group, was.mode, bytes)?;
        draft.put_in_place(Path::new(path))?;
        remove(&note)?;
        remove(&copy)
    }

    fn places(&self, path: &str) -> (PathBuf, PathBuf) {
        let name = Digest::of(path);
        let note = self.0.join(format!("{name}.json"));
        (note, self.0.join(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_put_back_and_what_was_not_goes() {
        let root = tempfile::tempdir().expect("a folder");
        let originals = Originals::within(root.path().join("originals"));
        let (old, new) = (root.path().join("old"), root.path().join("new"));
        fs::write(&old, "before").expect("written");
        for path in [&old, &new] {
            let text = path.display().to_string();
            originals.keep(&text).expect("kept");
            fs::write(path, "by hamesh").expect("written");
        }
        originals
            .keep(&old.display().to_string())
            .expect("kept already");
        for path in [&old, &new] {
            let text = path.display().to_string();
            originals.put_back(&text).expect("put back");
        }
        assert_eq!(fs::read_to_string(&old).expect("read"), "before");
        assert!(!new.exists());
        let left = fs::read_dir(root.path().join("originals"));
        assert_eq!(left.expect("listed").count(), 0);
    }
}
