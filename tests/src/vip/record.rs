//! The record of each run: one line of JSON in a file, written as soon as the run is over.
//!
//! Guarantees that a bench that was killed lost the run under way and nothing else: a last line cut
//! short is left out when the file is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::figures::Figures;
use super::rival::Rival;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who.
    pub rival: Rival,
    /// Under which fault.
    pub case: Case,
    /// Its number among the runs of this rival and case, from 1.
    pub run: u32,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// How busy the machine was when it began.
    pub machine: Machine,
    /// What came of it.
    pub outcome: Outcome,
}

/// How busy the machine was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors it has.
    pub processors: usize,
    /// Load average of the last minute.
    pub load: f64,
    /// Percent of the last ten seconds in which something waited for a processor (PSI `some`);
    /// nothing where the kernel does not tell.
    pub pressure: Option<f64>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was measured.
    Run(Figures),
    /// It was measured, and says nothing: the machine stood still meanwhile. Another one is made.
    SetAside(Figures),
    /// Nothing was done, and the daemon weighed.
    Idle(Idle),
    /// It could not be measured: why.
    Failed(String),
}

/// What the daemon costs while nothing happens, on each proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// On the proxy that holds both addresses.
    pub holder: Weight,
    /// On the other.
    pub standby: Weight,
    /// Addresses that the holder had.
    pub addresses: u32,
}

/// All processes of a daemon together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// How many processes.
    pub processes: u32,
    /// Percent of one processor.
    pub cpu_percent: f64,
    /// Memory with its share of what others use too.
    pub pss_mib: f64,
    /// Memory that only it uses.
    pub uss_mib: f64,
}

impl Machine {
    /// As it is now.
    ///
    /// # Errors
    /// The kernel does not tell the load.
    pub fn now() -> Result<Self> {
        let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default();
        let pressure = fs::read_to_string("/proc/pressure/cpu").ok();
        Ok(Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.parse().context("reading the load average")?,
            pressure: pressure.as_deref().and_then(some_avg10),
        })
    }
}

fn some_avg10(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find_map(|l| l.strip_prefix("some "))?;
    let word = line.split(' ').find_map(|w| w.strip_prefix("avg10="))?;
    word.parse().ok()
}

/// The file of all records.
#[derive(Clone, Debug)]
pub struct Records {
    path: PathBuf,
}

impl Records {
    /// The records at this path; there need be none yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// All of them, in the order in which they were written.
    ///
    /// # Errors
    /// The file cannot be read, or holds a line that is no record.
    pub fn read(&self) -> Result<Vec<Record>> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.path).with_context(|| self.named("reading"))?;
        parse(&text).with_context(|| self.named("reading"))
    }

    /// Adds one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, record: &Record) -> Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).with_context(|| self.named("making the folder of"))?;
        }
        let line = serde_json::to_string(record).context("writing a record")?;
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .with_context(|| self.named("opening"))?;
        writeln!(file, "{line}").with_context(|| self.named("writing"))
    }

    /// Puts the records there are aside (under `.before`), and begins anew.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub fn begin_anew(&self) -> Result<()> {
        if self.path.exists() {
            let before = self.path.with_extension("jsonl.before");
            fs::rename(&self.path, before).with_context(|| self.named("putting aside"))?;
        }
        Ok(())
    }

    /// Leaves out a line that was cut short, so that the next one stands by itself.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn mend(&self) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.path).with_context(|| self.named("reading"))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            fs::write(&self.path, &text[..whole]).with_context(|| self.named("mending"))?;
        }
        Ok(())
    }

    fn named(&self, action: &str) -> String {
        format!("{action} {}", self.path.display())
    }
}

/// How many runs of each rival and case were measured.
pub fn done(records: &[Record]) -> BTreeMap<(Rival, Case), u32> {
    let mut done = BTreeMap::new();
    for record in records {
        match record.outcome {
            Outcome::Run(_) | Outcome::Idle(_) => {
                *done.entry((record.rival, record.case)).or_default() += 1;
            }
            Outcome::SetAside(_) | Outcome::Failed(_) => {}
        }
    }
    done
}

fn parse(text: &str) -> Result<Vec<Record>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate();
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).with_context(|| format!("line {} is no record", at + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run: u32, outcome: Outcome) -> Record {
        Record {
            rival: Rival::HAMESH,
            case: Case::Cut,
            run,
            began: 1,
            machine: Machine::default(),
            outcome,
        }
    }

    #[test]
    fn records_are_read_back_and_a_last_line_cut_short_is_left_out() {
        let first = record(1, Outcome::Run(Figures::default()));
        let second = record(2, Outcome::Failed("no holder".into()));
        let lines = [&first, &second].map(|r| serde_json::to_string(r).expect("JSON"));
        let text = format!("{}\n{}\n{}", lines[0], lines[1], &lines[0][..20]);
        assert_eq!(parse(&text).expect("records"), [first, second]);
        let error = parse("{}\n").expect_err("no record").to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn only_what_was_measured_counts_as_done() {
        let all = [
            record(1, Outcome::Run(Figures::default())),
            record(2, Outcome::Failed("x".into())),
            record(3, Outcome::Idle(Idle::default())),
        ];
        assert_eq!(done(&all)[&(Rival::HAMESH, Case::Cut)], 2);
    }

    #[test]
    fn the_pressure_is_that_of_the_last_ten_seconds() {
        let text = "some avg10=90.06 avg60=56.14 avg300=33.47 total=1\nfull avg10=0.00 avg60=0 x\n";
        assert_eq!(some_avg10(text), Some(90.06));
        assert_eq!(some_avg10(""), None);
    }
}
