//! What is left of an interrupted plan is exactly its rest, and a plan says why.

use std::collections::BTreeSet;

use super::*;
use model::{Machine, every_prefix_leaves_the_rest};

fn file(path: &str, text: &str) -> Resource {
    Resource::File(File {
        path: path.to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o644,
        content: Content::plain(text),
        comment: "#".to_owned(),
        validate: Vec::new(),
        live: None,
    })
}

fn unit(name: &str, reads: &[&Resource]) -> Resource {
    Resource::Unit(Unit {
        name: name.to_owned(),
        reads: reads.iter().map(|it| it.id()).collect(),
        reloads: true,
    })
}

fn certificate(issue: u64) -> Resource {
    Resource::Certificate(Certificate {
        name: "edge".to_owned(),
        certificate: "/etc/edge.pem".to_owned(),
        key: "/etc/edge.pem.key".to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        dns: BTreeSet::from(["www".to_owned()]),
        ips: BTreeSet::new(),
        issue,
        live: Some(Live {
            unit: "web.service".to_owned(),
            socket: "/run/web.sock".to_owned(),
            trusts: false,
        }),
    })
}

/// One of each kind.
fn everything(text: &str, issue: u64) -> Desired {
    let config = file("/etc/web.cfg", text);
    let certificate = certificate(issue);
    let web = unit("web.service", &[&config, &certificate]);
    let resources = vec![
        Resource::Package(Package {
            name: "web".to_owned(),
            version: Some("1.0".to_owned()),
        }),
        Resource::Module {
            name: "nf_conntrack".to_owned(),
        },
        Resource::Sysctl {
            key: "net.ipv4.ip_forward".to_owned(),
            value: "0".to_owned(),
        },
        Resource::Mount(Mount {
            path: "/srv".to_owned(),
            source: "/dev/vdb".to_owned(),
            fstype: "ext4".to_owned(),
            options: "noatime".to_owned(),
        }),
        Resource::User(User {
            name: "web".to_owned(),
            home: "/srv".to_owned(),
            groups: BTreeSet::new(),
        }),
        Resource::Directory(Directory {
            path: "/srv/data".to_owned(),
            owner: "web".to_owned(),
            group: "web".to_owned(),
            mode: 0o700,
            data: true,
        }),
        config,
        certificate,
        Resource::Table(Table {
            family: "inet".to_owned(),
            name: "wall".to_owned(),
            rules: format!("table inet wall {{ }} # {text}"),
            path: "/etc/wall.nft".to_owned(),
        }),
        Resource::Command(Command {
            name: "index".to_owned(),
            argv: vec!["index".to_owned()],
            unless: vec!["indexed".to_owned()],
            undo: Vec::new(),
        }),
        web,
    ];
    Desired {
        role: None,
        resources,
        gates: vec![Gate {
            name: "web answers".to_owned(),
            probe: Probe::Active {
                unit: "web.service".to_owned(),
            },
            within_ms: 1000,
        }],
        lifelines: Vec::new(),
        purge_data: false,
    }
}

#[test]
fn a_plan_interrupted_after_any_step_leaves_exactly_its_rest() {
    let (old, new) = (everything("old", 1), everything("new", 2));
    let nothing = Desired::default();
    let built = Machine::default().with(&old);
    let mut purged = nothing.clone();
    purged.purge_data = true;
    for (machine, desired) in [
        (&Machine::default(), &old),
        (&built, &old),
        (&built, &new),
        (&built, &everything("old", 2)),
        (&built, &everything("new", 1)),
        (&built, &nothing),
        (&built, &purged),
    ] {
        every_prefix_leaves_the_rest(machine, desired);
    }
}

#[test]
fn whatever_drifts_is_put_back_step_by_step() {
    let desired = everything("old", 1);
    let built = Machine::default().with(&desired);
    for resource in &desired.resources {
        let drifted = built.clone().without(&resource.id());
        let plan = drifted.plan(&desired);
        assert!(plan.steps.len() >= 2, "{} is not put back", resource.id());
        every_prefix_leaves_the_rest(&drifted, &desired);
    }
    let mut unloaded = built.clone();
    unloaded.forget_loaded("web.service");
    let plan = unloaded.plan(&desired);
    assert_eq!(plan.steps[0].action.verb(), "reload");
}

fn told(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[test]
fn a_certificate_alone_is_handed_over_and_with_more_it_is_read_anew() {
    let built = Machine::default().with(&everything("old", 1));
    assert_eq!(
        told(&built.plan(&everything("old", 2))),
        [
            "issue certificate edge: differs in what it certifies",
            "hand certificate edge to web.service: it runs with what that held before",
            "prove: web answers",
        ]
    );
    let both = told(&built.plan(&everything("new", 2)));
    assert!(
        both.contains(
            &"reload unit web.service: to read file /etc/web.cfg, certificate edge".into()
        )
    );
    assert!(
        both.iter().all(|step| !step.starts_with("hand ")),
        "{both:?}"
    );
}

#[test]
fn who_takes_a_certificate_up_is_no_reason_for_another_one() {
    let Resource::Certificate(live) = certificate(1) else {
        panic!("a certificate");
    };
    let mut other = live.clone();
    other.live = None;
    assert_eq!(live.profile(), other.profile());
    other.issue = 2;
    assert_ne!(live.profile(), other.profile());
}

#[test]
fn a_second_plan_of_the_same_is_empty() {
    let desired = everything("old", 1);
    let built = Machine::default().with(&desired);
    assert_eq!(built.plan(&desired), Plan::default());
}

#[test]
fn what_could_not_be_looked_at_is_left_alone_and_named() {
    let desired = everything("old", 1);
    let mut observed = Machine::default().observe(&desired);
    let id = ResourceId::file("/etc/web.cfg");
    let unknown = Seen::Unknown("permission denied".to_owned());
    observed.seen.insert(id.clone(), unknown);
    let plan = plan(&desired, &observed, &Owned::default());
    assert_eq!(plan.unknown, [(id.clone(), "permission denied".to_owned())]);
    assert!(
        plan.steps
            .iter()
            .all(|step| step.subject() != Some(id.clone()))
    );
}

#[test]
fn data_outlives_its_role_unless_it_is_purged() {
    let built = Machine::default().with(&everything("old", 1));
    let data = Some(ResourceId::from_text("directory /srv/data"));
    let mut nothing = Desired::default();
    let removes = |plan: Plan| plan.steps.iter().any(|step| step.subject() == data);
    assert!(!removes(built.plan(&nothing)));
    nothing.purge_data = true;
    assert!(removes(built.plan(&nothing)));
}

#[test]
fn a_plan_is_told_with_reasons_and_without_secrets() {
    let mut desired = everything("line 1\nline 2\n", 1);
    let built = Machine::default().with(&desired);
    let Resource::File(config) = &mut desired.resources[6] else {
        panic!("the file has moved");
    };
    config.content = Content::plain("line 1\nline two\n");
    let plan = built.plan(&desired);
    assert_eq!(
        told(&plan),
        [
            "write file /etc/web.cfg: differs in content",
            "reload unit web.service: to read file /etc/web.cfg",
            "prove: web answers",
        ]
    );
    assert_eq!(plan.steps[0].change, ["  line 1", "- line 2", "+ line two"]);

    let Resource::File(config) = &mut desired.resources[6] else {
        panic!("the file has moved");
    };
    config.content = Content::secret("password");
    let plan = built.plan(&desired);
    assert_eq!(plan.steps[0].change, [""; 0]);
    assert!(!format!("{plan:?}").contains("password"));
}
