//! Lower-case hexadecimal for fingerprints, serial numbers and ids.
//!
//! One spelling only: upper case is refused, so that equal values have equal texts.

/// `bytes` as lower-case hexadecimal.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The `N` bytes that `text` spells, if it is exactly `2 N` lower-case digits.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn upper_case_and_wrong_lengths_are_refused() {
        assert_eq!(decode::<2>("0aff"), Some([0x0a, 0xff]));
        for text in ["0AFF", "0af", "0aff0", "0afg", "", "é0f"] {
            assert_eq!(decode::<2>(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_went(bytes: [u8; 32]) {
            prop_assert_eq!(decode::<32>(&encode(&bytes)), Some(bytes));
        }
    }
}
