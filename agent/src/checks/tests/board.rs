//! What results mean for a claim.

use hamesh_claims::message::Health;
use hamesh_proto::ids::ClaimId;
use hamesh_roles::Check;

use super::super::board::{Board, Memory};
use super::tcp;
use crate::assignment::Claim;

fn edge() -> ClaimId {
    "vip/edge".parse().expect("a claim")
}

fn claim(checks: &[Check]) -> Claim {
    Claim {
        id: edge(),
        addresses: vec!["192.168.30.130".parse().expect("an address")],
        ttl: std::time::Duration::from_millis(350),
        checks: checks.to_vec(),
        candidates: [].into(),
        beside: false,
    }
}

fn bad() -> Result<(), String> {
    Err("refused".to_owned())
}

fn soft(port: u16) -> Check {
    let mut check = tcp(port);
    check.degrades = true;
    check
}

fn says(board: &Board) -> (Health, String) {
    let report = board.reports().remove(&edge()).expect("a report");
    (report.health, report.why)
}

#[test]
fn a_claim_is_as_healthy_as_its_checks() {
    for (hard, soft_one, health, why) in [
        (Ok(()), Ok(()), Health::Healthy, ""),
        (Ok(()), bad(), Health::Degraded, "tcp 127.0.0.1:2: refused"),
        (bad(), Ok(()), Health::Failed, "tcp 127.0.0.1:1: refused"),
        (
            bad(),
            bad(),
            Health::Failed,
            "tcp 127.0.0.1:1: refused; tcp 127.0.0.1:2: refused",
        ),
    ] {
        let mut board = Board::new(Memory::new());
        board.assign(&[claim(&[soft(2), tcp(1)])]);
        board.take(&edge(), &tcp(1), hard);
        board.take(&edge(), &soft(2), soft_one);
        assert_eq!(says(&board), (health, why.to_owned()));
    }
}

#[test]
fn a_claim_without_checks_is_healthy_and_one_not_checked_yet_is_not() {
    let mut board = Board::new(Memory::new());
    board.assign(&[claim(&[])]);
    assert_eq!(says(&board).0, Health::Healthy);
    let mut board = Board::new(Memory::new());
    board.assign(&[claim(&[tcp(1), tcp(2)])]);
    board.take(&edge(), &tcp(1), Ok(()));
    let why = "not checked yet: tcp 127.0.0.1:2".to_owned();
    assert_eq!(says(&board), (Health::Failed, why));
    board.take(&edge(), &tcp(2), Ok(()));
    assert_eq!(says(&board).0, Health::Healthy);
}

#[test]
fn a_restarted_agent_goes_on_from_what_it_knew() {
    let mut before = Board::new(Memory::new());
    before.assign(&[claim(&[tcp(1), soft(2)])]);
    before.take(&edge(), &tcp(1), Ok(()));
    before.take(&edge(), &soft(2), bad());
    let mut after = Board::new(before.memory());
    after.assign(&[claim(&[tcp(1), soft(2)])]);
    assert_eq!(says(&after).0, Health::Degraded);
    // One failure more is not enough, as it was not before.
    assert_eq!(after.take(&edge(), &tcp(1), bad()), None);
    assert_eq!(says(&after).0, Health::Degraded);
    after.take(&edge(), &tcp(1), bad()).expect("turned");
    assert_eq!(says(&after).0, Health::Failed);
}

#[test]
fn what_was_never_found_is_not_remembered() {
    let mut before = Board::new(Memory::new());
    before.assign(&[claim(&[tcp(1), tcp(2)])]);
    before.take(&edge(), &tcp(1), Ok(()));
    assert_eq!(before.memory(), Memory::new());
}

#[test]
fn a_new_check_of_a_known_claim_counts_from_its_first_result() {
    let mut board = Board::new(Memory::new());
    board.assign(&[claim(&[tcp(1)])]);
    board.take(&edge(), &tcp(1), Ok(()));
    board.assign(&[claim(&[tcp(1), tcp(2)])]);
    assert_eq!(says(&board).0, Health::Healthy);
    board.take(&edge(), &tcp(2), bad()).expect("turned");
    assert_eq!(says(&board).0, Health::Failed);
    // Other terms: what is known stays.
    let mut patient = tcp(2);
    patient.rise = 5;
    board.assign(&[claim(&[tcp(1), patient.clone()])]);
    assert_eq!(says(&board).0, Health::Failed);
    board.assign(&[claim(&[tcp(1)])]);
    assert_eq!(says(&board).0, Health::Healthy);
    assert_eq!(board.take(&edge(), &patient, bad()), None, "it is gone");
}

#[test]
fn what_a_report_says_is_bounded() {
    let checks: Vec<Check> = (1..=32).map(tcp).collect();
    let mut board = Board::new(Memory::new());
    board.assign(&[claim(&checks)]);
    for check in &checks {
        board.take(&edge(), check, Err("ä".repeat(500)));
    }
    let (health, why) = says(&board);
    assert_eq!((health, why.chars().count()), (Health::Failed, 243));
}
