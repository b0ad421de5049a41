//! Reading of values that have bounds: spans of time, counts, yes or no.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::held_by::NotHeldBy;
use super::report::Report;
use super::{HeldBy, Mode};
use crate::duration;
use crate::yaml::Value;

impl Report {
    /// A span of time within `bounds`.
    pub(super) fn duration(
        &mut self,
        path: &str,
        value: &Value,
        bounds: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(path, value)?;
        let (least, most) = (
            duration::show(*bounds.start()),
            duration::show(*bounds.end()),
        );
        match duration::parse(text) {
            Some(span) if bounds.contains(&span) => Some(span),
            Some(_) => {
                let message = format!("`{text}` is out of bounds");
                self.error(path, message, Some(format!("write {least} to {most}")));
                None
            }
            None => {
                let hint = format!("write {least} to {most}, in ms, s, m or h");
                let message = format!("`{text}` is not a span of time");
                self.error(path, message, Some(hint));
                None
            }
        }
    }

    /// A whole number within `bounds`.
    pub(super) fn count(
        &mut self,
        path: &str,
        value: &Value,
        bounds: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let text = self.text(path, value)?;
        let count = text.parse().ok().filter(|count| bounds.contains(count));
        if count.is_none() {
            let hint = format!(
                "write a whole number, {} to {}",
                bounds.start(),
                bounds.end()
            );
            let message = format!("`{text}` is not a count");
            self.error(path, message, Some(hint));
        }
        count
    }

    /// Whether a node is changed.
    pub(super) fn mode(&mut self, path: &str, value: &Value) -> Option<Mode> {
        let text = self.text(path, value)?;
        let mode = Mode::ALL.into_iter().find(|mode| mode.name() == text);
        if mode.is_none() {
            self.unknown(path, "mode", text, Mode::ALL.map(Mode::name));
        }
        mode
    }

    /// Who holds a virtual address.
    pub(super) fn held_by(&mut self, path: &str, value: &Value) -> Option<HeldBy> {
        let text = self.text(path, value)?;
        match text.parse() {
            Ok(held_by) => Some(held_by),
            Err(form @ NotHeldBy) => {
                let message = format!("`{text}` is nobody who holds an address");
                self.error(path, message, Some(form.to_string()));
                None
            }
        }
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, path: &str, value: &Value) -> Option<bool> {
        let text = self.text(path, value)?;
        let flag = text.parse().ok();
        if flag.is_none() {
            let hint = Some("write `true` or `false`".into());
            self.error(path, format!("`{text}` is neither yes nor no"), hint);
        }
        flag
    }
}
