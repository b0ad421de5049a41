//! What opens, and what does not.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::os::unix::fs::PermissionsExt;

use hamesh_proto::seal::{KeyRing, KeyRingError, MAX_KEYS, OVERHEAD, OpenError, SealKey};
use hamesh_proto::v1;
use proptest::prelude::*;

/// The largest payload of a UDP datagram over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;

#[test]
fn a_datagram_of_the_largest_size_carries_all_but_the_overhead() {
    let ring = KeyRing::generate();
    let plaintext = vec![7; LARGEST_DATAGRAM - OVERHEAD];
    let sealed = ring.seal(b"gossip", &plaintext);
    assert_eq!(sealed.len(), LARGEST_DATAGRAM);
    assert_eq!(ring.open(b"gossip", &sealed), Ok(plaintext));
    assert_eq!(ring.seal(b"", b"").len(), OVERHEAD);
}

#[test]
fn equal_plaintexts_are_sealed_differently() {
    let ring = KeyRing::generate();
    assert_ne!(ring.seal(b"", b"same"), ring.seal(b"", b"same"));
}

#[test]
fn a_rotation_never_leaves_members_unable_to_hear_each_other() {
    let first = KeyRing::generate();
    let (second, id) = first.with_fresh_key().expect("room");
    let third = second.with_primary(id).expect("it is in the ring");
    let fourth = third.with_primary_only();
    let phases = [first, second, third, fourth];
    for pair in phases.windows(2) {
        let [before, after] = pair else {
            unreachable!("windows of two")
        };
        assert!(before.version() < after.version());
        for (from, to) in [(before, after), (after, before)] {
            assert_eq!(
                to.open(b"", &from.seal(b"", b"hello")).as_deref(),
                Ok(&b"hello"[..])
            );
        }
    }
    let [first, _, _, fourth] = phases;
    assert_eq!(
        fourth.open(b"", &first.seal(b"", b"x")),
        Err(OpenError::UnknownKey(1))
    );
    assert_eq!(fourth.ids().collect::<Vec<_>>(), [fourth.primary()]);
}

#[test]
fn a_later_rotation_never_reuses_the_id_of_a_retired_key() {
    let mut ring = KeyRing::generate();
    let retired = ring.primary();
    for _ in 0..3 {
        let (next, id) = ring.with_fresh_key().unwrap();
        ring = next.with_primary(id).unwrap().with_primary_only();
        assert_ne!(ring.primary(), retired);
    }
    assert!(ring.with_primary(retired).is_none());
}

#[test]
fn a_full_ring_takes_no_more_keys() {
    let mut ring = KeyRing::generate();
    for _ in 1..MAX_KEYS {
        ring = ring.with_fresh_key().expect("room").0;
    }
    assert!(ring.with_fresh_key().is_none());
    KeyRing::try_from(&v1::GossipKeyRing::from(&ring)).expect("a full ring is valid");
}

#[test]
fn a_key_with_the_same_id_but_other_bytes_opens_nothing() {
    let (ours, theirs) = (KeyRing::generate(), KeyRing::generate());
    assert_eq!(
        ours.open(b"", &theirs.seal(b"", b"x")),
        Err(OpenError::Broken)
    );
}

#[test]
fn rings_from_outside_are_checked() {
    let key = |id: u32, length: usize| v1::GossipKey {
        id,
        secret: vec![1; length],
    };
    let ring = |keys: Vec<v1::GossipKey>| v1::GossipKeyRing {
        version: 1,
        keys,
        primary: 1,
    };
    for (ring, error) in [
        (ring(vec![]), KeyRingError::Empty),
        (
            ring((0..9).map(|id| key(id, 32)).collect()),
            KeyRingError::TooMany,
        ),
        (ring(vec![key(1, 31)]), KeyRingError::Length(1)),
        (ring(vec![key(1, 32), key(1, 32)]), KeyRingError::Twice(1)),
        (ring(vec![key(2, 32)]), KeyRingError::NoPrimary(1)),
    ] {
        assert_eq!(KeyRing::try_from(&ring).expect_err("refused"), error);
    }
}

#[test]
fn debug_shows_ids_and_no_key_bytes() {
    let keys = vec![v1::GossipKey {
        id: 1,
        secret: vec![0xab; 32],
    }];
    let ring = KeyRing::try_from(&v1::GossipKeyRing {
        version: 9,
        keys,
        primary: 1,
    })
    .unwrap();
    let shown = format!("{ring:?} {:?}", SealKey::generate());
    assert!(!shown.contains("171") && !shown.contains("ab, ab") && shown.contains("redacted"));
}

#[test]
fn a_seal_key_comes_back_from_its_file_of_mode_0600() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    let key = SealKey::generate();
    key.save(&path).expect("saved");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let sealed = key.seal(b"secrets/db", b"word");
    let again = SealKey::load(&path).expect("loaded");
    assert_eq!(
        again
            .open(b"secrets/db", &sealed)
            .expect("opened")
            .as_slice(),
        b"word"
    );
    assert_eq!(
        again.open(b"secrets/other", &sealed),
        Err(OpenError::Broken)
    );
    std::fs::write(&path, "short").unwrap();
    assert!(SealKey::load(&path).is_err());
}

proptest! {
    #[test]
    fn what_is_sealed_opens_with_the_same_associated_data_only(
        plaintext: Vec<u8>, aad: Vec<u8>, other: Vec<u8>
    ) {
        let ring = KeyRing::generate();
        let sealed = ring.seal(&aad, &plaintext);
        prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        prop_assert_eq!(ring.open(&aad, &sealed), Ok(plaintext));
        prop_assume!(aad != other);
        prop_assert_eq!(ring.open(&other, &sealed), Err(OpenError::Broken));
    }

    #[test]
    fn any_one_byte_changed_cut_or_added_is_refused(
        plaintext in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        with in 1u8..=255,
    ) {
        let ring = KeyRing::generate();
        let sealed = ring.seal(b"gossip", &plaintext);
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= with;
        prop_assert!(ring.open(b"gossip", &changed).is_err());
        prop_assert!(ring.open(b"gossip", &sealed[..at.index(sealed.len())]).is_err());
        let mut longer = sealed.clone();
        longer.push(with);
        prop_assert!(ring.open(b"gossip", &longer).is_err());

        let key = SealKey::generate();
        let mut sealed = key.seal(b"name", &plaintext);
        let at = at.index(sealed.len());
        sealed[at] ^= with;
        prop_assert!(key.open(b"name", &sealed).is_err());
    }

    #[test]
    fn opening_any_bytes_never_panics(bytes: Vec<u8>, headed: bool) {
        let bytes = if headed { [&[1, 0, 0, 0, 1][..], &bytes].concat() } else { bytes };
        prop_assert!(KeyRing::generate().open(b"", &bytes).is_err());
        prop_assert!(SealKey::generate().open(b"", &bytes).is_err());
    }

    #[test]
    fn ring_messages_of_any_content_never_panic(
        ids in prop::collection::vec((any::<u32>(), 0usize..40), 0..12), primary: u32
    ) {
        let keys = ids.iter().map(|(id, n)| v1::GossipKey { id: *id, secret: vec![0; *n] });
        let message = v1::GossipKeyRing { version: 1, keys: keys.collect(), primary };
        if let Ok(ring) = KeyRing::try_from(&message) {
            prop_assert_eq!(ring.open(b"", &ring.seal(b"", b"x")), Ok(b"x".to_vec()));
            if let Some((next, id)) = ring.with_fresh_key() {
                prop_assert!(next.with_primary(id).is_some());
            }
        }
    }
}
