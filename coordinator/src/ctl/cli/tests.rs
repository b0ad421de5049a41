//! What parses, what is refused, and that the guide's commands are among the former.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_parses() {
    for line in [
        "coordctl status",
        "coordctl nodes -o wide",
        "coordctl node list --output json",
        "coordctl node show node-1",
        "coordctl node remove node-1 --yes",
        "coordctl node re-enrol node-1 --valid 2h",
        "coordctl events --follow --last 3",
        "coordctl events --audit --last 3",
        "coordctl site",
        "coordctl apply -f site.yaml --dry-run",
        "coordctl apply --file site.yaml --yes",
        "coordctl assign node-1 database --yes",
        "coordctl assign node-1 none --dry-run",
        "coordctl token create node-1 --valid 30m",
        "coordctl claims -o wide",
        "coordctl explain vip/edge",
        "coordctl move vip/edge",
        "coordctl move vip/edge --to node-1",
        "coordctl drain node-1",
        "coordctl undrain node-1",
        "coordctl claim pause vip/edge",
        "coordctl claim resume vip/edge",
        "coordctl claim confirm-fenced node-1 --yes",
        "coordctl db status -o wide",
        "coordctl db switchover",
        "coordctl db switchover --to node-1 --dry-run",
        "coordctl db switchover --to node-1 --yes",
        "coordctl db restart node-1 --yes",
        "coordctl db reinit node-1 --no-wait --yes",
        "coordctl token list",
        "coordctl token revoke abc",
        "coordctl operator add ada --access viewer --out ada.json",
        "coordctl operator add ada --access admin --out ada.json --as-coordinator",
        "coordctl operator list",
        "coordctl operator remove ada --yes",
        "coordctl gossip rotate-key",
        "coordctl backup site.backup",
        "coordctl backup site.backup --passphrase-file secret",
        "coordctl backup verify site.backup --passphrase-file secret",
        "coordctl backup passphrase",
        "coordctl --context other.json context show",
        "coordctl context import ada.json --replace",
        "coordctl restore site.backup --node control-1",
        "coordctl restore site.backup --node control-1 --operator ada --yes --above 7",
        "coordctl recover site.backup --node control-1",
        "coordctl recover site.backup --node control-1 --site-file site.yaml --operator ada --yes",
        "coordctl recover status --without node-1 --without node-2",
        "coordctl recover finish --without node-1 --dry-run",
        "coordctl recover finish --yes",
        "coordctl init --site-file site.yaml --node control-1",
        "coordctl init --site-file site.yaml --node control-1 --operator ada",
        "coordctl upgrade --to 0.2.0",
        "coordctl upgrade --to 0.2.0 --nodes node-1,node-2 --dry-run",
        "coordctl upgrade --to 1:0.2.0+a~b-1 --skip node-1 --skip node-2 --yes",
        "coordctl generate man out",
        "coordctl generate completions out",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

const GUIDE: &str = include_str!("../../../../docs/operations.md");

/// What stands in the fenced blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let parts = GUIDE.split(fence.as_str()).skip(1);
    parts
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn every_command_of_the_guide_parses() {
    let words = [
        ("\"", ""),
        ("$OPERATOR", "ada"),
        ("$NODE", "node-2"),
        ("$SITE_FILE", "s"),
        ("$VERSION", "0.1.0"),
    ];
    let lines = blocks("sh").into_iter().flat_map(str::lines);
    let commands = lines
        .filter(|line| line.starts_with("coordctl "))
        .collect::<Vec<_>>();
    assert!(commands.len() > 15, "the guide shows them: {commands:?}");
    for command in commands {
        let line = words
            .iter()
            .fold(command.to_owned(), |line, (a, b)| line.replace(a, b));
        let line = line.split(" > ").next().unwrap_or_default();
        assert!(parse(line).is_ok(), "{command}: {:?}", parse(line).err());
    }
}

#[test]
fn the_site_documents_of_the_guide_are_valid() {
    let documents = blocks("yaml");
    let [whole, vips] = documents.as_slice() else {
        panic!("a whole site and its `vips`: {documents:?}");
    };
    // The second one is a part of the reference site.
    let reference = include_str!("../../../../sites/thirteen.yaml");
    let (before, rest) = reference.split_once("\nvips:\n").expect("it has some");
    let (_, after) = rest.split_once("\nnodes:\n").expect("it has some");
    let reference = format!("{before}\n{vips}\nnodes:\n{after}");
    for document in [*whole, &reference] {
        let examined = hamesh_roles::Site::examine(document);
        assert!(
            examined.site.is_ok() && examined.warnings.is_empty(),
            "{examined:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_with_exit_code_two() {
    for line in [
        "coordctl",
        "coordctl statsu",
        "coordctl token create node-1 --valid 1w",
        "coordctl operator add Ada --access admin --out x",
        "coordctl operator add ada --access root --out x",
        "coordctl apply",
        "coordctl recover",
        "coordctl recover site.backup",
        "coordctl assign node-1 webserver",
        "coordctl events --last -1",
        "coordctl init --site-file s --node Bad_Name",
        "coordctl status --output xml",
        "coordctl db",
        "coordctl db restart",
        "coordctl db reinit node-1 --dry-run",
        "coordctl upgrade",
        "coordctl upgrade --to 1;reboot",
        "coordctl upgrade --to=--version",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_misspelt_word_is_told_the_nearest_one() {
    for (line, meant) in [
        ("coordctl statsu", "'status'"),
        ("coordctl assign node-1 databse", "'database'"),
        ("coordctl token crate node-1", "'create'"),
    ] {
        let told = parse(line).expect_err(line).to_string();
        assert!(told.contains(meant), "{told}");
    }
}
