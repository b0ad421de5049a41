//! What must change so that the claimed addresses are where they belong: a pure plan.
//!
//! Guarantees that after the plan no claimed address is configured or open that this node does not
//! hold, whoever put it there, and that each held one is at its home and nowhere else. What closes
//! comes before what opens, so that a plan cut short is never more open than it should be.
//!
//! Absent on purpose: opening the fence. Only a grant does that.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::interfaces::{Address, Interfaces};

/// What shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// All claimed addresses of the site that this node could ever hold.
    pub claimed: BTreeSet<IpAddr>,
    /// Those of them for which this node has a live lease.
    pub held: BTreeSet<IpAddr>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Interfaces and addresses.
    pub interfaces: Interfaces,
    /// Addresses with a live element in the fence.
    pub open: BTreeSet<IpAddr>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Close the fence: it is open without a lease.
    Close(IpAddr),
    /// Take an address away.
    Remove {
        /// As it is configured.
        address: Address,
        /// Why.
        reason: Reason,
    },
    /// Put a held address where it belongs.
    Add {
        /// The address.
        ip: IpAddr,
        /// The interface of its network.
        index: u32,
    },
    /// Nothing can be done: no interface has an address in its network. Give the claim back.
    Homeless(IpAddr),
}

/// Why an address is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This node does not hold it.
    NotHeld,
    /// This node holds it, but its network is at another interface.
    WrongInterface,
}

impl Desired {
    /// The changes in the order in which to make them. Empty when all is as it should be.
    #[must_use]
    pub fn plan(&self, observed: &Observed) -> Vec<Step> {
        let stray = self.claimed.intersection(&observed.open);
        let stray = stray.filter(|ip| !self.held.contains(ip));
        let mut steps: Vec<Step> = stray.map(|ip| Step::Close(*ip)).collect();
        let mut additions = Vec::new();
        for ip in &self.claimed {
            let home = observed.interfaces.home(*ip).map(|(index, _)| index);
            let wanted = home.filter(|_| self.held.contains(ip));
            let reason = if self.held.contains(ip) {
                Reason::WrongInterface
            } else {
                Reason::NotHeld
            };
            let there: Vec<&Address> = observed.interfaces.carrying(*ip).collect();
            let misplaced = there.iter().filter(|a| Some(a.index) != wanted);
            steps.extend(misplaced.map(|address| Step::Remove {
                address: **address,
                reason,
            }));
            match wanted {
                Some(index) if !there.iter().any(|a| a.index == index) => {
                    additions.push(Step::Add { ip: *ip, index });
                }
                None if self.held.contains(ip) => additions.push(Step::Homeless(*ip)),
                Some(_) | None => {}
            }
        }
        steps.extend(additions);
        steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::Mac;
    use crate::interfaces::Link;

    fn link(name: &str) -> Link {
        Link {
            name: name.into(),
            mac: Some(Mac([2; 6])),
            master: None,
            loopback: false,
            pair: false,
            up: true,
            carrier: true,
        }
    }

    fn vip(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn at(index: u32, ip: IpAddr, prefix: u8) -> Address {
        Address { index, ip, prefix }
    }

    /// Interface 2 is the home of 10.0.0.0/24, interface 3 of another network.
    fn node(addresses: &[Address]) -> Interfaces {
        let own = [at(2, vip(2), 24), at(3, [10, 0, 1, 2].into(), 24)];
        Interfaces {
            links: [(2, link("eth0")), (3, link("eth1"))].into(),
            addresses: own.iter().chain(addresses).copied().collect(),
        }
    }

    fn done(mut observed: Observed, steps: &[Step]) -> Observed {
        for step in steps {
            match step {
                Step::Close(ip) => drop(observed.open.remove(ip)),
                Step::Remove { address, .. } => {
                    assert!(observed.interfaces.addresses.remove(address));
                }
                Step::Add { ip, index } => {
                    assert!(observed.interfaces.addresses.insert(at(*index, *ip, 32)));
                }
                Step::Homeless(_) => {}
            }
        }
        observed
    }

    #[test]
    fn an_address_added_by_hand_is_taken_away_and_its_fence_closed() {
        let desired = Desired {
            claimed: [vip(9)].into(),
            held: BTreeSet::new(),
        };
        let address = at(2, vip(9), 24);
        let observed = Observed {
            interfaces: node(&[address]),
            open: [vip(9)].into(),
        };
        let reason = Reason::NotHeld;
        let remove = Step::Remove { address, reason };
        assert_eq!(desired.plan(&observed), [Step::Close(vip(9)), remove]);
    }

    #[test]
    fn a_held_address_is_brought_home() {
        let desired = Desired {
            claimed: [vip(9)].into(),
            held: [vip(9)].into(),
        };
        let address = at(3, vip(9), 32);
        let observed = Observed {
            interfaces: node(&[address]),
            open: [vip(9)].into(),
        };
        let reason = Reason::WrongInterface;
        let (ip, index) = (vip(9), 2);
        let expected = [Step::Remove { address, reason }, Step::Add { ip, index }];
        assert_eq!(desired.plan(&observed), expected);
    }

    #[test]
    fn what_has_no_network_here_is_said_and_not_guessed() {
        let foreign = IpAddr::from([172, 16, 0, 1]);
        let desired = Desired {
            claimed: [foreign].into(),
            held: [foreign].into(),
        };
        let observed = Observed {
            interfaces: node(&[]),
            open: BTreeSet::new(),
        };
        assert_eq!(desired.plan(&observed), [Step::Homeless(foreign)]);
    }

    #[test]
    fn addresses_that_are_not_claimed_are_nobodys_business() {
        let observed = Observed {
            interfaces: node(&[at(2, vip(50), 32)]),
            open: [vip(50)].into(),
        };
        assert_eq!(Desired::default().plan(&observed), []);
    }

    proptest! {
        #[test]
        fn a_plan_cut_short_anywhere_leaves_exactly_its_rest_to_do(
            configured in proptest::collection::btree_set((2..4_u32, 5..9_u8), 0..6),
            open in proptest::collection::btree_set(5..9_u8, 0..4),
            held in proptest::collection::btree_set(5..9_u8, 0..4),
            cut in 0..20_usize,
        ) {
            let addresses: Vec<_> = configured.iter().map(|(i, n)| at(*i, vip(*n), 32)).collect();
            let desired = Desired {
                claimed: (5..9).map(vip).collect(),
                held: held.into_iter().map(vip).collect(),
            };
            let observed = Observed {
                interfaces: node(&addresses),
                open: open.into_iter().map(vip).collect(),
            };
            let steps = desired.plan(&observed);
            let cut = cut.min(steps.len());
            let after = done(observed, &steps[..cut]);
            prop_assert_eq!(desired.plan(&after), &steps[cut..]);
        }

        #[test]
        fn after_a_plan_nothing_is_open_or_configured_that_is_not_held(
            configured in proptest::collection::btree_set((2..4_u32, 5..9_u8), 0..6),
            open in proptest::collection::btree_set(5..9_u8, 0..4),
        ) {
            let addresses: Vec<_> = configured.iter().map(|(i, n)| at(*i, vip(*n), 32)).collect();
            let desired = Desired {
                claimed: (5..9).map(vip).collect(),
                held: [vip(6)].into(),
            };
            let observed = Observed {
                interfaces: node(&addresses),
                open: open.into_iter().map(vip).collect(),
            };
            let steps = desired.plan(&observed);
            let after = done(observed, &steps);
            for ip in &desired.claimed {
                let places: Vec<u32> = after.interfaces.carrying(*ip).map(|a| a.index).collect();
                if *ip == vip(6) {
                    prop_assert_eq!(places, [2]);
                } else {
                    prop_assert!(places.is_empty() && !after.open.contains(ip));
                }
            }
        }
    }
}
