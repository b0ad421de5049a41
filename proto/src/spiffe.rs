//! Who a certificate speaks for: `spiffe://SITE/agent/NODE` and its siblings.
//!
//! The form is that of the [SPIFFE ID specification](https://github.com/spiffe/spiffe): the trust
//! domain is the site, the path is the kind and the name. Exactly one spelling exists for each
//! identity, so that two of them are equal when their texts are.

use std::fmt;
use std::str::FromStr;

use crate::ids::{NameError, NodeId, OperatorName, SiteName};

/// One identity of one site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// The trust domain.
    pub site: SiteName,
    /// Who, within the site.
    pub principal: Principal,
}

/// Who, within a site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The agent of a node.
    Agent(NodeId),
    /// The coordinator on a node.
    Coordinator(NodeId),
    /// A person at `coordctl`, or a scraper.
    Operator(OperatorName),
}

/// Why a text is not an identity. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://SITE/KIND/NAME`.
    #[error("not of the form spiffe://SITE/agent|coordinator|operator/NAME")]
    Form,
    /// SITE or NAME is not a label.
    #[error("a part of the identity is not a valid name")]
    Name(#[from] NameError),
}

impl SpiffeId {
    /// The identity of `principal` in `site`.
    pub fn new(site: SiteName, principal: Principal) -> Self {
        Self { site, principal }
    }
}

impl Principal {
    /// The path of the identity without a leading slash: `agent/node-1`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    /// `agent`, `coordinator` or `operator`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Coordinator(_) => "coordinator",
            Self::Operator(_) => "operator",
        }
    }

    /// The node's or the operator's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Agent(node) | Self::Coordinator(node) => node.as_str(),
            Self::Operator(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.path())
    }
}

impl FromStr for Principal {
    type Err = SpiffeError;

    fn from_str(path: &str) -> Result<Self, SpiffeError> {
        let (kind, name) = path.split_once('/').ok_or(SpiffeError::Form)?;
        match kind {
            "agent" => Ok(Self::Agent(name.parse()?)),
            "coordinator" => Ok(Self::Coordinator(name.parse()?)),
            "operator" => Ok(Self::Operator(name.parse()?)),
            _ => Err(SpiffeError::Form),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.site, self.principal)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Form)?;
        let (site, path) = rest.split_once('/').ok_or(SpiffeError::Form)?;
        Ok(Self {
            site: site.parse()?,
            principal: path.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_comes_back_as_it_went() {
        for text in [
            "spiffe://thirteen/agent/node-1",
            "spiffe://thirteen/coordinator/control-1",
            "spiffe://two-dc/operator/ada",
        ] {
            let id: SpiffeId = text.parse().expect(text);
            assert_eq!(id.to_string(), text);
            assert_eq!(
                id.principal.path().parse::<Principal>().expect(text),
                id.principal
            );
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "spiffe://thirteen/agent/node-1/",
            "spiffe://thirteen/agent/node-1?x",
            "spiffe://thirteen/agent//node-1",
            "SPIFFE://thirteen/agent/node-1",
            "spiffe://Thirteen/agent/node-1",
            "spiffe://thirteen/root/node-1",
            "spiffe://thirteen/agent",
            "spiffe:///agent/node-1",
            "spiffe://thirteen:443/agent/node-1",
            "https://thirteen/agent/node-1",
            "",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_has_one_spelling(text in "(spiffe://)?[ -~]{0,80}|.{0,80}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
