//! What is compared: hamesh, and keepalived at several paces.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One thing that moves an address, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rival {
    /// hamesh.
    Hamesh {
        /// The lease; hamesh's own default where not given.
        ttl: Option<Duration>,
    },
    /// Debian's keepalived.
    Keepalived {
        /// Time between two VRRP advertisements.
        advert: Duration,
        /// How it watches HAProxy.
        tracking: Tracking,
    },
}

/// How keepalived watches HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tracking {
    /// It is told at once when the process ends.
    Process,
    /// A script every other second.
    Script,
}

impl Rival {
    /// hamesh with its own settings.
    pub const HAMESH: Self = Self::Hamesh { ttl: None };
    /// keepalived at its usual pace: the measure of the bars.
    pub const KEEPALIVED: Self = Self::keepalived(1000);

    const fn keepalived(advert_ms: u64) -> Self {
        Self::Keepalived {
            advert: Duration::from_millis(advert_ms),
            tracking: Tracking::Process,
        }
    }

    /// All that are compared where nothing else is said.
    pub fn defaults() -> Vec<Self> {
        let script = Self::Keepalived {
            advert: Duration::from_secs(1),
            tracking: Tracking::Script,
        };
        let (slow, fast) = (Self::keepalived(2000), Self::keepalived(100));
        vec![Self::KEEPALIVED, slow, fast, script, Self::HAMESH]
    }

    /// The leases over which the curve is drawn.
    pub fn curve() -> Vec<Self> {
        let leases = [100, 150, 200, 250, 300, 400, 500, 1000];
        let of = |ms| Self::Hamesh {
            ttl: Some(Duration::from_millis(ms)),
        };
        leases.map(of).into()
    }

    /// Whether it runs without hamesh on the nodes.
    pub fn is_foreign(self) -> bool {
        match self {
            Self::Hamesh { .. } => false,
            Self::Keepalived { .. } => true,
        }
    }

    /// The unit of its daemon on a proxy.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Hamesh { .. } => "hamesh-agent.service",
            Self::Keepalived { .. } => "keepalived.service",
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Hamesh { ttl: None } => "hamesh".to_owned(),
            Self::Hamesh { ttl: Some(ttl) } => format!("hamesh:{}ms", ttl.as_millis()),
            Self::Keepalived { advert, tracking } => {
                let script = match tracking {
                    Tracking::Process => "",
                    Tracking::Script => ":script",
                };
                format!("keepalived:{}s{script}", advert.as_secs_f64())
            }
        };
        f.pad(&text)
    }
}

impl From<Rival> for String {
    fn from(rival: Rival) -> Self {
        rival.to_string()
    }
}

impl TryFrom<String> for Rival {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Rival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "`{text}` is no rival: write hamesh, hamesh:200ms, keepalived:1s, \
                 keepalived:0.1s or keepalived:1s:script"
            )
        };
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match (name, &rest[..]) {
            ("hamesh", []) => Ok(Self::HAMESH),
            ("hamesh", [ttl]) => {
                let ms = ttl.strip_suffix("ms").and_then(|n| n.parse().ok());
                let ttl = ms.filter(|ms| *ms > 0).ok_or_else(form)?;
                Ok(Self::Hamesh {
                    ttl: Some(Duration::from_millis(ttl)),
                })
            }
            ("keepalived", [advert, tracking @ ..]) => {
                let seconds = advert.strip_suffix('s').and_then(|n| n.parse().ok());
                let advert = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                let tracking = match tracking {
                    [] => Tracking::Process,
                    ["script"] => Tracking::Script,
                    _ => return Err(form()),
                };
                Ok(Self::Keepalived {
                    advert: advert.filter(|a| !a.is_zero()).ok_or_else(form)?,
                    tracking,
                })
            }
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rival_reads_back_as_it_is_written() {
        for rival in Rival::defaults().into_iter().chain(Rival::curve()) {
            assert_eq!(rival.to_string().parse(), Ok(rival), "{rival}");
        }
    }

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let names: Vec<_> = Rival::defaults().iter().map(ToString::to_string).collect();
        let wanted = [
            "keepalived:1s",
            "keepalived:2s",
            "keepalived:0.1s",
            "keepalived:1s:script",
        ];
        assert_eq!(names[..4], wanted);
        assert_eq!(names[4], "hamesh");
    }

    #[test]
    fn what_is_no_rival_is_refused_with_the_form_to_write() {
        for text in [
            "",
            "hamesh:",
            "hamesh:0ms",
            "keepalived",
            "keepalived:-1s",
            "keepalived:1s:x",
        ] {
            let error = text.parse::<Rival>().expect_err(text);
            assert!(error.contains("keepalived:0.1s"), "{error}");
        }
    }
}
