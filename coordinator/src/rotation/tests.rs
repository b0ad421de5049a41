//! The key rotation's phases, across a restart and after a removal.

use hamesh_proto::v1;

use crate::testing::{GENEROUS, TestSite};

async fn rotation_progress(
    stream: &mut tonic::Streaming<v1::RotationProgress>,
    until: impl Fn(&v1::RotationProgress) -> bool,
) -> v1::RotationProgress {
    loop {
        let next = tokio::time::timeout(GENEROUS, stream.message()).await;
        let progress = next
            .expect("progress")
            .expect("the stream goes on")
            .expect("progress");
        if until(&progress) {
            return progress;
        }
    }
}

#[tokio::test]
async fn the_gossip_key_is_rotated_when_every_agent_has_acknowledged_each_phase() {
    let site = TestSite::start().await;
    let (one, two) = (site.enrol("node-1").await, site.enrol("node-2").await);
    let (mut one, two) = (site.session(&one).await, site.session(&two).await);
    let first = one.ring().await;
    one.acknowledge_ring(1).await;
    two.acknowledge_ring(1).await;

    let started = site
        .admin()
        .rotate_gossip_key(v1::RotateGossipKeyRequest {})
        .await;
    let mut progress = started.expect("started").into_inner();
    let distributed = one.ring().await;
    assert_eq!(
        (distributed.keys.len(), distributed.primary),
        (2, first.primary)
    );
    one.acknowledge_ring(distributed.version).await;
    let waiting = rotation_progress(&mut progress, |now| now.acknowledged == 1).await;
    assert_eq!(
        (waiting.phase.as_str(), waiting.waiting_for),
        ("distribute", vec!["node-2".into()])
    );

    two.acknowledge_ring(distributed.version).await;
    let switched = one.ring().await;
    assert_eq!(switched.keys.len(), 2);
    assert_ne!(switched.primary, first.primary);
    one.acknowledge_ring(switched.version).await;
    two.acknowledge_ring(switched.version).await;
    let retired = one.ring().await;
    assert_eq!((retired.keys.len(), retired.primary), (1, switched.primary));
    one.acknowledge_ring(retired.version).await;
    two.acknowledge_ring(retired.version).await;
    rotation_progress(&mut progress, |now| now.done).await;
    assert!(
        site.event_kinds()
            .await
            .contains(&"gossip.rotation_finished".to_owned())
    );
}

#[tokio::test]
async fn a_rotation_goes_on_where_a_killed_coordinator_left_it() {
    let site = TestSite::start().await;
    let identity = site.enrol("node-1").await;
    let mut agent = site.session(&identity).await;
    let version = agent.ring().await.version;
    agent.acknowledge_ring(version).await;
    let started = site
        .admin()
        .rotate_gossip_key(v1::RotateGossipKeyRequest {})
        .await;
    drop(started.expect("started"));
    let distributed = agent.ring().await;
    assert_eq!(distributed.version, 2);

    let site = site.restart().await;
    let mut agent = site.session(&identity).await;
    for version in [2, 3, 4] {
        let ring = agent.ring().await;
        assert_eq!(ring.version, version);
        agent.acknowledge_ring(ring.version).await;
    }
    site.until("rotated", |status| status.key_ring_version == 4)
        .await;
    let deadline = tokio::time::Instant::now() + GENEROUS;
    while !site
        .event_kinds()
        .await
        .contains(&"gossip.rotation_finished".to_owned())
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            site.event_kinds().await
        );
    }
}

#[tokio::test]
async fn removing_a_node_rotates_the_gossip_key() {
    let site = TestSite::start().await;
    site.enrol("node-1").await;
    let request = v1::RemoveNodeRequest {
        node: "node-1".to_owned(),
    };
    site.admin().remove_node(request).await.expect("removed");
    // Nobody is left to acknowledge.
    site.until("rotated", |status| status.key_ring_version == 4)
        .await;
}
