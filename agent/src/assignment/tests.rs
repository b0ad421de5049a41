//! What is read is valid, what is in force never goes back, what lies on disk is read.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn wire(incarnation: u64, generation: u64) -> v1::Assignment {
    let member = |node: &str, gossip: &str| v1::Member {
        node: node.to_owned(),
        role: "database".to_owned(),
        gossip: gossip.to_owned(),
        leases: gossip.replace("7445", "7450"),
    };
    v1::Assignment {
        id: Some(v1::AssignmentId {
            incarnation,
            generation,
        }),
        site: "thirteen".to_owned(),
        node: "database-1".to_owned(),
        role: "database".to_owned(),
        members: vec![
            member("database-1", "192.168.56.51:7445"),
            member("database-2", "192.168.56.52:7445"),
        ],
        coordinators: vec![v1::CoordinatorEndpoint {
            node: "control-1".to_owned(),
            api: "192.168.56.31:7443".to_owned(),
            enrolment: "192.168.56.31:7444".to_owned(),
            leases: "192.168.56.31:7443".to_owned(),
        }],
        revoked_serials: vec!["0abc".to_owned()],
        claims: vec![v1::Claim {
            name: "vip/db".to_owned(),
            addresses: vec!["192.168.56.50".to_owned(), "fd00::50".to_owned()],
            ttl_ms: 350,
            checks: vec![check()],
            candidates: vec!["database-1".to_owned(), "database-2".to_owned()],
            beside: true,
        }],
        proof: vec![],
        part: Some(part()),
    }
}

fn part() -> v1::SitePart {
    let place = v1::Place {
        network: "trust".to_owned(),
        cidr: "192.168.56.0/24".to_owned(),
        address: "192.168.56.51".to_owned(),
    };
    let terms = v1::VipTerms {
        claim: "vip/db".to_owned(),
        networks: vec!["trust".to_owned()],
        role: "database".to_owned(),
        prefer: vec!["database-2".to_owned()],
        fail_back_ms: Some(5_000),
        held_by: "both on database-1".to_owned(),
    };
    v1::SitePart {
        management_network: "trust".to_owned(),
        places: vec![place],
        vips: vec![terms],
    }
}

#[test]
fn an_assignment_is_told_as_it_came() {
    assert_eq!(v1::Assignment::from(&assignment(3, 4)), wire(3, 4));
}

fn check() -> v1::Check {
    let address = "127.0.0.1:5432".to_owned();
    v1::Check {
        name: "tcp 127.0.0.1:5432".to_owned(),
        kind: Some(v1::check::Kind::Tcp(v1::TcpCheck { address })),
        every_ms: 500,
        timeout_ms: 250,
        rise: 2,
        fall: 3,
        degrades: true,
    }
}

fn assignment(incarnation: u64, generation: u64) -> Assignment {
    wire(incarnation, generation)
        .try_into()
        .expect("a valid assignment")
}

fn judge(offered: &Assignment, present: Option<&Assignment>) -> Result<(), Refusal> {
    let site = "thirteen".parse().expect("a site name");
    let node = "database-1".parse().expect("a node name");
    offered.supersedes(present, &site, &node)
}

proptest! {
    #[test]
    fn invariant_what_is_in_force_never_goes_back(
        ids in prop::collection::vec((0u64..4, 0u64..6), 1..40),
    ) {
        let mut present: Option<Assignment> = None;
        for (incarnation, generation) in ids {
            let offered = assignment(incarnation, generation);
            let before = present.as_ref().map(|present| present.id);
            match judge(&offered, present.as_ref()) {
                Ok(()) => present = Some(offered),
                Err(refusal) => {
                    let present = before.expect("only a present one can refuse");
                    prop_assert_eq!(refusal, Refusal::Older { offered: offered.id, present });
                }
            }
            prop_assert!(present.as_ref().map(|present| present.id) >= before);
        }
    }
}

#[test]
fn the_incarnation_precedes_the_generation() {
    assert!(judge(&assignment(2, 1), Some(&assignment(1, 99))).is_ok());
    assert!(judge(&assignment(1, 99), Some(&assignment(2, 1))).is_err());
    assert!(
        judge(&assignment(2, 1), Some(&assignment(2, 1))).is_ok(),
        "repeated"
    );
}

#[test]
fn another_site_or_another_node_is_refused_even_when_newer() {
    let mut other = assignment(9, 9);
    other.site = "elsewhere".parse().expect("a site name");
    assert!(matches!(
        judge(&other, None),
        Err(Refusal::OtherSite { .. })
    ));
    let mut other = assignment(9, 9);
    other.node = "database-2".parse().expect("a node name");
    assert!(matches!(
        judge(&other, None),
        Err(Refusal::OtherNode { .. })
    ));
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    type Spoil = fn(&mut v1::Assignment);
    let cases: [(&str, Spoil); 18] = [
        ("id", |wire| wire.id = None),
        ("site", |wire| wire.site = "Not A Site".to_owned()),
        ("node", |wire| wire.node = String::new()),
        ("members.node", |wire| wire.members[0].node = "-".to_owned()),
        ("members.gossip", |wire| {
            wire.members[0].gossip = "192.168.56.51".to_owned()
        }),
        ("coordinators.api", |wire| {
            wire.coordinators[0].api = "control-1".to_owned()
        }),
        ("coordinators.enrolment", |wire| {
            wire.coordinators[0].enrolment.clear()
        }),
        ("members.leases", |wire| {
            wire.members[0].leases = "nowhere".to_owned()
        }),
        ("coordinators.leases", |wire| {
            wire.coordinators[0].leases = ":7443".to_owned()
        }),
        ("claims.name", |wire| wire.claims[0].name = "db".to_owned()),
        ("claims.name", |wire| {
            wire.claims.push(wire.claims[0].clone())
        }),
        ("claims.addresses", |wire| wire.claims[0].addresses.clear()),
        ("claims.addresses", |wire| {
            wire.claims[0].addresses[0] = "192.168.56.50/24".to_owned()
        }),
        ("claims.ttl_ms", |wire| wire.claims[0].ttl_ms = 99),
        ("claims.ttl_ms", |wire| wire.claims[0].ttl_ms = u64::MAX),
        ("claims.candidates", |wire| {
            wire.claims[0].candidates.remove(0);
        }),
        ("claims.checks", |wire| wire.claims[0].checks[0].rise = 0),
        ("claims.checks", |wire| {
            wire.claims[0].checks = vec![check(); 33]
        }),
    ];
    for (named, spoil) in cases {
        let mut spoilt = wire(1, 1);
        spoil(&mut spoilt);
        match Assignment::try_from(spoilt) {
            Err(Refusal::Invalid { field, .. }) => assert_eq!(field, named),
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[test]
fn an_assignment_on_disk_is_read_back_unchanged() {
    let assignment = assignment(3, 7);
    let text = serde_json::to_string(&assignment).expect("serialisable");
    let back: Assignment = serde_json::from_str(&text).expect("readable");
    assert_eq!(back, assignment);
}

#[test]
fn what_is_told_of_a_claim_is_read_whole() {
    let read = assignment(1, 1);
    let claim = &read.claims[0];
    assert_eq!(claim.id.as_str(), "vip/db");
    assert_eq!(claim.ttl, std::time::Duration::from_millis(350));
    let addresses: [IpAddr; 2] =
        ["192.168.56.50", "fd00::50"].map(|ip| ip.parse().expect("an address"));
    assert_eq!(claim.addresses, addresses);
    assert_eq!(claim.candidates.len(), 2);
    assert_eq!(claim.checks[0].fall, 3);
    assert_eq!(claim.checks[0].kind.to_string(), "tcp 127.0.0.1:5432");
    let member = &read.members[claim.candidates.first().expect("two")];
    let leases = "192.168.56.51:7450".parse().expect("an address");
    assert_eq!(member.leases, Some(leases));
}

#[test]
fn a_coordinator_that_does_not_say_where_its_leases_are_has_none() {
    let mut old = wire(1, 1);
    old.members[0].leases.clear();
    old.coordinators[0].leases.clear();
    let read = Assignment::try_from(old).expect("a valid assignment");
    assert_eq!(read.coordinators[0].leases, None);
    let member = read.members.values().next().expect("a member");
    assert_eq!(member.leases, None);
}

#[test]
fn what_an_older_version_left_on_disk_is_read() {
    let text = r#"{
        "id": {"incarnation": 1, "generation": 4},
        "site": "thirteen",
        "node": "database-1",
        "role": "database",
        "members": {"database-1": {"role": "database", "gossip": "192.168.56.51:7445"}},
        "coordinators": [{
            "node": "control-1",
            "api": "192.168.56.31:7443",
            "enrolment": "192.168.56.31:7444"
        }],
        "revoked_serials": ["0abc"]
    }"#;
    let read: Assignment = serde_json::from_str(text).expect("readable");
    assert_eq!(read.id.generation, 4);
    assert_eq!((read.claims.len(), read.coordinators[0].leases), (0, None));
}
