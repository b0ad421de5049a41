//! The commands against a whole coordinator on 127.0.0.1, over real mutual TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Parser;

use super::access::{Way, admit};
use super::*;
use crate::ctl::cli::Access;
use crate::ctl::failure::Exit;
use crate::testing::{TestSite, YAML};

/// A coordinator, and a folder with the context of an admin.
struct Site {
    site: TestSite,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Site {
        let site = TestSite::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let context = Context {
            site: "small".parse().expect("a name"),
            coordinators: vec![site.running.api],
            credentials: site.admin.current().as_ref().clone(),
        };
        context
            .save(&folder.path().join("context.json"))
            .expect("saved");
        Site { site, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn context(&self) -> PathBuf {
        self.path("context.json")
    }

    /// Runs a command line; `@name` in it is a file of the folder.
    async fn run(&self, line: &str) -> Result<(), Failure> {
        run_with(
            &self.context(),
            &line.replace('@', &format!("{}/", self.folder.path().display())),
        )
        .await
    }

    async fn done(&self, line: &str) {
        if let Err(failure) = self.run(line).await {
            panic!("{line}: {failure}");
        }
    }

    async fn fails(&self, line: &str) -> (Exit, String) {
        let failure = self.run(line).await.expect_err(line);
        (
            failure.exit(),
            format!("{failure}; {}", failure.next().unwrap_or_default()),
        )
    }

    async fn document(&self) -> String {
        let mut link = Link::open(self.context(), SystemTime::now())
            .await
            .expect("a link");
        site::stored(&mut link.client)
            .await
            .expect("the document")
            .document
    }
}

async fn run_with(context: &Path, line: &str) -> Result<(), Failure> {
    let words = ["coordctl", "--context"].into_iter().map(Into::into);
    let words = words.chain([context.as_os_str().to_owned()]);
    let words = words.chain(line.split_whitespace().map(Into::into));
    run(Cli::try_parse_from(words).expect("a command line")).await
}

#[tokio::test]
async fn what_only_reads_works_in_every_form() {
    let site = Site::start().await;
    for command in [
        "status",
        "nodes",
        "node show node-1",
        "events",
        "site",
        "token list",
    ] {
        for form in ["table", "wide", "json", "yaml"] {
            site.done(&format!("{command} --output {form}")).await;
        }
    }
    site.done("operator list").await;
    site.done("context show -o json").await;
}

#[tokio::test]
async fn a_role_is_planned_assigned_and_planned_no_more() {
    let site = Site::start().await;
    site.done("assign node-1 database --dry-run").await;
    assert_eq!(site.document().await, YAML);
    site.done("assign node-1 database --yes").await;
    let wanted = YAML.replace("node-1: {role: k8s-worker", "node-1: {role: database");
    assert_eq!(site.document().await, wanted);
    // Nothing is left to do, so that nobody is asked.
    site.done("assign node-1 database").await;
    let (exit, told) = site.fails("assign nod-1 none --yes").await;
    assert_eq!(exit, Exit::Invalid);
    assert!(told.contains("did you mean `node-1`?"), "{told}");
}

#[tokio::test]
async fn a_document_is_applied_and_a_faulty_one_is_refused_before_anything_is_sent() {
    let site = Site::start().await;
    let changed = YAML.replace("  node-2: {role: k8s-worker", "  node-2: {role: database");
    std::fs::write(site.path("site.yaml"), &changed).expect("written");
    std::fs::write(site.path("bad.yaml"), YAML.replace("nodes:", "nodse:")).expect("written");
    site.done("apply --file @site.yaml --dry-run -o json").await;
    assert_eq!(site.document().await, YAML);
    let (exit, told) = site.fails("apply --file @bad.yaml --yes").await;
    assert_eq!(exit, Exit::Invalid);
    assert!(told.contains("did you mean `nodes`?"), "{told}");
    assert_eq!(site.document().await, YAML);
    site.done("apply --file @site.yaml --yes").await;
    assert_eq!(site.document().await, changed);
    site.done("apply --file @site.yaml").await;
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let site = Site::start().await;
    site.done("token create node-1 --valid 30m -o json").await;
    let (exit, told) = site.fails("token create node-9").await;
    assert_eq!(exit, Exit::Invalid);
    assert!(told.contains("no node `node-9`"), "{told}");
    let mut link = Link::open(site.context(), SystemTime::now())
        .await
        .expect("a link");
    let list = link
        .client
        .list_tokens(hamesh_proto::v1::ListTokensRequest {})
        .await;
    let id = list.expect("tokens").into_inner().tokens[0].id.clone();
    site.done(&format!("token revoke {id}")).await;
    let (exit, _) = site.fails("token revoke 00000000").await;
    assert!(matches!(exit, Exit::Failed | Exit::Invalid), "{exit:?}");
}

#[tokio::test]
async fn a_viewer_looks_and_is_refused_the_rest() {
    let site = Site::start().await;
    site.done("operator add bob --access viewer --out @bob.json")
        .await;
    let (exit, _) = site
        .fails("operator add eve --access admin --out @bob.json")
        .await;
    assert_eq!(exit, Exit::Invalid, "a file is never written over");
    let bob = site.path("bob.json");
    let context = Context::load(&bob).expect("a context");
    let coordinators = vec![site.site.running.api];
    Context {
        coordinators,
        ..context
    }
    .save(&bob)
    .expect("saved");
    run_with(&bob, "status").await.expect("a viewer looks");
    let failure = run_with(&bob, "token create node-1")
        .await
        .expect_err("a viewer");
    assert_eq!(failure.exit(), Exit::Refused, "{failure}");
    site.done("operator remove bob --yes").await;
    let failure = run_with(&bob, "status").await.expect_err("bob is gone");
    assert_eq!(failure.exit(), Exit::Refused, "{failure}");
}

#[tokio::test]
async fn nodes_are_let_back_in_and_removed() {
    let site = Site::start().await;
    site.site.enrol("node-1").await;
    site.done("node re-enrol node-1 --valid 1h").await;
    site.done("node remove node-1 --yes").await;
    // Its name stays in the document, for the machine that comes in its place.
    assert_eq!(site.document().await, YAML);
    let (exit, told) = site.fails("node remove node-1 --yes").await;
    assert_eq!(exit, Exit::Failed, "{told}");
    assert_eq!(
        site.fails("node remove node-9 --yes").await.0,
        Exit::Invalid
    );
}

#[tokio::test]
async fn the_gossip_key_is_rotated_with_progress() {
    Site::start().await.done("gossip rotate-key").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_in_place_past_two_thirds_of_its_life() {
    let site = Site::start().await;
    let serial = || {
        let context = Context::load(&site.context()).expect("a context");
        context.credentials.serial().to_owned()
    };
    let first = serial();
    let day = Duration::from_secs(86_400);
    Link::open(site.context(), SystemTime::now() + 19 * day)
        .await
        .expect("a link");
    assert_eq!(serial(), first, "too early");
    let link = Link::open(site.context(), SystemTime::now() + 21 * day)
        .await
        .expect("a link");
    assert_ne!(serial(), first, "renewed");
    drop(link);
    site.done("status").await;
    let expired = Link::open(site.context(), SystemTime::now() + 400 * day).await;
    let failure = expired.err().expect("expired");
    assert_eq!(failure.exit(), Exit::Refused, "{failure}");
}

#[tokio::test]
async fn the_next_coordinator_is_tried_and_all_failures_are_told() {
    let site = Site::start().await;
    let closed = |listener: std::net::TcpListener| listener.local_addr().expect("an address");
    let dead: SocketAddr = closed(std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let mut context = Context::load(&site.context()).expect("a context");
    context.coordinators.insert(0, dead);
    context.save(&site.context()).expect("saved");
    site.done("status").await;
    context.coordinators = vec![dead];
    context.save(&site.context()).expect("saved");
    let (exit, told) = site.fails("status").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(
        told.contains(&dead.to_string()) && told.contains("refused"),
        "{told}"
    );
}

#[tokio::test]
async fn another_sites_context_is_not_believed() {
    let (ours, other) = (Site::start().await, Site::start().await);
    let mut context = Context::load(&other.context()).expect("a context");
    context.coordinators = vec![ours.site.running.api];
    context.save(&other.context()).expect("saved");
    let (exit, told) = other.fails("status").await;
    assert_eq!(exit, Exit::Unreachable, "{told}");
}

#[tokio::test]
async fn root_on_a_coordinator_admits_an_admin_when_none_is_left() {
    let site = Site::start().await;
    let api = [site.site.running.api];
    let mut way = Way::as_coordinator_at(&site.site.dirs(), &api)
        .await
        .expect("a way");
    let eve = "eve".parse().expect("a name");
    let context = admit(&mut way, &eve, Access::Admin)
        .await
        .expect("admitted");
    let context = Context {
        coordinators: api.to_vec(),
        ..context
    };
    context.save(&site.path("eve.json")).expect("saved");
    run_with(&site.path("eve.json"), "operator remove ada --yes")
        .await
        .expect("an admin");
}

#[tokio::test]
async fn an_upgrade_says_when_nothing_is_to_do_and_names_who_is_in_the_way() {
    let site = Site::start().await;
    site.done("upgrade --to 0.2.0").await;
    site.done("upgrade --to 0.2.0 --dry-run -o json").await;
    let (exit, told) = site.fails("upgrade --to 0.2.0 --skip nod-1 --yes").await;
    assert_eq!(exit, Exit::Invalid);
    assert!(told.contains("did you mean `node-1`?"), "{told}");
    site.site.enrol("node-1").await;
    site.site
        .until("node-1 is known", |status| {
            let mut nodes = status.nodes.iter().filter(|it| it.node == "node-1");
            nodes.any(|it| it.state() == hamesh_proto::v1::NodeState::Unknown)
        })
        .await;
    let (exit, told) = site.fails("upgrade --to 0.2.0 --yes").await;
    assert_eq!(exit, Exit::Failed);
    assert!(told.contains("node-1 is unknown"), "{told}");
    assert!(told.contains("--skip node-1"), "{told}");
    site.done("upgrade --to 0.2.0 --skip node-1").await;
}

#[tokio::test]
async fn databases_are_shown_where_there_are_some_and_their_silence_is_told() {
    let site = Site::start().await;
    let (exit, told) = site.fails("db status").await;
    assert_eq!(exit, Exit::Failed);
    assert!(told.contains("coordctl assign NODE database"), "{told}");
    site.done("assign node-1 database --yes --no-wait").await;
    site.done("db status").await;
    site.done("db status -o json").await;
    for line in ["db switchover --yes", "db reinit node-1 --yes"] {
        let (exit, told) = site.fails(line).await;
        assert_eq!(exit, Exit::Failed, "{told}");
        assert!(told.contains("nothing was changed"), "{told}");
    }
    let (exit, told) = site.fails("db restart nod-1 --yes").await;
    assert_eq!(exit, Exit::Invalid);
    assert!(told.contains("did you mean `node-1`?"), "{told}");
}
