//! How the members of a duo start.

use std::time::Duration;

use hamesh_claims::group::Group;
use hamesh_claims::ids::{BootId, Epoch, NodeName, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Durable, RunMemory, Start};
use hamesh_claims::message::Health;
use hamesh_claims::{Member, Moment, Rules};

use super::ms;

/// The boot of every machine.
pub const BOOT: BootId = BootId(7);

/// Leases of 350 ms; promises are long as soon as a holder is alone.
pub fn timing() -> Timing {
    Timing {
        ttl: ms(350),
        long_promise: Duration::from_secs(30),
        lengthen_after: ms(150),
    }
}

/// A member that did not reboot and has promised nothing.
pub fn member(rules: Rules, name: &str, session: u64, group: &Group, now: Moment) -> Member {
    let memory = RunMemory {
        boot: BOOT,
        quiet_until: Moment::ZERO,
        promised: None,
        consented_until: None,
        kept: None,
    };
    let disk = Durable {
        group: Some(group.clone()),
        seen: Epoch::default(),
    };
    start(rules, name, session, disk, Some(memory), now)
}

pub fn start(
    rules: Rules,
    name: &str,
    session: u64,
    disk: Durable,
    run: Option<RunMemory>,
    now: Moment,
) -> Member {
    let start = Start {
        me: NodeName::new(name),
        session: Session(session),
        boot: BOOT,
        timing: timing(),
        disk,
        run,
        health: Health::Healthy,
    };
    Member::start_with(rules, start, now, &mut Vec::new())
}
