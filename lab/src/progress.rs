//! Shows what `up` is doing: bars on a terminal, plain lines otherwise.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

/// One step of the work, from its start to its end.
#[derive(Debug)]
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Step {
    /// Begins a step; `count` if it is made of so many parts.
    pub fn begin(title: &str, count: Option<usize>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(title, count));
        if bar.is_none() {
            eprintln!("{title} ...");
        }
        Self {
            title: title.to_owned(),
            bar,
            started: Instant::now(),
        }
    }

    /// One part is done.
    pub fn advance(&self, part: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(part.to_owned());
            bar.inc(1);
        }
    }

    /// The step is done.
    pub fn finish(self, outcome: &str) {
        let seconds = self.started.elapsed().as_secs_f32();
        let line = format!("{}: {outcome} ({seconds:.1} s)", self.title);
        match &self.bar {
            Some(bar) => {
                bar.finish_and_clear();
                eprintln!("✓ {line}");
            }
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(title: &str, count: Option<usize>) -> ProgressBar {
    let (bar, template) = match count {
        Some(count) => (
            ProgressBar::new(count as u64),
            "{spinner} {prefix} [{bar:30}] {pos}/{len} {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {prefix} {elapsed} {msg}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}
