//! How the members of a duo start, and how its leader begins anew from a backup.

use std::time::Duration;

use hamesh_claims::group::Group;
use hamesh_claims::ids::{BootId, Epoch, GroupVersion, NodeName, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Durable, RunMemory, Start};
use hamesh_claims::message::Health;
use hamesh_claims::{Grantor, Member, Moment, Rules};

use super::{Duo, at, ms};

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

impl Duo {
    /// The site is restored from a backup of now; gives the leader of before, which goes on.
    pub fn restored(&mut self, now: Moment) -> Grantor {
        let record = self.record().restored(GroupVersion(1000));
        self.epoch = Epoch {
            incarnation: 2,
            term: 1,
        };
        let (spec, end) = (self.spec.clone(), at(100_000));
        let next = Grantor::lead_with(self.rules, self.epoch, spec, record, end, now);
        std::mem::replace(&mut self.grantor, next)
    }

    pub fn confirm_fenced(&mut self, node: &NodeName, now: Moment) {
        let mut out = Vec::new();
        let confirmed = self.grantor.confirm_fenced(node, now, &mut out);
        confirmed.expect("the node is awaited");
        self.absorb(out);
        self.grantor_tick(now);
    }
}
