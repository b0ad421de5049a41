//! The databases' members find each other: the rendered programs and settings, real etcd, and a
//! node per namespace on one switch.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hamesh_roles::engine::{Desired, Resource};

use crate::files::{Files, place};
use crate::network::{Daemon, Namespace, eventually, run};
use crate::support::desired;

const NAMES: [&str; 3] = ["database-1", "database-2", "database-3"];

/// Three machines without data, and what each is to have.
struct Stage {
    nodes: Vec<Node>,
    _switch: Namespace,
    files: Files,
}

struct Node {
    name: &'static str,
    namespace: Namespace,
    root: PathBuf,
    etcd: Option<Daemon>,
}

impl Stage {
    fn new(test: &str) -> Result<Self> {
        let (files, pid) = (Files::new()?, std::process::id());
        let switch = Namespace::new(format!("hamesh-etcd-{test}-{pid}"))?;
        switch.ip("link add name trust type bridge")?;
        switch.ip("link set trust up")?;
        let mut stage = Self {
            nodes: Vec::new(),
            _switch: switch,
            files,
        };
        for (i, name) in NAMES.into_iter().enumerate() {
            let namespace = Namespace::new(format!("hamesh-etcd-{test}-{pid}-{i}"))?;
            stage
                ._switch
                .plug(&namespace, "trust", &format!("node{i}"))?;
            namespace.addresses(&[("trust", &format!("192.168.56.{}/24", 51 + i))])?;
            let root = stage.files.folder().join(name);
            let node = Node {
                name,
                namespace,
                root,
                etcd: None,
            };
            stage.nodes.push(node);
            stage.lay_out(i)?;
        }
        Ok(stage)
    }

    /// Writes what the role writes, in the folder of the node.
    fn lay_out(&self, node: usize) -> Result<()> {
        let node = &self.nodes[node];
        for resource in desired_of(node.name).resources {
            match resource {
                Resource::File(file) => {
                    fs::write(
                        place(&node.root, &file.path)?,
                        node.relocated(&file.content.text),
                    )?;
                }
                Resource::Certificate(it) => {
                    let ips = it.ips.iter().map(ToString::to_string);
                    let names = it.dns.iter().cloned().chain(ips).collect();
                    let (chain, key) = self.files.issue(names)?;
                    fs::write(place(&node.root, &it.certificate)?, chain)?;
                    fs::write(place(&node.root, &it.key)?, key)?;
                }
                Resource::Directory(it) => {
                    fs::create_dir_all(node.root.join(it.path.trim_start_matches('/')))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All of them begin, at once as under a rollout.
    fn form(&mut self) -> Result<()> {
        let mut begin = Vec::new();
        for node in &self.nodes {
            begin.push(node.spawn("begin")?);
        }
        // Who is in first is chance; the next gets in once that one may vote.
        eventually("all are members", || {
            for (node, begun) in self.nodes.iter_mut().zip(&mut begin) {
                if node.etcd.is_none() && begun.ended()?.is_some() {
                    node.start()?;
                    node.program("settle")?;
                }
            }
            let mut waiting = self.nodes.iter().filter(|node| node.etcd.is_none());
            waiting
                .next()
                .map_or(Ok(()), |it| bail!("{} still waits", it.name))
        })
    }

    /// Who may vote, by the word of one node.
    fn voters(&self, node: usize) -> Result<Vec<String>> {
        let node = &self.nodes[node];
        let pem = node.path("/etc/hamesh/database/etcd.pem");
        let words = [
            "--endpoints=https://127.0.0.1:2379",
            &format!("--cacert={pem}"),
            &format!("--cert={pem}"),
            &format!("--key={pem}.key"),
            "member",
            "list",
        ];
        let list = node.namespace.run("etcdctl", &words)?;
        let members = list
            .lines()
            .map(|line| line.split(", ").collect::<Vec<_>>());
        let voters =
            members.filter(|it| it.get(1) == Some(&"started") && it.last() == Some(&"false"));
        let mut voters: Vec<String> = voters.map(|it| it[2].to_owned()).collect();
        voters.sort();
        Ok(voters)
    }
}

impl Node {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.root.display())
    }

    fn relocated(&self, text: &str) -> String {
        let own = |path: &str| self.path(path);
        text.replace("/etc/hamesh/", &own("/etc/hamesh/"))
            .replace("/var/lib/", &own("/var/lib/"))
    }

    fn program(&self, verb: &str) -> Result<String> {
        let member = self.path("/etc/hamesh/database/member.py");
        self.namespace.run("python3", &[&member, verb])
    }

    fn spawn(&self, verb: &str) -> Result<Daemon> {
        let member = self.path("/etc/hamesh/database/member.py");
        self.namespace.spawn("python3", &[&member, verb], &[])
    }

    /// As the unit does, guard and all.
    fn start(&mut self) -> Result<()> {
        self.program("begun")?;
        let settings = fs::read_to_string(self.path("/etc/default/etcd"))?;
        let start = fs::read_to_string(self.path("/var/lib/etcd/hamesh.env"))?;
        let lines = settings.lines().chain(start.lines());
        let variables: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
        self.etcd = Some(self.namespace.spawn("etcd", &[], &variables)?);
        Ok(())
    }

    /// Its machine is lost, and another one takes its place.
    fn wipe(&mut self) -> Result<()> {
        self.etcd = None;
        fs::remove_dir_all(self.path("/var/lib/etcd"))?;
        Ok(fs::create_dir_all(self.path("/var/lib/etcd/hamesh"))?)
    }
}

fn desired_of(node: &str) -> Desired {
    desired("full", node, "")
}

fn ended(program: &mut Daemon) -> Result<()> {
    match program.ended()? {
        None => bail!("it still waits"),
        Some(status) => {
            ensure!(status.success(), "{status}");
            Ok(())
        }
    }
}

#[test]
fn three_nodes_without_data_are_one_cluster_and_any_of_them_comes_back_without_its_data()
-> Result<()> {
    let mut stage = Stage::new("forms")?;
    stage.form()?;
    for node in 0..NAMES.len() {
        assert_eq!(stage.voters(node)?, NAMES, "as node {node} sees it");
        stage.nodes[node].program("settled")?;
    }
    // The founder among them: it must not found another.
    for node in 0..NAMES.len() {
        stage.nodes[node].wipe()?;
        ensure!(stage.nodes[node].program("begun").is_err(), "without data");
        stage.nodes[node].program("begin")?;
        stage.nodes[node].start()?;
        stage.nodes[node].program("settle")?;
        assert_eq!(stage.voters(node)?, NAMES, "after node {node} was wiped");
    }
    Ok(())
}

#[test]
fn no_cluster_is_founded_while_a_node_is_silent_and_none_by_others_than_the_founder() -> Result<()>
{
    let stage = Stage::new("waits")?;
    let mut founder = stage.nodes[0].spawn("begin")?;
    let mut second = stage.nodes[1].spawn("begin")?;
    // Each has had the time to ask the others more than once.
    pause();
    ensure!(
        founder.ended()?.is_none(),
        "the founder waits for the third"
    );
    ensure!(
        second.ended()?.is_none(),
        "the second waits for the founder"
    );
    ensure!(!Path::new(&stage.nodes[0].path("/var/lib/etcd/hamesh.env")).exists());
    let mut third = stage.nodes[2].spawn("begin")?;
    eventually("the founder goes ahead", || ended(&mut founder))?;
    ensure!(
        second.ended()?.is_none(),
        "the second waits for the founder's etcd"
    );
    ensure!(third.ended()?.is_none(), "and so does the third");
    Ok(())
}

#[test]
fn etcd_that_was_not_told_how_to_begin_begins_nothing() -> Result<()> {
    let mut stage = Stage::new("untold")?;
    let settings = fs::read_to_string(stage.nodes[0].path("/etc/default/etcd"))?;
    let variables: Vec<_> = settings
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let mut etcd = stage.nodes[0].namespace.spawn("etcd", &[], &variables)?;
    eventually("it ends", || {
        let status = etcd.ended()?.context("it still runs")?;
        ensure!(!status.success(), "{status}");
        Ok(())
    })?;
    // Nor is anything left of it that would be taken for data.
    ensure!(stage.nodes[0].program("begun").is_err());
    stage.form()?;
    assert_eq!(stage.voters(0)?, NAMES);
    Ok(())
}

#[test]
fn a_node_whose_cluster_has_lost_its_majority_waits_and_says_so() -> Result<()> {
    let mut stage = Stage::new("majority")?;
    stage.form()?;
    stage.nodes[0].wipe()?;
    stage.nodes[1].wipe()?;
    let mut again = [
        stage.nodes[0].spawn("begin")?,
        stage.nodes[1].spawn("begin")?,
    ];
    pause();
    for waiting in &mut again {
        ensure!(
            waiting.ended()?.is_none(),
            "no second cluster beside what is left"
        );
    }
    Ok(())
}

#[test]
fn a_node_that_leaves_is_no_member_and_comes_back_as_a_new_one() -> Result<()> {
    let mut stage = Stage::new("leaves")?;
    stage.form()?;
    stage.nodes[2].etcd = None;
    stage.nodes[2].program("leave")?;
    assert_eq!(stage.voters(0)?, NAMES[..2]);
    stage.nodes[2].program("begin")?;
    stage.nodes[2].start()?;
    stage.nodes[2].program("settle")?;
    assert_eq!(stage.voters(0)?, NAMES);
    Ok(())
}

#[test]
fn patroni_accepts_every_configuration_and_refuses_a_broken_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let validate = folder.path().join("validate.py");
    let config = folder.path().join("config.yml");
    let words = [&validate, &config].map(|path| path.display().to_string());
    let words = words.each_ref().map(String::as_str);
    for (site, node) in crate::support::DATABASES {
        let desired = desired(site, node, "");
        let text = |name: &str| {
            let mut all = desired.resources.iter();
            all.find_map(|resource| match resource {
                Resource::File(file) if file.path.ends_with(name) => Some(&file.content.text),
                _ => None,
            })
        };
        fs::write(&validate, text("validate.py").context("the program")?)?;
        let good = text("config.yml").context("the configuration")?;
        fs::write(&config, good)?;
        run("python3", &words)?;
        for (from, to) in [
            ("scope:", "scop:"),
            ("bin_dir: /usr/lib/postgresql/15/bin", "bin_dir: /nowhere"),
            ("connect_address", "connect_adress"),
            ("data_dir: /var", "data_dir: [/var]"),
        ] {
            let bad = good.replacen(from, to, 1);
            ensure!(bad != *good, "{from}");
            fs::write(&config, bad)?;
            ensure!(run("python3", &words).is_err(), "{from} -> {to}");
        }
        fs::write(&config, "not: [closed")?;
        ensure!(run("python3", &words).is_err(), "no YAML");
    }
    Ok(())
}

/// That nothing happens takes time to see.
fn pause() {
    std::thread::sleep(std::time::Duration::from_secs(4));
}
