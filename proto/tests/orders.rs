//! Signed orders: only a coordinator of the node's own site says what a node is to have.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod support;

use std::time::{Duration, SystemTime};

use hamesh_proto::ca::NODE_VALID;
use hamesh_proto::credentials::{ChainError, Credentials, TrustBundle};
use hamesh_proto::orders::{self, Believer, OrderError, Purpose};
use hamesh_proto::v1;
use proptest::prelude::*;
use support::Site;

fn order() -> v1::RoleOrder {
    v1::RoleOrder {
        digest: "d".repeat(64),
        desired: b"{\"purge_data\":false}".to_vec(),
        epoch: 3,
        number: 9,
        ..v1::RoleOrder::default()
    }
}

fn sign(credentials: &Credentials) -> v1::SignedRole {
    orders::sign(
        credentials,
        Purpose::Order,
        &"edge-1".parse().unwrap(),
        &order(),
    )
}

/// As the node `name` of the site takes it.
fn verify(
    signed: &v1::SignedRole,
    site: &Site,
    name: &str,
) -> Result<v1::RoleStatement, OrderError> {
    let trust = TrustBundle::new(vec![site.ca.certificate_der().to_vec()]).unwrap();
    let believer = Believer {
        trust: &trust,
        site: &site.name.parse().unwrap(),
        node: &name.parse().unwrap(),
    };
    orders::verify(signed, Purpose::Order, believer, SystemTime::now())
}

#[test]
fn an_order_of_a_coordinator_is_believed_whole() {
    let site = Site::new("thirteen");
    let statement = verify(
        &sign(&site.credentials("coordinator/control-1")),
        &site,
        "edge-1",
    );
    let statement = statement.unwrap();
    assert_eq!(statement.order, Some(order()));
    assert_eq!(statement.ca_der, [site.ca.certificate_der().to_vec()]);
}

#[test]
fn nobody_else_is_believed() {
    let (site, foreign) = (Site::new("thirteen"), Site::new("thirteen"));
    for path in ["agent/edge-1", "agent/control-1", "operator/ada"] {
        let why = OrderError::OtherSigner {
            signer: site.id(path),
            site: "thirteen".parse().unwrap(),
        };
        let judged = verify(&sign(&site.credentials(path)), &site, "edge-1");
        assert_eq!(judged, Err(why), "{path}");
    }
    let day = Duration::from_secs(24 * 3600);
    let later = SystemTime::now() + day;
    for (what, signer, why) in [
        (
            "another CA of the same name",
            foreign.credentials("coordinator/control-1"),
            ChainError::UnknownCa,
        ),
        (
            "a certificate that is not valid yet",
            site.issued_at("coordinator/control-1", later, NODE_VALID),
            ChainError::NotYetValid,
        ),
    ] {
        let judged = verify(&sign(&signer), &site, "edge-1");
        assert_eq!(judged, Err(why.into()), "{what}");
    }
    let expired = sign(&site.expired("coordinator/control-1"));
    let expired = verify(&expired, &site, "edge-1");
    assert!(
        matches!(expired, Err(OrderError::Chain(ChainError::Expired { .. }))),
        "{expired:?}"
    );
}

#[test]
fn what_its_signer_did_not_sign_for_this_is_not_believed() {
    let site = Site::new("thirteen");
    let own = site.credentials("coordinator/control-1");
    let node = "edge-1".parse().unwrap();
    let question = orders::sign(&own, Purpose::Question, &node, &order());
    let borrowed = v1::SignedRole {
        certificate_der: own.leaf_der().to_vec(),
        ..sign(&site.credentials("agent/edge-1"))
    };
    let mut cut = sign(&own);
    cut.signature.truncate(8);
    for (what, signed) in [
        ("a question", question),
        ("a coordinator's certificate, without its key", borrowed),
        ("another signature", cut),
        (
            "none",
            v1::SignedRole {
                signature: Vec::new(),
                ..sign(&own)
            },
        ),
    ] {
        let judged = verify(&signed, &site, "edge-1");
        assert_eq!(judged, Err(OrderError::Signature), "{what}");
    }
}

#[test]
fn what_is_for_another_node_or_site_is_refused() {
    let site = Site::new("thirteen");
    let signed = sign(&site.credentials("coordinator/control-1"));
    let for_edge_1 = OrderError::OtherNode {
        node: "edge-1".to_owned(),
        site: "thirteen".to_owned(),
    };
    assert_eq!(verify(&signed, &site, "edge-2"), Err(for_edge_1));
    // One CA for two sites is none that hamesh makes: the name counts all the same.
    let two = Site {
        name: "two-dc",
        ..site
    };
    let refused = verify(&signed, &two, "edge-1");
    assert!(
        matches!(refused, Err(OrderError::OtherSigner { .. })),
        "{refused:?}"
    );
}

proptest! {
    #[test]
    fn no_altered_byte_is_believed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let site = Site::new("thirteen");
        let mut signed = sign(&site.credentials("coordinator/control-1"));
        let at = at.index(signed.statement.len());
        signed.statement[at] ^= 1 << bit;
        prop_assert_eq!(verify(&signed, &site, "edge-1"), Err(OrderError::Signature));
    }
}
