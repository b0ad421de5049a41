//! While something is done, a client asks again and again who has an address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::vip::arp::{EVERY, Question};
use crate::vip::listener;

/// Questions in a row that may go unanswered where the address is to answer throughout: a second's.
const MOST_UNANSWERED: usize = 100;

/// Does something while a network's second client asks for an address. However that ends, never
/// may two have answered, and somebody must have.
///
/// # Errors
/// What was done failed, or two answered, or nobody.
pub(super) fn asked<T>(
    network: &str,
    address: Ipv4Addr,
    act: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Question>)> {
    while_asking(Asking::start(network, None, address), act)
}

/// The same where the address is on a VLAN of the network: it is asked for with that tag.
pub(super) fn asked_on_vlan<T>(
    network: &str,
    vlan: u16,
    address: Ipv4Addr,
    act: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<Question>)> {
    while_asking(Asking::start(network, Some(vlan), address), act)
}

fn while_asking<T>(asking: Asking, act: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Question>)> {
    let outcome = act();
    let questions = asking.end()?;
    let outcome = outcome?;
    at_most_one(&questions)?;
    Ok((outcome, questions))
}

/// A network's second client asks who has an address, until it is told to end.
pub(super) struct Asking {
    /// Questions count from here.
    pub(super) origin: Instant,
    stop: Arc<AtomicBool>,
    asker: JoinHandle<Result<Vec<Question>>>,
}

impl Asking {
    pub(super) fn start(network: &str, vlan: Option<u16>, address: Ipv4Addr) -> Self {
        let client = format!("/run/netns/hamesh-lab-client2-{network}");
        let (origin, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::clone(&stop);
        let asker = std::thread::spawn(move || {
            listener::ask(Path::new(&client), vlan, address, origin, &shared)
        });
        Self {
            origin,
            stop,
            asker,
        }
    }

    /// What was asked and answered.
    pub(super) fn end(self) -> Result<Vec<Question>> {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.asker.join();
        asked.unwrap_or_else(|_| bail!("the asking thread broke off"))
    }
}

/// No question was answered by two, and one at least by somebody.
pub(super) fn at_most_one(questions: &[Question]) -> Result<()> {
    for Question { at, answers } in questions {
        ensure!(answers.len() < 2, "at {at:?} {answers:02x?} answered");
    }
    let answered = questions.iter().any(|it| !it.answers.is_empty());
    ensure!(answered, "nobody ever answered");
    Ok(())
}

/// One machine answered, the same one all the time.
pub(super) fn by_one_throughout(questions: &[Question]) -> Result<()> {
    let who: BTreeSet<_> = questions.iter().flat_map(|it| &it.answers).collect();
    ensure!(who.len() == 1, "{who:02x?} answered");
    let silences = questions.split(|it| !it.answers.is_empty());
    let longest = silences.map(<[Question]>::len).max().unwrap_or_default();
    ensure!(
        longest < MOST_UNANSWERED,
        "{longest} questions in a row went unanswered"
    );
    Ok(())
}

/// For how long nobody answered, at the longest.
pub(super) fn longest_silence(questions: &[Question]) -> Duration {
    let silences = questions.split(|it| !it.answers.is_empty());
    let longest = silences.map(<[Question]>::len).max().unwrap_or_default();
    EVERY * u32::try_from(longest).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(marks: &str) -> Vec<Question> {
        let answers = |mark: char| match mark {
            'a' => [[1; 6]].into(),
            'b' => [[2; 6]].into(),
            '2' => [[1; 6], [2; 6]].into(),
            _ => BTreeSet::new(),
        };
        let question = |mark| Question {
            answers: answers(mark),
            ..Question::default()
        };
        marks.chars().map(question).collect()
    }

    #[test]
    fn two_answers_to_one_question_are_told_and_so_is_silence() {
        at_most_one(&questions("a.b")).expect("one at a time");
        at_most_one(&questions("a2")).expect_err("two");
        at_most_one(&questions("..")).expect_err("nobody");
    }

    #[test]
    fn another_machine_and_a_long_silence_are_told() {
        by_one_throughout(&questions("a..aa")).expect("the same one");
        by_one_throughout(&questions("a..b")).expect_err("another");
        let silent = format!("a{}a", ".".repeat(MOST_UNANSWERED));
        by_one_throughout(&questions(&silent)).expect_err("silent");
    }
}
