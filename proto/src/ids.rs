//! Names of nodes, sites, operators and claims.
//!
//! Each is an RFC 1123 label in lower case: 1 to 63 of `a-z`, `0-9` and `-`, neither first nor
//! last a `-`. A value of these types is valid ever after: names end up in host names,
//! certificates, file names and store keys, and none of those places checks again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest label that RFC 1123 allows, in bytes.
pub const MAX_LABEL: usize = 63;

/// Why a text is not a name. Nothing was changed; correct the name and try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} {fault}; use 1 to 63 lower-case letters, digits and inner hyphens")]
pub struct NameError {
    kind: &'static str,
    /// Cut to a printable length.
    text: String,
    fault: &'static str,
}

/// Longest piece of a refused name that an error quotes, in characters.
const MAX_QUOTED: usize = 80;

fn check_label(kind: &'static str, text: &str) -> Result<(), NameError> {
    let fault = if text.is_empty() {
        "is empty"
    } else if text.len() > MAX_LABEL {
        "is too long"
    } else if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        "contains a character that is not allowed"
    } else if text.starts_with('-') || text.ends_with('-') {
        "starts or ends with a hyphen"
    } else {
        return Ok(());
    };
    Err(NameError {
        kind,
        text: text.chars().take(MAX_QUOTED).collect(),
        fault,
    })
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check_label($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// One VM of the site.
    NodeId,
    "node name"
);
name_type!(
    /// The site: the trust domain of every identity in it.
    SiteName,
    "site name"
);
name_type!(
    /// A person (or a robot) who operates the site.
    OperatorName,
    "operator name"
);

/// The prefix of claims on virtual addresses.
const VIP: &str = "vip/";
/// The claim on leading the databases.
const DATABASE: &str = "db/primary";

/// Something that at most one node may do at a time: `vip/edge`, `db/primary`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimId(Arc<str>);

/// Why a text names no claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimIdError {
    /// It has another form.
    #[error("claim {0:?} is of no known kind; write `vip/NAME` or `db/primary`")]
    Kind(String),
    /// What follows the kind is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl ClaimId {
    /// The claim on the virtual address called `name`.
    ///
    /// # Errors
    /// When `name` is not a label.
    pub fn vip(name: &str) -> Result<Self, ClaimIdError> {
        check_label("virtual address", name)?;
        Ok(Self(format!("{VIP}{name}").into()))
    }

    /// The claim on leading the databases.
    pub fn database() -> Self {
        Self(DATABASE.into())
    }

    /// Whether it is on leading the databases.
    pub fn is_database(&self) -> bool {
        self.as_str() == DATABASE
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimId {
    type Err = ClaimIdError;

    fn from_str(text: &str) -> Result<Self, ClaimIdError> {
        if text == DATABASE {
            return Ok(Self::database());
        }
        let name = text.strip_prefix(VIP);
        Self::vip(name.ok_or_else(|| ClaimIdError::Kind(text.chars().take(MAX_QUOTED).collect()))?)
    }
}

impl TryFrom<String> for ClaimId {
    type Error = ClaimIdError;

    fn try_from(text: String) -> Result<Self, ClaimIdError> {
        text.parse()
    }
}

impl From<ClaimId> for String {
    fn from(id: ClaimId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_of_rfc_1123_are_names() {
        let longest = "a".repeat(MAX_LABEL);
        for text in ["a", "node-1", "1", "0-0", longest.as_str()] {
            assert_eq!(text.parse::<NodeId>().expect(text).as_str(), text);
        }
    }

    #[test]
    fn a_claim_is_named_by_its_kind_and_a_label() {
        let claim: ClaimId = "vip/edge".parse().expect("a claim");
        assert_eq!(claim, ClaimId::vip("edge").expect("a label"));
        let claim: ClaimId = "db/primary".parse().expect("a claim");
        assert!(claim.is_database());
        for text in [
            "",
            "edge",
            "vip/",
            "vip/Edge",
            "vip/a/b",
            "nas/primary/",
            "db/a",
        ] {
            assert!(text.parse::<ClaimId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let long = "a".repeat(MAX_LABEL + 1);
        for (text, reason) in [
            ("", "is empty"),
            (long.as_str(), "is too long"),
            ("Node-1", "not allowed"),
            ("node_1", "not allowed"),
            ("node.1", "not allowed"),
            ("knüt", "not allowed"),
            ("-node", "hyphen"),
            ("node-", "hyphen"),
        ] {
            let error = text.parse::<NodeId>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn json_with_a_bad_name_is_refused() {
        assert!(serde_json::from_str::<SiteName>("\"a/../b\"").is_err());
        let site: SiteName = serde_json::from_str("\"thirteen\"").expect("a name");
        assert_eq!(serde_json::to_string(&site).expect("json"), "\"thirteen\"");
    }

    proptest! {
        #[test]
        fn whatever_parses_comes_back_the_same_and_is_a_safe_file_name(text in ".{0,70}") {
            if let Ok(name) = text.parse::<OperatorName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!(!text.contains(['/', '.', '\0', ' ']));
                prop_assert!(text.len() <= MAX_LABEL);
            }
        }
    }
}
