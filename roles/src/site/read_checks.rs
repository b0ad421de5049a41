//! Reading of a virtual address's checks: one thing looked at, and the terms on which.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::report::{Fields, Report};
use crate::checks::{
    BadCommand, BadUnit, BadUrl, Check, CheckKind, CommandLine, DEFAULT_EVERY, EVERY, HttpUrl,
    IN_A_ROW, MOST_CHECKS, SHORTEST_TIMEOUT, UnitName, default_timeout,
};
use crate::yaml::Value;

const KNOWN: [&str; 9] = [
    "process", "tcp", "http", "command", "every", "timeout", "rise", "fall", "degrades",
];

impl Report {
    /// The checks of one virtual address.
    pub(super) fn checks(&mut self, path: &str, value: &Value) -> Vec<Check> {
        // One that could not be read keeps its place, so that the others' places are true.
        let place =
            |report: &mut Report, path: &str, value: &Value| Some(report.check(path, value));
        let places: Vec<Option<Check>> = self.list(path, value, place);
        if places.len() > MOST_CHECKS {
            let message = format!("{} checks, and {MOST_CHECKS} are the most", places.len());
            let hint = Some("let one command look at several things".into());
            self.error(path, message, hint);
        }
        let mut checks = Vec::<Check>::new();
        for (i, check) in places.into_iter().enumerate() {
            let Some(check) = check else { continue };
            if checks.iter().any(|before| before.kind == check.kind) {
                let message = format!("{} is checked already", check.kind);
                self.error(&format!("{path}[{i}]"), message, None);
            }
            checks.push(check);
        }
        checks
    }

    fn check(&mut self, path: &str, value: &Value) -> Option<Check> {
        let fields = self.fields(path, value, &KNOWN)?;
        let kind = self.check_kind(path, &fields);
        // The terms are read even without a kind, so that every fault is told at once.
        let watched = fields.contains_key("process");
        let mut check = kind.map(Check::new);
        self.terms(path, &fields, watched, check.as_mut());
        check
    }

    /// The one thing that is looked at.
    fn check_kind(&mut self, path: &str, fields: &Fields<'_>) -> Option<CheckKind> {
        let given = CheckKind::KEYS.map(|key| (key, fields.get(key)));
        let mut given = given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let Some((key, value)) = given.next() else {
            let keys = CheckKind::KEYS.map(|key| format!("`{key}`")).join(", ");
            let message = "says not what to check".into();
            self.error(path, message, Some(format!("give one of {keys}")));
            return None;
        };
        if let Some((other, _)) = given.next() {
            let message = format!("`{other}` beside `{key}`: a check looks at one thing");
            let hint = Some("write two checks".into());
            self.error(&format!("{path}.{other}"), message, hint);
            return None;
        }
        let path = format!("{path}.{key}");
        match key {
            "process" => self.unit(&path, value).map(CheckKind::Process),
            "tcp" => self.server(&path, value).map(CheckKind::Tcp),
            "http" => self.url(&path, value).map(CheckKind::Http),
            _ => self.command(&path, value).map(CheckKind::Command),
        }
    }

    fn terms(&mut self, path: &str, fields: &Fields<'_>, watched: bool, check: Option<&mut Check>) {
        let at = |key: &str| format!("{path}.{key}");
        let every = fields.get("every");
        let every = every.and_then(|value| self.duration(&at("every"), value, &EVERY));
        let rise = fields.get("rise");
        let rise = rise.and_then(|value| self.count(&at("rise"), value, &IN_A_ROW));
        let degrades = fields.get("degrades");
        let degrades = degrades.and_then(|value| self.flag(&at("degrades"), value));
        let (mut timeout, mut fall) = (None, None);
        if watched {
            for key in ["timeout", "fall"]
                .into_iter()
                .filter(|key| fields.contains_key(key))
            {
                let message = format!("a process is watched, not probed: it has no `{key}`");
                self.error(&at(key), message, Some("leave it out".into()));
            }
        } else {
            // A fault in `every` is no fault of `timeout`.
            let most = match (every, fields.contains_key("every")) {
                (Some(every), _) => every,
                (None, true) => *EVERY.end(),
                (None, false) => DEFAULT_EVERY,
            };
            let bounds = SHORTEST_TIMEOUT..=most;
            let value = fields.get("timeout");
            timeout = value.and_then(|value| self.duration(&at("timeout"), value, &bounds));
            let value = fields.get("fall");
            fall = value.and_then(|value| self.count(&at("fall"), value, &IN_A_ROW));
        }
        let Some(check) = check else { return };
        check.every = every.unwrap_or(check.every);
        check.timeout = timeout.unwrap_or_else(|| default_timeout(check.every));
        check.rise = rise.unwrap_or(check.rise);
        check.fall = fall.unwrap_or(check.fall);
        check.degrades = degrades.unwrap_or(check.degrades);
    }

    fn unit(&mut self, path: &str, value: &Value) -> Option<UnitName> {
        let text = self.text(path, value)?;
        match text.parse::<UnitName>() {
            Ok(unit) => Some(unit),
            Err(error) => {
                let hint = match &error {
                    BadUnit::NoService(name) if !name.contains('.') => {
                        Some(format!("did you mean `{name}.service`?"))
                    }
                    BadUnit::NoService(_) | BadUnit::Characters(_) | BadUnit::Template(_) => None,
                };
                self.error(path, error.to_string(), hint);
                None
            }
        }
    }

    fn url(&mut self, path: &str, value: &Value) -> Option<HttpUrl> {
        match self.text(path, value)?.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                let error: BadUrl = error;
                let hint = "write http://127.0.0.1:8404/healthz";
                self.error(path, error.to_string(), Some(hint.into()));
                None
            }
        }
    }

    /// "443" or "192.168.56.20:443".
    fn server(&mut self, path: &str, value: &Value) -> Option<SocketAddr> {
        let text = self.text(path, value)?;
        let own = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let server = text.parse::<u16>().map(own).ok();
        let server = server.or_else(|| text.parse().ok());
        let server = server.filter(|server| server.port() > 0);
        if server.is_none() {
            let message = format!("`{text}` is not a port, nor an address with one");
            let hint = "write 443, 192.168.56.20:443 or \"[fd00::20]:443\"";
            self.error(path, message, Some(hint.into()));
        }
        server
    }

    fn command(&mut self, path: &str, value: &Value) -> Option<CommandLine> {
        let before = self.faulty(path);
        let text = |report: &mut Report, path: &str, value: &Value| {
            report.text(path, value).map(ToOwned::to_owned)
        };
        let words: Vec<String> = self.list(path, value, text);
        if self.faulty(path) != before {
            return None;
        }
        match CommandLine::try_from(words) {
            Ok(line) => Some(line),
            Err(error) => {
                let hint = match &error {
                    BadCommand::NoPath(_) | BadCommand::Empty => {
                        Some("write the whole path first: [/usr/bin/test, -e, /run/x]".into())
                    }
                    BadCommand::Zero | BadCommand::TooLong => None,
                };
                self.error(path, error.to_string(), hint);
                None
            }
        }
    }
}
