//! Who answered ARP for the address, asked again and again by one who tells nothing of itself.
//!
//! Pure. Each question is asked under a hardware address of its own, which the answer repeats, so
//! that a late answer is never taken for one to a later question.

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_kernel::device::Mac;
use hamesh_kernel::frames::{Heard, How};

/// Time between two questions.
pub const EVERY: Duration = Duration::from_millis(10);
/// After so many questions a hardware address is used again; answers come within a fraction.
const ASKERS: usize = 128;

/// One question and who answered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// When it was asked, from the start of the run.
    pub at: Duration,
    /// Hardware addresses of those who answered.
    pub answers: BTreeSet<[u8; 6]>,
}

/// The hardware address under which the question of this number is asked.
pub fn asker(number: usize) -> Mac {
    let low = u8::try_from(number % ASKERS).unwrap_or_default();
    Mac([0x02, 0x61, 0x73, 0x6b, 0, low])
}

/// A frame with the tag of IEEE 802.1Q for a VLAN, or as it is. The kernel asked from need not know
/// VLANs: it takes the tag off an answer by itself.
pub fn tagged(frame: &[u8], vlan: Option<u16>) -> Vec<u8> {
    /// Both hardware addresses come before it.
    const PLACE: usize = 12;
    let (addresses, rest) = frame.split_at(PLACE.min(frame.len()));
    let [high, low] = vlan.unwrap_or_default().to_be_bytes();
    let tag: &[u8] = match vlan {
        Some(_) => &[0x81, 0x00, high, low],
        None => &[],
    };
    [addresses, tag, rest].concat()
}

/// Puts down an answer with the question that it belongs to; anything else that was heard is left.
pub fn note(questions: &mut [Question], heard: &Heard) {
    let How::Answered { to } = heard.how else {
        return;
    };
    let numbers = (0..questions.len()).rev().take(ASKERS);
    if let Some(number) = numbers.into_iter().find(|number| asker(*number) == to) {
        questions[number].answers.insert(heard.mac.0);
    }
}

/// How long, after a moment, two answered.
pub fn both(questions: &[Question], after: Duration) -> Duration {
    let asked = questions.iter().filter(|question| question.at >= after);
    let twice = asked.filter(|question| question.answers.len() > 1).count();
    EVERY * u32::try_from(twice).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(mac: u8, how: How) -> Heard {
        Heard {
            ip: [10, 0, 0, 1].into(),
            mac: Mac([mac; 6]),
            how,
        }
    }

    fn asked(count: u64) -> Vec<Question> {
        let question = |n| Question {
            at: Duration::from_millis(10 * n),
            ..Question::default()
        };
        (0..count).map(question).collect()
    }

    #[test]
    fn two_answers_to_one_question_are_two_holders_and_to_two_questions_are_not() {
        let mut questions = asked(3);
        note(&mut questions, &heard(1, How::Answered { to: asker(0) }));
        note(&mut questions, &heard(2, How::Answered { to: asker(1) }));
        assert_eq!(both(&questions, Duration::ZERO), Duration::ZERO);
        note(&mut questions, &heard(1, How::Answered { to: asker(1) }));
        assert_eq!(both(&questions, Duration::ZERO), EVERY);
        assert_eq!(both(&questions, Duration::from_millis(11)), Duration::ZERO);
    }

    #[test]
    fn the_same_answer_twice_is_one_holder() {
        let mut questions = asked(1);
        note(&mut questions, &heard(1, How::Answered { to: asker(0) }));
        note(&mut questions, &heard(1, How::Answered { to: asker(0) }));
        assert_eq!(both(&questions, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_tag_comes_after_both_addresses_and_none_changes_nothing() {
        let frame: Vec<u8> = (0..20).collect();
        let tagged = tagged(&frame, Some(7));
        assert_eq!(tagged[..12], frame[..12]);
        assert_eq!(tagged[12..16], [0x81, 0, 0, 7]);
        assert_eq!(tagged[16..], frame[12..]);
        assert_eq!(super::tagged(&frame, None), frame);
    }

    #[test]
    fn an_announcement_answers_no_question() {
        let mut questions = asked(1);
        note(&mut questions, &heard(1, How::Announced));
        assert!(questions[0].answers.is_empty());
    }

    #[test]
    fn an_answer_belongs_to_the_latest_question_asked_under_its_address() {
        let mut questions = asked(300);
        note(&mut questions, &heard(1, How::Answered { to: asker(299) }));
        assert_eq!(questions[299].answers.len(), 1);
        assert!(questions[299 - ASKERS].answers.is_empty());
    }
}
