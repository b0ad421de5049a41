//! Rules on the documentation: links lead somewhere, the code map matches the tree.

use std::collections::BTreeSet;

use super::{Finding, Source};

/// Relative links of the Markdown file `source` that lead to no file or heading of the tree.
pub fn links(source: &Source, tree: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, line) in prose(&source.text) {
        for target in targets(line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                source.path.clone()
            } else {
                join(&source.path, file)
            };
            let document = tree.iter().find(|s| s.path == path);
            let folder = format!("{}/", path.trim_end_matches('/'));
            if document.is_none() && !tree.iter().any(|s| s.path.starts_with(&folder)) {
                findings.push(source.finding(n, format!("link to `{target}`: no such file")));
            } else if !heading.is_empty()
                && !document.is_some_and(|d| anchors(&d.text).contains(heading))
            {
                findings.push(source.finding(n, format!("link to `{target}`: no such heading")));
            }
        }
    }
    findings
}

/// Folders that the code map (rows that start with "| `folder/`") names but the tree has not, and
/// top-level folders with code that the map leaves out.
pub fn code_map(map: &Source, tree: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (n, line) in map.text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("| `") else {
            continue;
        };
        let Some((folder, _)) = rest.split_once('`') else {
            continue;
        };
        let folder = folder.trim_end_matches('/');
        named.insert(folder.to_owned());
        if !tree
            .iter()
            .any(|s| s.path == folder || s.path.starts_with(&format!("{folder}/")))
        {
            findings.push(map.finding(n + 1, format!("`{folder}` is not in the tree")));
        }
    }
    let top: BTreeSet<&str> = tree
        .iter()
        .filter_map(|s| s.path.split_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    for folder in top.into_iter().filter(|f| !f.starts_with('.')) {
        if !named.contains(folder) {
            findings.push(map.finding(0, format!("the code map leaves out `{folder}/`")));
        }
    }
    findings
}

/// Decisions (`docs/decisions/NNNN-title.md`) that share a number.
pub fn decision_numbers(tree: &[Source]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for source in tree {
        let Some(name) = source.path.strip_prefix("docs/decisions/") else {
            continue;
        };
        let Some((number, _)) = name.split_once('-') else {
            continue;
        };
        if number.len() != 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
            findings.push(source.finding(0, "a decision is named NNNN-title.md"));
        } else if !seen.insert(number) {
            findings.push(source.finding(0, format!("decision {number} exists twice")));
        }
    }
    findings
}

/// The text under a heading, down to the next one of its rank or above.
pub fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let rank = heading.split(' ').next()?.len();
    let begin = text.find(&format!("\n{heading}\n"))? + 1;
    let body = begin + heading.len();
    let ranks = (1..=rank).map(|rank| format!("\n{} ", "#".repeat(rank)));
    let ends = ranks.filter_map(|mark| text[body..].find(&mark));
    let end = ends.min().map_or(text.len(), |end| body + end + 1);
    Some(&text[begin..end])
}

/// Every block fenced as `language`, in order.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            match block.take() {
                Some(done) => blocks.push(done),
                None if line.trim() == fence => block = Some(String::new()),
                // Another language: its lines are kept apart, and dropped at its end.
                None => block = Some("\0".to_owned()),
            }
        } else if let Some(block) = &mut block {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks.retain(|block| !block.starts_with('\0'));
    blocks
}

/// Lines outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(n, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((n + 1, line))
    })
}

fn targets(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(t, _)| t)
        .collect()
}

fn join(from: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors that a renderer makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim())
    });
    headings
        .map(|title| {
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_link_to_a_missing_file_or_heading_is_found() {
        let tree = [
            source("docs/b.md", "# One thing\n"),
            source("README.md", ""),
        ];
        let fine = "[a](b.md) [b](../README.md) [c](b.md#one-thing) [d](https://example.org/x)";
        assert!(links(&source("docs/a.md", fine), &tree).is_empty());
        for bad in [
            "[a](c.md)",
            "[a](../b.md)",
            "[a](b.md#two-things)",
            "[a](b.md) [b](no/)",
        ] {
            assert_eq!(links(&source("docs/a.md", bad), &tree).len(), 1, "{bad}");
        }
        assert!(links(&source("docs/a.md", "```\n[a](c.md)\n```\n"), &tree).is_empty());
    }

    #[test]
    fn a_code_map_that_does_not_match_the_tree_is_found() {
        let tree = [
            source("agent/src/lib.rs", ""),
            source(".ci/run", ""),
            source("x", ""),
        ];
        assert!(code_map(&source("m.md", "| `agent/` | runs |\n"), &tree).is_empty());
        let found = code_map(&source("m.md", "| folder |\n| `agnet/` | runs |\n"), &tree);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn blocks_are_told_by_their_language() {
        let text = "say\n```sh\na\nb\n```\nx\n```yaml\ny\n```\nz\n```sh\nc\n```\n";
        assert_eq!(blocks(text, "sh"), ["a\nb\n", "c\n"]);
    }

    #[test]
    fn two_decisions_with_one_number_are_found() {
        let one = source("docs/decisions/0001-a.md", "");
        let two = source("docs/decisions/0001-b.md", "");
        assert_eq!(decision_numbers(&[one.clone(), two]).len(), 1);
        assert!(decision_numbers(std::slice::from_ref(&one)).is_empty());
        assert_eq!(
            decision_numbers(&[one, source("docs/decisions/2-b.md", "")]).len(),
            1
        );
    }
}
