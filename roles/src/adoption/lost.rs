//! What files of before say and those of the role do not.
//!
//! The difference of the lines shows all of it, and much that is only said in other words. Here is
//! what clients would miss: where nobody listens any more, and what is asked no more.

use std::collections::BTreeSet;

use crate::engine::{Desired, File, Observed, Resource, Seen, State};

/// What goes when a node gets what is desired.
pub fn lost(desired: &Desired, observed: &Observed) -> Vec<String> {
    let mut told = Vec::new();
    for resource in &desired.resources {
        let Resource::File(file) = resource else {
            continue;
        };
        let Some(Seen::Present(State::File { digest, text, .. })) =
            observed.seen.get(&resource.id())
        else {
            continue;
        };
        match text {
            _ if *digest == file.content.digest() => {}
            Some(old) => told.extend(of_file(file, old)),
            None if file.content.secret => {
                let path = &file.path;
                told.push(format!("{path}: all that it holds now, which is not shown"));
            }
            None => {
                let path = &file.path;
                let why = "it is too long to be shown, or no text: compare it yourself";
                told.push(format!("{path}: all that it holds now; {why}"));
            }
        }
    }
    told
}

fn of_file(file: &File, old: &str) -> Vec<String> {
    let name = file.path.rsplit('/').next();
    if name != Some("haproxy.cfg") {
        return Vec::new();
    }
    let new = proxied(&file.content.text);
    let keeps = |it: &Proxied| match it {
        Proxied::Port(_) | Proxied::Server(_) => new.iter().any(|(_, _, kept)| kept == it),
    };
    let gone = proxied(old).into_iter().filter(|(_, _, it)| !keeps(it));
    let words = gone.map(|(section, line, it)| {
        let why = match it {
            Proxied::Port(_) => "the role does not listen there",
            Proxied::Server(_) => "the role asks no such server",
        };
        format!("{}: `{line}` of {section}: {why}", file.path)
    });
    // A port of several addresses is told once for each line, and a line once.
    let mut seen = BTreeSet::new();
    words.filter(|line| seen.insert(line.clone())).collect()
}

/// What clients reach through HAProxy.
#[derive(Debug, PartialEq, Eq)]
enum Proxied {
    /// Where it listens.
    Port(String),
    /// Whom it asks: address and port.
    Server(String),
}

/// Each with its section and its line.
fn proxied(text: &str) -> Vec<(String, String, Proxied)> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = code.split_whitespace().collect();
        match words.as_slice() {
            [
                "frontend" | "backend" | "listen" | "defaults" | "global" | "userlist",
                ..,
            ] => {
                section = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
            }
            ["bind", addresses, ..] => {
                for address in addresses.split(',') {
                    let port = address.rsplit(':').next().unwrap_or(address);
                    let line = format!("bind {address}");
                    found.push((section.clone(), line, Proxied::Port(port.to_owned())));
                }
            }
            ["server", name, address, ..] => {
                let line = format!("server {name} {address}");
                let server = Proxied::Server((*address).to_owned());
                found.push((section.clone(), line, server));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Content;

    const OLD: &str = "
frontend web
    bind *:80
    bind 10.0.0.1:8080,10.0.0.1:80
backend nodes
    server one 10.0.0.41:30080 check
backend legacy   # nobody remembers
    server old 10.0.0.9:8080 check
";

    #[test]
    fn where_nobody_listens_any_more_and_whom_nobody_asks_is_told() {
        let file = File {
            path: "/etc/haproxy/haproxy.cfg".to_owned(),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode: 0o644,
            content: Content::plain(
                "frontend http\n bind 0.0.0.0:80\nbackend x\n server node-1 10.0.0.41:30080\n",
            ),
            comment: "#".to_owned(),
            validate: Vec::new(),
            live: None,
        };
        let path = &file.path;
        assert_eq!(
            of_file(&file, OLD),
            [
                format!(
                    "{path}: `bind 10.0.0.1:8080` of frontend web: the role does not listen there"
                ),
                format!(
                    "{path}: `server old 10.0.0.9:8080` of backend legacy: the role asks no such \
                     server"
                ),
            ]
        );
        assert_eq!(of_file(&file, &file.content.text), [""; 0]);
    }
}
