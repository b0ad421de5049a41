//! A node whose agent was taken over: what it hands to what applies roles, as root on the node sees
//! it from within the agent's sandbox.

use anyhow::{Context as _, Result, ensure};
use hamesh_agent::apply::wire;
use hamesh_proto::credentials::Credentials;
use hamesh_proto::orders::{Purpose, sign};
use hamesh_proto::v1;
use hamesh_proto::v1::apply_request::Kind;
use hamesh_roles::engine::{Content, Desired, File, Resource};

use super::{OUTER, role_of, until_as_wanted};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// What the forged order would write.
const FORGED: &str = "/etc/hamesh/forged";
/// Hands over a message that comes as hexadecimal digits, and shows the words in what is answered.
const HAND_OVER: &str = r#"perl -MIO::Socket::UNIX -e '
    my $hex = <STDIN>; chomp $hex;
    my $to = IO::Socket::UNIX->new("/run/hamesh-apply/control.sock") or die "no socket: $!";
    print $to pack "H*", $hex; $to->flush;
    alarm 3; $SIG{ALRM} = sub { exit 0 };
    while (sysread $to, my $said, 65536) { $said =~ s/[^ -~]/ /g; syswrite STDOUT, $said }'"#;

/// An order that the node's own identity signed is refused and told of, and so is a question; what
/// hamesh-apply keeps is closed to the agent's sandbox.
pub fn refused(world: &World) -> Result<()> {
    let site = &world.site;
    let node = OUTER[0];
    let identity = site.sh(node, "cat /var/lib/hamesh-agent/identity.pem")?;
    let identity = Credentials::from_pem(&identity).context("the node's identity")?;
    let order = order()?;
    let signed = |purpose| Ok::<_, anyhow::Error>(sign(&identity, purpose, &node.parse()?, &order));
    hand_over(site, node, Kind::Order(signed(Purpose::Order)?))?;
    let why = format!("agent/{node}, which is no coordinator");
    until("the order is told as refused", PATIENCE, || {
        let state = role_of(site, node)?;
        let refusal = state.refusal.as_deref().unwrap_or_default();
        ensure!(state.refused > 0 && refusal.contains(&why), "{state:?}");
        ensure!(state.place == "as-wanted", "{state:?}");
        Ok(())
    })?;
    for screen in [&["role", "status"][..], &["status"]] {
        let text = site.try_coordctl(screen)?.stdout;
        ensure!(text.contains("refused an order"), "{text}");
    }
    let question = v1::RolePlanRequest {
        id: "forged".to_owned(),
        asked: Some(signed(Purpose::Question)?),
        outside: Vec::new(),
    };
    let said = hand_over(site, node, Kind::Plan(question))?;
    ensure!(
        said.contains("no coordinator") && !said.contains(FORGED),
        "{said}"
    );
    let left = site.try_sh(node, &format!("ls {FORGED}"))?;
    ensure!(left.code != 0, "the forged order was carried out");
    let anchor = "/var/lib/hamesh-apply/anchor.json";
    let kept = site.sh(node, &format!("cat {anchor}"))?;
    for by_agent in ["cat", "tee"] {
        let by_agent = in_the_sandbox(&format!("{by_agent} {anchor} < /dev/null"));
        let answer = site.try_sh(node, &by_agent)?;
        ensure!(answer.code != 0, "the sandbox is open: {answer:?}");
    }
    ensure!(site.sh(node, &format!("cat {anchor}"))? == kept);
    site.sh(node, "systemctl restart hamesh-apply")?;
    until(
        "nothing was refused since it was started anew",
        PATIENCE,
        || {
            let state = role_of(site, node)?;
            ensure!(state.refused == 0, "{state:?}");
            Ok(())
        },
    )?;
    until_as_wanted(site, &OUTER)
}

/// Later than any, and harmless.
fn order() -> Result<v1::RoleOrder> {
    let desired = Desired {
        resources: vec![Resource::File(File {
            path: FORGED.to_owned(),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode: 0o644,
            content: Content::plain("forged\n"),
            comment: "#".to_owned(),
            validate: Vec::new(),
            live: None,
        })],
        ..Desired::default()
    };
    Ok(v1::RoleOrder {
        digest: desired.digest().to_string(),
        assignment: Some(v1::AssignmentId {
            incarnation: u64::MAX,
            generation: u64::MAX,
        }),
        desired: serde_json::to_vec(&desired)?,
        ..v1::RoleOrder::default()
    })
}

/// Hands a message to the executor; gives what it said.
fn hand_over(site: &Site, node: &str, kind: Kind) -> Result<String> {
    let request = v1::ApplyRequest { kind: Some(kind) };
    let mut framed = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(wire::write(&mut framed, &request))?;
    let hex = hamesh_proto::hex::encode(&framed);
    site.sh_fed(node, &in_the_sandbox(HAND_OVER), &hex)
}

/// Where the agent is: root's user, and what it may write.
fn in_the_sandbox(script: &str) -> String {
    format!(
        "exec nsenter --mount --target $(systemctl show -P MainPID hamesh-agent.service) {script}"
    )
}
