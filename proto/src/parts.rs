//! What grows with the site, in parts that do not.
//!
//! Guarantees: what is cut comes together as it was, and whoever puts it together keeps no more
//! than [`MOST_BYTES`] of what a stranger to these rules sends.
//!
//! The idea: a stream keeps room for the largest message that it ever carried, for as long as it
//! lives. A coordinator has a stream with each agent, and tells each of all the others: whole, a
//! thousand assignments of a thousand members would keep a hundred megabytes of nothing.

use std::marker::PhantomData;

use prost::Message;

use crate::v1;

/// The length of one part: many of them wait together for an agent that is slow to read.
pub const PART_BYTES: usize = 2 * 1024;
/// The longest whole, the same as the longest message.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Why parts do not come together.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// Longer than [`MOST_BYTES`].
    #[error("what comes in parts is longer than {MOST_BYTES} bytes")]
    Long,
    /// Not what was cut.
    #[error("the parts are not what was cut: {0}")]
    Form(#[from] prost::DecodeError),
}

/// An assignment in parts, to be sent one after the other with no other assignment between them.
pub fn cut(assignment: &v1::Assignment) -> impl Iterator<Item = v1::AssignmentPart> + use<> {
    pieces(assignment).map(|(content, last)| v1::AssignmentPart { content, last })
}

/// A role's order in parts, likewise.
pub fn cut_role(order: &v1::SignedRole) -> impl Iterator<Item = v1::RolePart> + use<> {
    pieces(order).map(|(content, last)| v1::RolePart { content, last })
}

fn pieces<T: Message>(whole: &T) -> impl Iterator<Item = (Vec<u8>, bool)> + use<T> {
    let whole = whole.encode_to_vec();
    let count = whole.len().div_ceil(PART_BYTES).max(1);
    (0..count).map(move |n| {
        let end = whole.len().min((n + 1) * PART_BYTES);
        (whole[n * PART_BYTES..end].to_vec(), n + 1 == count)
    })
}

/// The parts that came so far.
#[derive(Debug)]
pub struct Assembly<T> {
    bytes: Vec<u8>,
    whole: PhantomData<fn() -> T>,
}

impl<T> Default for Assembly<T> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            whole: PhantomData,
        }
    }
}

impl<T: Message + Default> Assembly<T> {
    /// Takes the content of the next part, and whether it is the last; gives the whole with that.
    ///
    /// # Errors
    /// [`PartsError`]: the stream is of no use any more.
    pub fn take(&mut self, content: &[u8], last: bool) -> Result<Option<T>, PartsError> {
        if self.bytes.len().saturating_add(content.len()) > MOST_BYTES {
            return Err(PartsError::Long);
        }
        self.bytes.extend_from_slice(content);
        if !last {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.bytes);
        Ok(Some(T::decode(whole.as_slice())?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assignment(members: usize) -> v1::Assignment {
        let member = |n| v1::Member {
            node: format!("node-{n}"),
            role: "internal-proxy".to_owned(),
            gossip: format!("192.168.56.{n}:7946"),
            leases: format!("192.168.56.{n}:7443"),
        };
        v1::Assignment {
            site: "thirteen".to_owned(),
            members: (0..members).map(member).collect(),
            ..v1::Assignment::default()
        }
    }

    proptest! {
        #[test]
        fn invariant_what_is_cut_comes_together_as_it_was_again_and_again(
            sizes in proptest::collection::vec(0_usize..300, 1..4)
        ) {
            let mut assembly = Assembly::<v1::Assignment>::default();
            for size in sizes {
                let whole = assignment(size);
                let mut found = Vec::new();
                for part in cut(&whole) {
                    prop_assert!(part.content.len() <= PART_BYTES);
                    let taken = assembly.take(&part.content, part.last);
                    found.extend(taken.expect("a part of an assignment"));
                }
                prop_assert_eq!(found, [whole]);
            }
        }
    }

    #[test]
    fn an_empty_assignment_is_one_part() {
        let parts: Vec<_> = cut(&v1::Assignment::default()).collect();
        assert!(parts.len() == 1 && parts[0].last);
    }

    #[test]
    fn more_than_any_assignment_is_refused() {
        let mut assembly = Assembly::<v1::Assignment>::default();
        let part = v1::AssignmentPart {
            content: vec![0; MOST_BYTES],
            last: false,
        };
        assert!(matches!(assembly.take(&part.content, part.last), Ok(None)));
        assert!(matches!(
            assembly.take(&part.content, part.last),
            Err(PartsError::Long)
        ));
    }

    #[test]
    fn parts_of_something_else_are_refused() {
        let mut assembly = Assembly::<v1::Assignment>::default();
        let part = v1::AssignmentPart {
            content: vec![0xff; 10],
            last: true,
        };
        assert!(matches!(
            assembly.take(&part.content, part.last),
            Err(PartsError::Form(_))
        ));
    }
}
