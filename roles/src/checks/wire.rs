//! A check as an assignment carries it, both ways.
//!
//! Reading holds it to the bounds of [`super`]: what an agent carries out is never more than what
//! the document may ask for.

use std::time::Duration;

use hamesh_proto::v1;

use super::{Check, CheckKind, CommandLine, EVERY, HttpUrl, IN_A_ROW, SHORTEST_TIMEOUT};

/// Why a check of an assignment cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCheck(String);

impl From<&Check> for v1::Check {
    fn from(check: &Check) -> Self {
        use v1::check::Kind;
        let Check {
            kind,
            every,
            timeout,
            rise,
            fall,
            degrades,
        } = check;
        let name = kind.to_string();
        let kind = match kind {
            CheckKind::Process(unit) => Kind::Process(v1::ProcessCheck {
                unit: unit.to_string(),
            }),
            CheckKind::Tcp(address) => Kind::Tcp(v1::TcpCheck {
                address: address.to_string(),
            }),
            CheckKind::Http(url) => Kind::Http(v1::HttpCheck {
                url: url.to_string(),
            }),
            CheckKind::Command(line) => Kind::Command(v1::CommandCheck {
                argv: line.words().to_vec(),
            }),
        };
        v1::Check {
            name,
            kind: Some(kind),
            every_ms: millis(*every),
            timeout_ms: millis(*timeout),
            rise: *rise,
            fall: *fall,
            degrades: *degrades,
        }
    }
}

impl TryFrom<v1::Check> for Check {
    type Error = BadCheck;

    fn try_from(wire: v1::Check) -> Result<Self, BadCheck> {
        let every = Duration::from_millis(wire.every_ms);
        let timeout = Duration::from_millis(wire.timeout_ms);
        let bad = |what: &str| BadCheck(format!("{what} is out of bounds"));
        if !EVERY.contains(&every) {
            return Err(bad("every"));
        }
        if !(SHORTEST_TIMEOUT..=every).contains(&timeout) {
            return Err(bad("timeout"));
        }
        if !IN_A_ROW.contains(&wire.rise) || !IN_A_ROW.contains(&wire.fall) {
            return Err(bad("rise or fall"));
        }
        Ok(Self {
            kind: kind(wire.kind)?,
            every,
            timeout,
            rise: wire.rise,
            fall: wire.fall,
            degrades: wire.degrades,
        })
    }
}

fn kind(wire: Option<v1::check::Kind>) -> Result<CheckKind, BadCheck> {
    use v1::check::Kind;
    let told = |error: &dyn std::error::Error| BadCheck(error.to_string());
    match wire {
        None => Err(BadCheck("of a kind that this version lacks".to_owned())),
        Some(Kind::Process(check)) => match check.unit.parse() {
            Ok(unit) => Ok(CheckKind::Process(unit)),
            Err(error) => Err(told(&error)),
        },
        Some(Kind::Tcp(check)) => match check.address.parse() {
            Ok(address) => Ok(CheckKind::Tcp(address)),
            Err(error) => Err(told(&error)),
        },
        Some(Kind::Http(check)) => match check.url.parse::<HttpUrl>() {
            Ok(url) => Ok(CheckKind::Http(url)),
            Err(error) => Err(told(&error)),
        },
        Some(Kind::Command(check)) => match CommandLine::try_from(check.argv) {
            Ok(line) => Ok(CheckKind::Command(line)),
            Err(error) => Err(told(&error)),
        },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: CheckKind) -> Check {
        Check::new(kind)
    }

    fn unit() -> CheckKind {
        CheckKind::Process("haproxy.service".parse().expect("a unit"))
    }

    #[test]
    fn what_is_sent_is_read_back() {
        let words = vec!["/bin/test".to_owned(), "-e".to_owned(), "/x y".to_owned()];
        for kind in [
            unit(),
            CheckKind::Tcp("[::1]:443".parse().expect("an address")),
            CheckKind::Http("http://127.0.0.1:8404/x".parse().expect("a URL")),
            CheckKind::Command(words.try_into().expect("a command")),
        ] {
            let mut sent = check(kind);
            sent.degrades = true;
            assert_eq!(Check::try_from(v1::Check::from(&sent)), Ok(sent));
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        type Spoil = fn(&mut v1::Check);
        let spoils: [Spoil; 9] = [
            |wire| wire.every_ms = 99,
            |wire| wire.every_ms = u64::MAX,
            |wire| wire.timeout_ms = 0,
            |wire| wire.timeout_ms = wire.every_ms + 1,
            |wire| wire.rise = 0,
            |wire| wire.fall = 101,
            |wire| wire.kind = None,
            |wire| wire.kind = Some(v1::check::Kind::Command(v1::CommandCheck::default())),
            |wire| wire.kind = Some(v1::check::Kind::Tcp(v1::TcpCheck::default())),
        ];
        for (i, spoil) in spoils.into_iter().enumerate() {
            let mut wire = v1::Check::from(&check(unit()));
            spoil(&mut wire);
            assert!(Check::try_from(wire).is_err(), "spoil {i}");
        }
    }
}
