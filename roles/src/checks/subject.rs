//! What a check looks at, by name: a service, a page, a program.
//!
//! Each is parsed once, where it enters, and valid ever after.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{LONGEST, MOST_WORDS};

/// The name of a systemd service: "haproxy.service".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// Why a text is not a service's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// It is no name of a unit (systemd.unit(5)).
    #[error("`{0}` is not the name of a systemd unit")]
    Characters(String),
    /// It is another kind of unit, or says none.
    #[error("`{0}` is not a service: only services have a main process")]
    NoService(String),
    /// A template runs only as one of its instances.
    #[error("`{0}` is a template: name an instance of it")]
    Template(String),
}

impl UnitName {
    /// The longest name that systemd knows.
    const LONGEST: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        if text.is_empty() || text.len() > Self::LONGEST || !text.bytes().all(allowed) {
            return Err(BadUnit::Characters(text.chars().take(80).collect()));
        }
        match text.strip_suffix(".service") {
            Some(stem) if stem.ends_with('@') => Err(BadUnit::Template(text.to_owned())),
            Some(stem) if !stem.is_empty() && !stem.starts_with('@') => Ok(Self(text.to_owned())),
            Some(_) | None => Err(BadUnit::NoService(text.to_owned())),
        }
    }
}

/// A page of a server that is named by its address: "http://127.0.0.1:8404/healthz".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl {
    /// Who is asked.
    pub server: SocketAddr,
    /// For what: starts with a slash, holds the query.
    pub path: String,
}

/// Why a text is not such a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It is no URL.
    #[error("`{0}` is not a URL")]
    Form(String),
    /// It is not plain HTTP.
    #[error("`{0}` is not plain HTTP: only http:// is checked")]
    Scheme(String),
    /// Its host is a name.
    #[error("`{0}` is not an IP address: a check asks no DNS")]
    Host(String),
    /// It carries a name and a password, or ends in a fragment.
    #[error("`{0}` holds more than an address, a port and a path")]
    Extra(String),
}

impl FromStr for HttpUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > LONGEST {
            return Err(BadUrl::Form(shown()));
        }
        let uri: http::Uri = text.parse().map_err(|_| BadUrl::Form(shown()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(BadUrl::Scheme(shown())),
            None => return Err(BadUrl::Form(shown())),
        }
        let authority = uri.authority().ok_or_else(|| BadUrl::Form(shown()))?;
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(BadUrl::Extra(shown()));
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let ip: IpAddr = bare
            .unwrap_or(host)
            .parse()
            .map_err(|_| BadUrl::Host(host.to_owned()))?;
        let written = authority.as_str().strip_prefix(host).unwrap_or_default();
        let port = match (written, authority.port_u16()) {
            ("", _) => 80,
            (_, Some(port)) if port > 0 => port,
            (_, _) => return Err(BadUrl::Form(shown())),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            server: SocketAddr::new(ip, port),
            path,
        })
    }
}

/// A program with its arguments: the whole path of a file, and no shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct CommandLine(Vec<String>);

/// Why some words are not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// There is none.
    #[error("a command needs a program")]
    Empty,
    /// It would be looked for in a path that is not the operator's.
    #[error("`{0}` is not the whole path of a program")]
    NoPath(String),
    /// A word that no program can be given.
    #[error("a word of the command holds a zero byte")]
    Zero,
    /// It is too long.
    #[error("a command has at most {MOST_WORDS} words and {LONGEST} bytes")]
    TooLong,
}

impl CommandLine {
    /// The program.
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    /// Its arguments.
    pub fn arguments(&self) -> &[String] {
        &self.0[1..]
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = BadCommand;

    fn try_from(words: Vec<String>) -> Result<Self, BadCommand> {
        let program = words.first().ok_or(BadCommand::Empty)?;
        if !program.starts_with('/') || program.ends_with('/') {
            return Err(BadCommand::NoPath(program.chars().take(80).collect()));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(BadCommand::Zero);
        }
        if words.len() > MOST_WORDS || words.iter().map(String::len).sum::<usize>() > LONGEST {
            return Err(BadCommand::TooLong);
        }
        Ok(Self(words))
    }
}

impl From<CommandLine> for Vec<String> {
    fn from(line: CommandLine) -> Self {
        line.0
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.server, self.path)
    }
}

impl TryFrom<String> for UnitName {
    type Error = BadUnit;

    fn try_from(text: String) -> Result<Self, BadUnit> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> String {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_service_and_no_template() {
        for good in [
            "haproxy.service",
            "patroni@15-main.service",
            "a\\x2db.service",
        ] {
            assert_eq!(good.parse::<UnitName>().expect(good).as_str(), good);
        }
        for (bad, reason) in [
            ("", "not the name"),
            ("a b.service", "not the name"),
            ("../a.service", "not the name"),
            ("haproxy", "not a service"),
            ("haproxy.socket", "not a service"),
            (".service", "not a service"),
            ("@x.service", "not a service"),
            ("patroni@.service", "template"),
        ] {
            let error = bad.parse::<UnitName>().expect_err(bad).to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn a_url_names_an_address_and_a_page() {
        for (given, meant) in [
            ("http://127.0.0.1", "http://127.0.0.1:80/"),
            ("http://127.0.0.1:8404/a?b=c", "http://127.0.0.1:8404/a?b=c"),
            ("http://[::1]:80/x", "http://[::1]:80/x"),
            ("http://[::1]?q", "http://[::1]:80/?q"),
        ] {
            let url: HttpUrl = given.parse().expect(given);
            assert_eq!(url.to_string(), meant);
            assert_eq!(meant.parse(), Ok(url));
        }
        for (bad, reason) in [
            ("", "not a URL"),
            ("127.0.0.1:80", "not"),
            ("/healthz", "not a URL"),
            ("https://127.0.0.1/", "plain HTTP"),
            ("http://localhost/", "asks no DNS"),
            ("http://a:b@127.0.0.1/", "more than"),
            ("http://127.0.0.1/#a", "more than"),
            ("http://127.0.0.1:0/", "not a URL"),
            ("http://127.0.0.1:70000/", "not a URL"),
            ("http://127.0.0.1:/", "not a URL"),
            ("http://127.0.0.1/a b", "not a URL"),
        ] {
            let error = bad.parse::<HttpUrl>().expect_err(bad).to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn a_command_is_a_whole_path_and_bounded() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let good = CommandLine::try_from(words(&["/bin/true", "", "-x"])).expect("a command");
        assert_eq!((good.program(), good.arguments().len()), ("/bin/true", 2));
        for bad in [
            words(&[]),
            words(&["true"]),
            words(&["./true"]),
            words(&["/bin/"]),
            words(&["/bin/true", "a\0b"]),
            words(&["/bin/true", &"x".repeat(LONGEST)]),
            vec!["/bin/true".to_owned(); MOST_WORDS + 1],
        ] {
            CommandLine::try_from(bad.clone()).expect_err(&format!("{bad:?}"));
        }
    }
}
