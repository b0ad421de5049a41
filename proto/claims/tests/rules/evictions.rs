//! Without these rules a worker is evicted that may still be served.

use hamesh_claims::ids::GroupVersion;
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{Ask, ConsentAsk, ToCoordinator, ToMember, ToPeer};
use hamesh_claims::{Rules, grantor};

use crate::duo::{self, Duo, at, ms};

pub fn a_peer_promises_after_it_consented(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    duo.b_event(
        Event::FromCoordinator(ToMember::ConsentAsk(consent(1))),
        at(1000),
    );
    let ask = duo.ask("w", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1001));
    duo.b.promise_in_force(at(1002)).is_some()
}

pub fn a_peer_consents_under_its_promise(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    let ask: Ask = duo.ask("w", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    let out = duo.b_event(
        Event::FromCoordinator(ToMember::ConsentAsk(consent(1))),
        at(1001),
    );
    out.iter().any(
        |it| matches!(it, Action::Tell(ToCoordinator::Consent(consent)) if consent.ruling.is_ok()),
    )
}

pub fn consent(number: u64) -> ConsentAsk {
    ConsentAsk {
        epoch: duo::EPOCH,
        number,
        group: GroupVersion(1),
        ttl: ms(350),
    }
}

pub fn an_old_consent_counts_for_a_later_eviction(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    duo.grantor.evict(true, at(1000), &mut Vec::new());
    let ask = ToMember::ConsentAsk(consent(1));
    let mut late = duo.a_event(Event::FromCoordinator(ask.clone()), at(1001));
    late.extend(duo.b_event(Event::FromCoordinator(ask), at(1001)));
    duo.grantor.evict(false, at(1010), &mut Vec::new());
    duo.grantor.evict(true, at(1500), &mut Vec::new());
    for action in late {
        if let Action::Tell(consent @ ToCoordinator::Consent(_)) = action {
            duo.grantor_hears(consent, at(1501));
        }
    }
    duo.grantor_tick(at(1502));
    duo.record().evicted.is_some()
}

pub fn one_consent_evicts(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    let mut out = Vec::new();
    duo.grantor.evict(true, at(1000), &mut out);
    let asked = out.iter().find_map(|it| match it {
        grantor::Action::Tell(to, ask @ ToMember::ConsentAsk(_)) if to.as_ref() == "b" => {
            Some(ask.clone())
        }
        _ => None,
    });
    let told = duo.b_event(Event::FromCoordinator(asked.expect("b is asked")), at(1001));
    let consent = told.into_iter().find_map(|it| match it {
        Action::Tell(message @ ToCoordinator::Consent(_)) => Some(message),
        _ => None,
    });
    duo.grantor_hears(consent.expect("b consents"), at(1002));
    duo.grantor_tick(at(1003));
    duo.record().evicted.is_some()
}
