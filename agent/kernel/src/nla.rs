//! Netlink attributes: a length, a kind, a value, padded to four bytes.
//!
//! Guarantees that reading never goes past the end: an attribute that claims more than there is
//! ends the list.

const HEADER: usize = 4;
const NESTED: u16 = 0x8000;
/// The two highest bits say how the value is to be read, not what it is.
const KIND: u16 = 0x3fff;

pub(crate) fn bytes(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    write(out, kind, |out| out.extend_from_slice(value));
}

pub(crate) fn string(out: &mut Vec<u8>, kind: u16, value: &str) {
    write(out, kind, |out| {
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    });
}

pub(crate) fn nested(out: &mut Vec<u8>, kind: u16, inner: impl FnOnce(&mut Vec<u8>)) {
    write(out, kind | NESTED, inner);
}

fn write(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 2]);
    out.extend(kind.to_ne_bytes());
    value(out);
    let length = u16::try_from(out.len() - start).expect("our attributes are short");
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

/// All attributes of a list: kind and value.
pub(crate) fn all(mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head: [u8; HEADER] = list.get(..HEADER)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = list.get(HEADER..length)?;
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(crate) fn find(list: &[u8], wanted: u16) -> Option<&[u8]> {
    all(list).find(|(kind, _)| *kind == wanted).map(|(_, v)| v)
}

/// A text without its closing zero.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()
}
