//! A healthy site and one in every kind of trouble, at a fixed time.

use hamesh_proto::v1;

/// 2026-11-22T18:43:15Z
pub(super) const NOW: u64 = 1_795_372_995_000;
pub(super) const SECOND: u64 = 1000;
pub(super) const DAY: u64 = 86_400 * SECOND;

pub(super) fn id(generation: u64) -> Option<v1::AssignmentId> {
    Some(v1::AssignmentId {
        incarnation: 1,
        generation,
    })
}

pub(super) fn health() -> v1::Health {
    let disk = |mount: &str, available_bytes| v1::Disk {
        mount: mount.into(),
        total_bytes: 20 << 30,
        available_bytes,
    };
    v1::Health {
        load1: 0.127,
        cpus: 2,
        memory_total_bytes: 2 << 30,
        memory_available_bytes: 3 << 29,
        disks: vec![disk("/", 15 << 30), disk("/data", 19 << 30)],
        clock_offset_ms: 2,
        clock_peers: 12,
        uptime_s: 3 * 86_400 + 7,
        ..Default::default()
    }
}

pub(super) fn node(
    name: &str,
    role: &str,
    state: v1::NodeState,
    health: v1::Health,
) -> v1::NodeStatus {
    let facts = v1::Facts {
        node: name.into(),
        started_unix_ms: NOW - DAY,
        version: "0.1.0".into(),
        role: role.into(),
        applied: id(14),
        health: Some(health),
        interfaces: vec![v1::Interface {
            name: "trust".into(),
            up: true,
            mac: "02:00:00:00:00:01".into(),
            addresses: vec!["192.168.56.41/24".into()],
        }],
        certificate_expires_unix_ms: NOW + 6 * DAY,
        kernel: "6.1.0-18-amd64".into(),
        boot_id: "5b7c0f4e-0000-4000-8000-000000000001".into(),
        ..Default::default()
    };
    v1::NodeStatus {
        node: name.into(),
        role: role.into(),
        addresses: vec!["192.168.56.41".into()],
        state: state.into(),
        reason: "its session is open and 12 of 12 members hear it".into(),
        state_since_unix_ms: NOW - 3 * 3600 * SECOND,
        session: state == v1::NodeState::Alive,
        seen_by: 12,
        seen_of: 12,
        facts: Some(facts),
        applied: id(14),
        certificate_expires_unix_ms: NOW + 6 * DAY,
        re_enrol_open_until_unix_ms: 0,
        drained: false,
        role_state: None,
    }
}

pub(super) fn event(number: u64, kind: &str, node: &str, text: &str, actor: &str) -> v1::Event {
    v1::Event {
        number,
        at_unix_ms: NOW - (50 - number) * 7 * SECOND,
        kind: kind.into(),
        node: node.into(),
        text: text.into(),
        actor: actor.into(),
    }
}

pub(super) fn some_calls() -> Vec<v1::AuditEntry> {
    let call = |number, actor: &str, call: &str, request: &str, (result, told): (&str, &str)| {
        v1::AuditEntry {
            number,
            at_unix_ms: NOW - (10 - number) * 60 * SECOND,
            actor: actor.to_owned(),
            certificate: "4f1e22a0".to_owned(),
            call: call.to_owned(),
            request: request.to_owned(),
            result: result.to_owned(),
            told: told.to_owned(),
        }
    };
    let viewer = "bob is a viewer and may only look; nothing was changed; ask an admin";
    let (done, refused) = (("done", ""), ("refused", viewer));
    let lost = ("unknown", "it did not end, or has not yet");
    vec![
        call(
            7,
            "operator/ada",
            "Operators/CreateToken",
            "for node-3, for 3600 s",
            done,
        ),
        call(
            8,
            "operator/bob",
            "Claims/Drain",
            "node-1\u{1b}[2J",
            refused,
        ),
        call(
            9,
            "operator/ada",
            "Claims/Move",
            "vip/edge to the best other node",
            lost,
        ),
    ]
}

pub(super) fn some_events() -> Vec<v1::Event> {
    let coordinator = "coordinator/control-1";
    vec![
        event(
            40,
            "site.applied",
            "",
            "generation 14: 1 change",
            "operator/ada",
        ),
        event(
            41,
            "token.created",
            "node-3",
            "token 7f3a, for 1h",
            "operator/ada",
        ),
        event(
            48,
            "node.dead",
            "node-2",
            "its session ended\u{1b}[2J, 0 of 11 hear it",
            coordinator,
        ),
        event(
            49,
            "node.alive",
            "node-1",
            "its session is open",
            coordinator,
        ),
    ]
}

pub(super) fn healthy() -> v1::SiteStatus {
    let nodes = [
        ("haproxy-ext-1", "edge-proxy"),
        ("control-1", "k8s-control"),
        ("node-1", ""),
    ];
    v1::SiteStatus {
        backups: None,
        given_certificates: vec![certificate("edge-proxy/certificate", 40)],
        coordinators: Vec::new(),
        claims: vec![
            held("vip/edge", "haproxy-ext-1"),
            held("vip/internal", "haproxy-int-2"),
        ],
        site: "thirteen".into(),
        coordinator: "control-1".into(),
        coordinator_version: "0.1.0".into(),
        desired: id(14),
        epoch: 3,
        nodes: nodes
            .map(|(n, role)| node(n, role, v1::NodeState::Alive, health()))
            .into(),
        last_events: some_events(),
        key_ring_version: 2,
        ca_expires_unix_ms: NOW + 3650 * DAY,
        store: Some(v1::StoreStatus {
            healthy: true,
            problem: String::new(),
            version: "3.4.23".into(),
            size_bytes: 1_300_000,
            members: 1,
        }),
        now_unix_ms: NOW,
    }
}

/// Everything that can be wrong, each on some node.
pub(super) fn troubled() -> v1::SiteStatus {
    let mut status = healthy();
    status.store = Some(v1::StoreStatus {
        healthy: false,
        problem: "etcdserver: no leader".into(),
        ..Default::default()
    });
    status.ca_expires_unix_ms = NOW + 20 * DAY;
    status.given_certificates = vec![certificate("edge-proxy/certificate", 9)];
    let mut dead = node("node-2", "k8s-worker", v1::NodeState::Dead, health());
    dead.reason = "its session ended 32 s ago and 0 of 11 members hear it".into();
    dead.state_since_unix_ms = NOW - 32 * SECOND;
    (dead.seen_by, dead.seen_of, dead.certificate_expires_unix_ms) = (0, 11, NOW - 2 * DAY);
    if let Some(facts) = &mut dead.facts {
        facts.certificate_expires_unix_ms = NOW - 2 * DAY;
    }
    dead.re_enrol_open_until_unix_ms = NOW + 1800 * SECOND;
    let mut suspect = node(
        "node-3",
        "k8s-worker",
        v1::NodeState::Suspect,
        v1::Health {
            failed_units: vec!["kubelet.service".into(), "iscsid.service".into()],
            clock_offset_ms: -1500,
            memory_available_bytes: 1 << 20,
            ..health()
        },
    );
    suspect.reason = "its session ended 2 s ago, but 11 of 11 members hear it".into();
    suspect.state_since_unix_ms = NOW - 2 * SECOND;
    let mut behind = node(
        "database-1",
        "database",
        v1::NodeState::Alive,
        v1::Health {
            units_unknown: "no answer from systemd".into(),
            clock_peers: 0,
            disks: vec![v1::Disk {
                mount: "/".into(),
                total_bytes: 100,
                available_bytes: 9,
            }],
            ..health()
        },
    );
    behind.applied = id(13);
    behind.certificate_expires_unix_ms = NOW + DAY;
    if let Some(facts) = &mut behind.facts {
        facts.version = "0.0.9".into();
        facts.database = v1::DatabaseState::Replica.into();
        facts.certificate_expires_unix_ms = 0;
    }
    let bare = |name: &str, state: v1::NodeState| v1::NodeStatus {
        node: name.into(),
        role: "database".into(),
        state: state.into(),
        ..Default::default()
    };
    status.nodes[0].drained = true;
    status.nodes[0].role_state = Some(distrustful());
    status.claims = troubled_claims();
    status.nodes.extend([
        dead,
        suspect,
        behind,
        bare("database-2", v1::NodeState::NotEnrolled),
        bare("database-3", v1::NodeState::Unknown),
    ]);
    status
}

fn certificate(name: &str, days: u64) -> v1::ServiceCertificate {
    v1::ServiceCertificate {
        name: name.into(),
        expires_unix_ms: NOW + days * DAY,
    }
}

/// A node that has what its role asks, and was given what no coordinator signed.
pub(super) fn distrustful() -> v1::NodeRole {
    let refused = v1::RoleRefusal {
        why: "it is not what its signer signed; no coordinator sent it so\u{1b}".into(),
        count: 2,
        ..Default::default()
    };
    let report = v1::RoleReport {
        phase: v1::RolePhase::Done.into(),
        refused: Some(refused),
        certificates: vec![certificate("edge", 29)],
        ..Default::default()
    };
    v1::NodeRole {
        node: "haproxy-ext-1".into(),
        role: "edge-proxy".into(),
        place: v1::RolePlace::AsWanted.into(),
        report: Some(report),
        settled: true,
        ..Default::default()
    }
}

pub(super) fn held(claim: &str, holder: &str) -> v1::ClaimStatus {
    v1::ClaimStatus {
        claim: claim.into(),
        addresses: vec!["192.168.30.130".into()],
        holder: holder.into(),
        grant: "1.7#3".into(),
        since_unix_ms: NOW - 3 * 3600 * SECOND,
        remaining_ms: 312,
        ttl_ms: 350,
        reason: format!("an operator asked for {holder}"),
        part: v1::ClaimPart::Holding.into(),
        ..Default::default()
    }
}

/// Everything that can be wrong with claims.
pub(super) fn troubled_claims() -> Vec<v1::ClaimStatus> {
    let vacant = v1::ClaimStatus {
        holder: String::new(),
        grant: String::new(),
        remaining_ms: 0,
        paused: true,
        reason: "the lease of a ran out; b is drained".into(),
        awaited: vec!["node-2".into()],
        gathering: false,
        ..held("vip/a", "")
    };
    let kept = v1::ClaimStatus {
        keeps: "is failed, and no other is better".into(),
        duplicate_macs: vec!["02:00:00:00:00:99".into()],
        ..held("vip/b", "node-3")
    };
    let moving = v1::ClaimStatus {
        moving: "the holder is drained".into(),
        ..held("vip/c", "haproxy-ext-1")
    };
    let part = |claim: &str, part: v1::ClaimPart| v1::ClaimStatus {
        part: part.into(),
        ..held(claim, "node-1")
    };
    let (alone, glass) = (v1::ClaimPart::HoldingAlone, v1::ClaimPart::BreakGlass);
    vec![
        vacant,
        kept,
        moving,
        part("vip/d", alone),
        part("vip/e", glass),
    ]
}

pub(super) fn explained() -> v1::ClaimExplanation {
    let candidate = |node: &str, health: &str, why_not: &str| v1::Candidate {
        node: node.into(),
        health: health.into(),
        why_not: why_not.into(),
        ..Default::default()
    };
    let moved = |ago_s: u64, from: &str, to: &str, reason: &str| v1::ClaimMove {
        at_unix_ms: NOW - ago_s * SECOND,
        from: from.into(),
        to: to.into(),
        reason: reason.into(),
    };
    v1::ClaimExplanation {
        status: Some(held("vip/edge", "haproxy-ext-1")),
        candidates: vec![
            v1::Candidate {
                holds: true,
                ..candidate("haproxy-ext-1", "healthy", "")
            },
            candidate("haproxy-ext-2", "healthy", ""),
            v1::Candidate {
                health_reason: "process haproxy.service: not running".into(),
                ..candidate(
                    "haproxy-ext-3",
                    "failed",
                    "is failed, and haproxy-ext-2 is better",
                )
            },
            candidate("haproxy-ext-4", "", "was never heard"),
        ],
        moves: vec![
            moved(
                10_800,
                "haproxy-ext-2",
                "haproxy-ext-1",
                "an operator asked for haproxy-ext-1",
            ),
            moved(
                90_000,
                "",
                "haproxy-ext-2",
                "the lease of haproxy-ext-1 ran out",
            ),
            moved(
                90_002,
                "haproxy-ext-1",
                "",
                "the lease of haproxy-ext-1 ran out",
            ),
        ],
        group_version: 2,
    }
}
