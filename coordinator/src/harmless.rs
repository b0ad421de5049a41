//! What others say, before it is kept or shown.

/// At most so many characters of it, harmless on a terminal: it may be long, and hold anything.
pub fn clipped(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(most).map(shown).collect()
}
