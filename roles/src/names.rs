//! Names that only a site's document gives: of its networks and of its virtual addresses.
//!
//! Both follow the rule of node names (an RFC 1123 label), so that they can stand in interface
//! aliases, metrics labels and claim names without quoting.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, from RFC 1123.
const LONGEST: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It is empty.
    #[error("a name is empty")]
    Empty,
    /// It has more than 63 characters.
    #[error("a name has at most {LONGEST} characters")]
    TooLong,
    /// It holds something else than the allowed characters, or starts or ends with a hyphen.
    #[error("`{0}` is not a name: use a to z, 0 to 9 and inner hyphens")]
    Characters(String),
}

fn check(text: &str) -> Result<(), BadName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() {
        Err(BadName::Empty)
    } else if text.len() > LONGEST {
        Err(BadName::TooLong)
    } else if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        Err(BadName::Characters(text.to_owned()))
    } else {
        Ok(())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
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

name! {
    /// The name of a network of the site: "trust".
    NetworkName
}

name! {
    /// The name of a virtual address: "edge", whose claim is "vip/edge".
    VipName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_rfc_1123_label() {
        for good in ["a", "trust", "dc1-trust", "0"] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<VipName>().is_err(), "{bad}");
        }
    }
}
