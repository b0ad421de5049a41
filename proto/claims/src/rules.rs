//! The safety rules by name, so that each can be shown to matter.
//!
//! Production code has one value, [`Rules::all`]; the constructors of the machines take it by
//! themselves. The checks build machines that break one rule ([`Rules::without`]) and expect to see
//! the harm. Where a rule is kept, the code asks for it by name: the rule's text is here only.

use std::fmt;

/// One rule without which a delayed, lost or repeated message, a crash or a pause makes two
/// holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    /// Who asked counts from the moment before it sent, not from the answer's arrival.
    HolderCountsFromSend,
    /// Who gave its word is bound for 1.03 of it and 25 ms.
    GrantorAddsMargin,
    /// A grant is valid only as the answer to a request that this run of the agent has open.
    FreshAnswersOnly,
    /// After its lease lapsed a holder drops the answers to all earlier requests.
    LapsedAcquiresAfresh,
    /// After giving back a holder drops the answers to all earlier requests.
    GiveBackDropsEarlier,
    /// A give-back frees only the grant that it names.
    GiveBackNamesGrant,
    /// A new leader grants nothing until every lease of its predecessors has run out.
    StartUpWait,
    /// The start-up wait is that of the longest time-to-live persisted, not of today's.
    LongestTtlPersisted,
    /// A longer time-to-live is persisted before it is granted.
    TtlPersistedFirst,
    /// A restored site grants and extends nothing until every member believes no coordinator of
    /// before.
    RestoredGathersAll,
    /// A member says that it believes no coordinator of before once that is on its disk.
    KnownPersistedFirst,
    /// A restored site waits for the leases of before to run out, unless every member said that its
    /// fence is closed.
    ClosedSaidByAll,
    /// A member that restarted says that its fence is closed only once no lease of its last run can
    /// be live in the kernel.
    LastRunsFenceAwaited,
    /// A lease shown to a new leader is extended, but proves nothing until its holder uses the
    /// extension: no new grant is made on its strength, not even to the same node.
    AdoptionIsNoProof,
    /// A lease is handed on only once it ran out on the grantor's clock or was given back.
    ActAfterExpiry,
    /// A leader answers nothing once its leadership may have ended.
    LeaderStopsInTime,
    /// A leader counts from before it sent its rewriting of the record, not from the answer.
    LeaderCountsFromSend,
    /// A challenger takes over only after it saw the record unchanged for 1.03 of a leadership.
    ChallengerWaits,
    /// A leader that meets a higher epoch stops for good.
    HigherEpochStops,
    /// A member believes no coordinator of a lower epoch than the highest it has seen.
    StaleEpochRefused,
    /// A holder lives without coordinators only on the promises of all other members.
    PromisesOfAll,
    /// A member that promised takes no grant until its promise has run out.
    PromisedRefusesGrants,
    /// A member that holds the claim promises nothing.
    HolderPromisesNothing,
    /// A promise counts only among members of the same version of the group.
    PromiseNamesGroup,
    /// A member knows its group's new version only once that is on its disk.
    GroupPersistedFirst,
    /// A member that joins is eligible only after every old member acknowledged the group.
    JoinerNeedsAllOld,
    /// And only after the longest promise that an old member may have given before has run out.
    JoinerWaits,
    /// A promise is remembered before it is sent.
    PromisePersistedFirst,
    /// A member that restarted without its promises takes nothing for the longest promise.
    ForgetfulTakesNothing,
    /// What was remembered in another boot is not believed.
    SameBootOnly,
    /// A release frees only promises asked for before it.
    ReleaseNamesAsk,
    /// A holder that releases its promises no longer relies on them.
    ReleaseEndsReliance,
    /// After releasing its promises a holder drops the late promises to all earlier asks.
    ReleaseDropsEarlier,
    /// A holder that releases or gives back first forgets what its next run would carry on.
    KeptForgottenFirst,
    /// The fence is closed before the coordinator hears that the claim was given back.
    FenceClosesFirst,
    /// A peer that consented to an eviction promises the evicted node nothing meanwhile.
    ConsentBinds,
    /// A peer consents to an eviction only after its own promise has run out.
    ConsentAfterPromise,
    /// A consent counts only as the answer to an ask of this eviction, from when that was sent.
    FreshConsentsOnly,
    /// An eviction needs a majority of consents that are all live at one moment.
    EvictionNeedsMajority,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 39] = [
        Self::HolderCountsFromSend,
        Self::GrantorAddsMargin,
        Self::FreshAnswersOnly,
        Self::LapsedAcquiresAfresh,
        Self::GiveBackDropsEarlier,
        Self::GiveBackNamesGrant,
        Self::StartUpWait,
        Self::LongestTtlPersisted,
        Self::TtlPersistedFirst,
        Self::RestoredGathersAll,
        Self::KnownPersistedFirst,
        Self::ClosedSaidByAll,
        Self::LastRunsFenceAwaited,
        Self::AdoptionIsNoProof,
        Self::ActAfterExpiry,
        Self::LeaderStopsInTime,
        Self::LeaderCountsFromSend,
        Self::ChallengerWaits,
        Self::HigherEpochStops,
        Self::StaleEpochRefused,
        Self::PromisesOfAll,
        Self::PromisedRefusesGrants,
        Self::HolderPromisesNothing,
        Self::PromiseNamesGroup,
        Self::GroupPersistedFirst,
        Self::JoinerNeedsAllOld,
        Self::JoinerWaits,
        Self::PromisePersistedFirst,
        Self::ForgetfulTakesNothing,
        Self::SameBootOnly,
        Self::ReleaseNamesAsk,
        Self::ReleaseEndsReliance,
        Self::ReleaseDropsEarlier,
        Self::KeptForgottenFirst,
        Self::FenceClosesFirst,
        Self::ConsentBinds,
        Self::ConsentAfterPromise,
        Self::FreshConsentsOnly,
        Self::EvictionNeedsMajority,
    ];
}

/// Which rules a machine keeps. [`Rules::all`] everywhere but in the checks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules(u64);

impl Rules {
    /// Every rule kept.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// All rules but `broken`: a planted fault, for the checks only.
    #[must_use]
    pub const fn without(broken: Rule) -> Self {
        Self(!(1 << broken as u8))
    }

    /// Whether `rule` is kept.
    #[must_use]
    pub const fn keeps(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Rule::ALL.iter().find(|rule| !self.keeps(**rule)) {
            None => f.write_str("all rules"),
            Some(broken) => write!(f, "all rules but {broken:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_stands_once_in_the_list_and_is_broken_alone() {
        for (place, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(*rule as usize, place);
            let broken = Rules::without(*rule);
            for other in Rule::ALL {
                assert_eq!(broken.keeps(other), other != *rule);
            }
            assert!(Rules::all().keeps(*rule));
        }
    }
}
