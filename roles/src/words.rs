//! Texts of a document that are written into other programs' files.
//!
//! Each kind is so narrow that no text of it can end a line, a word or a quotation there. What a
//! program would read otherwise than a person is refused here, where the document says it, and not
//! mended later.

use std::fmt;
use std::str::FromStr;

/// The longest name of a host: RFC 1035, section 2.3.4, without the root's dot.
const LONGEST_HOST: usize = 253;
/// The longest label of one.
const LONGEST_LABEL: usize = 63;
/// The longest value of a header: one line of a configuration that people can still read.
const LONGEST_VALUE: usize = 1000;
/// The longest name that PostgreSQL keeps whole.
const LONGEST_SQL_NAME: usize = 63;
/// The longest of all others.
const LONGEST_WORD: usize = 200;

/// A text is not of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {rule}")]
pub struct BadWord {
    /// What was read, its control characters made visible.
    pub text: String,
    /// What it was to be: "a path".
    pub kind: &'static str,
    /// What such a text is made of.
    pub rule: &'static str,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = BadWord;

            fn from_str(text: &str) -> Result<Self, BadWord> {
                if $valid(text) {
                    return Ok(Self(text.to_owned()));
                }
                let text = text.escape_debug().to_string();
                Err(BadWord { text, kind: $kind, rule: $rule })
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

word! {
    /// The name of a host, in lower case: `www.example.org`.
    DnsName, "a host's name", "write labels of a to z, 0 to 9 and inner hyphens, and dots between",
    is_host
}

word! {
    /// The name of an HTTP header: `X-Frame-Options`. Narrower than RFC 9110's token.
    HeaderName, "a header's name", "write letters, digits and hyphens", is_header
}

word! {
    /// The value of an HTTP header: visible ASCII, single spaces between (HAProxy makes one of
    /// several).
    HeaderValue, "a header's value",
    "write visible ASCII characters, with single spaces, 1000 at most", is_value
}

word! {
    /// A path, and a query if there is one: `/healthz?full=1`.
    HttpPath, "a path", "write `/`, then letters, digits and any of -._~/?=&%:@+,;!*", is_path
}

word! {
    /// The name of a Debian package (Debian Policy, section 5.6.1).
    PackageName, "a package's name", "write a to z, 0 to 9, plus, minus and dots", is_package
}

word! {
    /// The version of a Debian package (Debian Policy, section 5.6.12).
    PackageVersion, "a package's version",
    "write what `apt-cache policy` shows: 2.6.12-1+deb12u4", is_version
}

word! {
    /// The name of a database or a user of PostgreSQL that needs no quotes.
    SqlName, "a name in PostgreSQL",
    "write a to z, 0 to 9 and underscores, 63 at most, no digit first", is_sql_name
}

impl HeaderName {
    /// The names that a server may send in any case are the same.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= LONGEST_HOST && text.split('.').all(label)
}

fn is_header(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let first = |b: u8| b.is_ascii_alphabetic();
    made_of(text, first, allowed)
}

fn is_value(text: &str) -> bool {
    (1..=LONGEST_VALUE).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        && !text.split(' ').any(str::is_empty)
}

fn is_path(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?=&%:@+,;!*".contains(&b);
    made_of(text, |b| b == b'/', allowed)
}

fn is_package(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    made_of(text, first, |b| first(b) || b"+-.".contains(&b))
}

fn is_version(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".+~:-".contains(&b);
    made_of(text, |b| b.is_ascii_digit(), allowed)
}

fn is_sql_name(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let allowed = |b: u8| first(b) || b.is_ascii_digit();
    text.len() <= LONGEST_SQL_NAME && made_of(text, first, allowed)
}

fn made_of(text: &str, first: impl Fn(u8) -> bool, others: impl Fn(u8) -> bool) -> bool {
    text.len() <= LONGEST_WORD && text.bytes().next().is_some_and(first) && text.bytes().all(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<W: FromStr<Err = BadWord>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<W>().is_ok(), "{text:?}");
        }
        for text in bad {
            assert!(text.parse::<W>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn each_kind_of_word_is_as_narrow_as_it_says() {
        all::<DnsName>(
            &[
                "www.example.org",
                "a",
                "1.2",
                &"a.".repeat(126).as_str()[..251],
            ],
            &[
                "",
                ".",
                "a.",
                "-a.b",
                "WWW.example.org",
                "a b",
                "*.b",
                &"a".repeat(64),
                "a\nb",
            ],
        );
        all::<HeaderName>(
            &["X-Frame-Options", "P3P"],
            &["", "X Y", "X:Y", "X\nY", "-X", "X'", "X_Y", "é"],
        );
        all::<HeaderValue>(
            &[
                "DENY",
                "default-src 'self'; img-src \"x\" %[src] \\ $HOME #",
            ],
            &[
                "",
                " a",
                "a ",
                "a  b",
                "a\nb",
                "a\rb",
                "a\0b",
                "a\tb",
                "é",
                &"a".repeat(1001),
            ],
        );
        all::<HttpPath>(
            &["/", "/healthz", "/a%20b?x=1&y=2"],
            &[
                "", "healthz", "/a b", "/a\n", "/a'", "/a\"", "/a$B", "/a#b", "/a\\b", "/a(b)",
            ],
        );
        all::<PackageName>(
            &["haproxy", "g++", "libc6.1"],
            &["", "-y", "A", "a b", "a=1", "a/b"],
        );
        all::<SqlName>(
            &["nextcloud", "_a1"],
            &["", "1a", "A", "a-b", "a b", "a\"", "a'", &"a".repeat(64)],
        );
        all::<PackageVersion>(
            &["2.6.12-1+deb12u4", "1:2~rc1"],
            &["", "latest", "1 2", "1;2", "-1", "1*"],
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_visible_characters() {
        let error = "a\nb".parse::<HttpPath>().expect_err("two lines");
        assert!(
            error
                .to_string()
                .starts_with("`a\\nb` is not a path: write `/`"),
            "{error}"
        );
    }
}
