//! Messages of any bytes decode or are refused, and never panic.
#![allow(missing_docs, reason = "a test")]

use hamesh_proto::seal::{KeyRing, OVERHEAD};
use hamesh_proto::v1;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use prost::Message;

/// Decodes `bytes` as `M`; what decodes must encode and decode to itself.
fn decodes_or_is_refused<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = M::decode(message.encode_to_vec().as_slice()).expect("its own encoding");
        // Not equality of messages: a load of NaN does not equal itself.
        assert_eq!(again.encode_to_vec(), message.encode_to_vec());
    }
}

fn decode_as_everything(bytes: &[u8]) {
    decodes_or_is_refused::<v1::AgentMessage>(bytes);
    decodes_or_is_refused::<v1::CoordinatorMessage>(bytes);
    decodes_or_is_refused::<v1::SignedFacts>(bytes);
    decodes_or_is_refused::<v1::Facts>(bytes);
    decodes_or_is_refused::<v1::Assignment>(bytes);
    decodes_or_is_refused::<v1::GossipKeyRing>(bytes);
    decodes_or_is_refused::<v1::EnrolRequest>(bytes);
    decodes_or_is_refused::<v1::ReEnrolRequest>(bytes);
    decodes_or_is_refused::<v1::SiteStatus>(bytes);
}

proptest! {
    #[test]
    fn any_bytes_as_any_message(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_true_message_with_some_bytes_changed(
        node in "[a-z]{0,9}",
        numbers: [u64; 3],
        load in any::<f64>(),
        units in prop::collection::vec("[a-z.]{0,12}", 0..5),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let [started_unix_ms, sequence, generation] = numbers;
        let health = v1::Health { load1: load, failed_units: units, ..v1::Health::default() };
        let facts = v1::Facts {
            node,
            started_unix_ms,
            sequence,
            applied: Some(v1::AssignmentId { incarnation: 1, generation }),
            health: Some(health),
            ..v1::Facts::default()
        };
        let kind = Some(v1::agent_message::Kind::Facts(facts));
        let mut bytes = v1::AgentMessage { kind }.encode_to_vec();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        decode_as_everything(&bytes);
    }
}

#[test]
fn none_of_a_million_random_datagrams_opens() {
    let seed = [0x17; 32];
    println!("seed {seed:?}");
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let ring = KeyRing::generate();
    let mut bytes = [0; OVERHEAD + 64];
    let mut reached_the_cipher = 0;
    for round in 0..1_000_000 {
        rng.fill_bytes(&mut bytes);
        let length = usize::from(bytes[0]) % (bytes.len() + 1);
        // One in eight carries the header of a key of the ring, so that the cipher decides.
        if round % 8 == 0 {
            bytes[..5].copy_from_slice(&[1, 0, 0, 0, 1]);
            reached_the_cipher += u32::from(length >= OVERHEAD);
        }
        assert!(
            ring.open(b"gossip", &bytes[..length]).is_err(),
            "round {round}"
        );
    }
    assert!(
        reached_the_cipher > 10_000,
        "only {reached_the_cipher} reached the cipher"
    );
}
