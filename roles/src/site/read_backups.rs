//! Reading of what the document says about backups.

use std::path::PathBuf;

use super::Backups;
use super::report::Report;
use crate::yaml::Value;

impl Report {
    /// `None`: a part is missing or wrong, and was reported.
    pub(super) fn backups(&mut self, value: &Value) -> Option<Backups> {
        let path = "backups";
        let fields = self.fields(path, value, &["every", "keep", "directory"])?;
        self.require(path, &fields, &["every"]);
        let keep = match fields.get("keep") {
            Some(value) => self.count("backups.keep", value, &Backups::KEEP),
            None => Some(Backups::DEFAULT_KEEP),
        };
        let directory = match fields.get("directory") {
            Some(value) => self.directory("backups.directory", value),
            None => Some(PathBuf::from(Backups::DEFAULT_DIRECTORY)),
        };
        let every = self.duration("backups.every", fields.get("every")?, &Backups::EVERY);
        Some(Backups {
            every: every?,
            keep: keep?,
            directory: directory?,
        })
    }

    fn directory(&mut self, path: &str, value: &Value) -> Option<PathBuf> {
        let text = self.text(path, value)?;
        let directory = PathBuf::from(text);
        let plain = !text.chars().any(char::is_control) && !text.split('/').any(|it| it == "..");
        if directory.is_absolute() && plain {
            return Some(directory);
        }
        let hint = "write the whole path, from `/` on and without `..`".to_owned();
        self.error(path, format!("`{text}` is not a whole path"), Some(hint));
        None
    }
}
