//! Whose orders count, and which of them.

use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{CertificateAuthority, NODE_VALID, Profile, Subject};
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::orders::{self, OrderError, Purpose};
use hamesh_proto::v1;

use super::order;
use crate::apply::anchor::Anchor;
use crate::apply::decide::Refusal;
use hamesh_roles::engine::Desired;

/// A site that has what the node `edge-1` asks of it.
pub struct Site(CertificateAuthority);

impl Site {
    pub fn new() -> Self {
        let site = "thirteen".parse().expect("a name");
        let now = SystemTime::now();
        Self(CertificateAuthority::create(&site, "site CA", now))
    }

    /// Credentials of `path`, issued some time ago, with the CA of here and others.
    fn issued(&self, path: &str, ago: Duration, others: &[&Site]) -> Credentials {
        let key = PrivateKey::generate();
        let id = format!("spiffe://thirteen/{path}");
        let profile = Profile {
            subject: Subject::Spiffe(id.parse().expect("an identity")),
            dns: Vec::new(),
            ips: Vec::new(),
            valid: NODE_VALID,
        };
        let issued = self
            .0
            .issue(&key.csr_der(), &profile, SystemTime::now() - ago);
        let cas = std::iter::once(self).chain(others.iter().copied());
        let cas = cas.map(|site| site.0.certificate_der().to_vec());
        Credentials::new(key, issued.expect("issued").der, cas.collect()).expect("they fit")
    }

    pub fn credentials(&self, path: &str) -> Credentials {
        self.issued(path, Duration::ZERO, &[])
    }

    pub fn anchor(&self) -> Anchor {
        Anchor::of(&self.credentials("agent/edge-1")).expect("a node's")
    }

    pub fn sign(&self, purpose: Purpose, order: &v1::RoleOrder) -> v1::SignedRole {
        sign(&self.credentials("coordinator/control-1"), purpose, order)
    }
}

fn sign(by: &Credentials, purpose: Purpose, order: &v1::RoleOrder) -> v1::SignedRole {
    let node = "edge-1".parse().expect("a name");
    orders::sign(by, purpose, &node, order)
}

fn numbered(incarnation: u64, epoch: u64, number: u64) -> v1::RoleOrder {
    v1::RoleOrder {
        assignment: Some(v1::AssignmentId {
            incarnation,
            generation: 1,
        }),
        epoch,
        number,
        ..order(&Desired::default(), 1, 0)
    }
}

#[test]
fn what_came_before_one_that_was_taken_is_refused_and_that_one_is_not() {
    let site = Site::new();
    let judge = |anchor: &Anchor, order: &v1::RoleOrder| {
        let signed = site.sign(Purpose::Order, order);
        anchor.judge(&signed, Purpose::Order, SystemTime::now())
    };
    let taken = judge(&site.anchor(), &numbered(1, 2, 5)).expect("the first");
    let anchor = site.anchor().after(&taken);
    for (order, taken) in [
        (numbered(1, 2, 4), false),
        (numbered(1, 2, 5), true),
        (numbered(1, 2, 6), true),
        (numbered(1, 1, 9), false),
        (numbered(1, 3, 1), true),
        (numbered(0, 9, 9), false),
        (numbered(2, 1, 1), true),
    ] {
        let judged = judge(&anchor, &order);
        assert_eq!(judged.is_ok(), taken, "{judged:?}");
        let outdated = matches!(judged, Err(Refusal::Outdated { .. }));
        assert_eq!(outdated, !taken, "{judged:?}");
    }
}

#[test]
fn a_question_is_no_order_and_an_order_is_no_question() {
    let (site, order) = (Site::new(), numbered(1, 1, 1));
    for (is, taken_for) in [
        (Purpose::Question, Purpose::Order),
        (Purpose::Order, Purpose::Question),
    ] {
        let signed = site.sign(is, &order);
        let judged = site.anchor().judge(&signed, taken_for, SystemTime::now());
        assert_eq!(judged, Err(OrderError::Signature.into()));
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let (site, order) = (Site::new(), numbered(1, 1, 1));
    let week = NODE_VALID + Duration::from_secs(3600);
    for (by, parts) in [
        (
            site.credentials("agent/edge-1"),
            [
                "agent/edge-1, which is no coordinator",
                "remove it from the site",
            ],
        ),
        (
            Site::new().credentials("coordinator/control-1"),
            ["not from a CA of this site", "enroll --replace"],
        ),
        (
            site.issued("coordinator/control-1", week, &[]),
            ["expired", "compare the clocks"],
        ),
    ] {
        let signed = sign(&by, Purpose::Order, &order);
        let judged = site
            .anchor()
            .judge(&signed, Purpose::Order, SystemTime::now());
        let why = judged.expect_err("refused").to_string();
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    }
}

#[test]
fn another_ca_is_believed_once_a_coordinator_that_is_believed_says_so() {
    let (old, new) = (Site::new(), Site::new());
    let now = SystemTime::now();
    let by_new = new.sign(Purpose::Order, &numbered(1, 2, 2));
    let anchor = old.anchor();
    assert!(anchor.judge(&by_new, Purpose::Order, now).is_err());
    let both = old.issued("coordinator/control-1", Duration::ZERO, &[&new]);
    let told = sign(&both, Purpose::Order, &numbered(1, 1, 1));
    let told = anchor.judge(&told, Purpose::Order, now).expect("believed");
    let anchor = anchor.after(&told);
    let told = anchor.judge(&by_new, Purpose::Order, now);
    let anchor = anchor.after(&told.expect("believed by now"));
    let by_old = old.sign(Purpose::Order, &numbered(1, 3, 3));
    assert!(
        anchor.judge(&by_old, Purpose::Order, now).is_err(),
        "the old one is out"
    );
}
