//! Names and addresses of the simulated agents, and the document of a site with all of them.
//!
//! Pure. Each two agents share a small network and four addresses in it, so that the site has two
//! claims for each agent, and each claim is of two members as most are on real sites.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The site file, without the agents.
pub const SITE_FILE: &str = "lab/sites/scale.yaml";
/// The node of the leader.
pub const COORDINATOR: &str = "control-1";
/// Its address.
pub const COORDINATOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 8, 10);
/// The management network.
pub const NETWORK: &str = "manage";
/// The half of it that all agents are in.
pub const AGENTS_CIDR: &str = "10.77.0.0/21";
/// As many agents as that half has addresses for, and as the site may have claims for.
pub const MOST_AGENTS: u32 = 1_000;
/// Addresses of each two agents that move.
const CLAIMS_PER_PAIR: u32 = 4;
/// The role of the agents.
const ROLE: &str = "internal-proxy";

const AGENTS_BASE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
const PAIRS_BASE: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
/// Addresses of a pair's network, a /28.
const PAIR_SIZE: u32 = 16;
/// The first address of a pair's network that moves.
const FIRST_MOVING: u32 = 8;

/// The name of an agent's node.
pub fn name(agent: u32) -> String {
    format!("agent-{agent:04}")
}

/// Its management address.
pub fn address(agent: u32) -> Ipv4Addr {
    offset(AGENTS_BASE, agent + 1)
}

/// Claims of so many agents.
pub const fn claims(agents: u32) -> u32 {
    agents / 2 * CLAIMS_PER_PAIR
}

/// The site's document with so many agents added, an even number.
pub fn document(agents: u32) -> String {
    let (mut networks, mut vips, mut nodes) = (String::new(), String::new(), String::new());
    for pair in 0..agents / 2 {
        let base = offset(PAIRS_BASE, pair * PAIR_SIZE);
        let _ = writeln!(networks, "  pair-{pair}: {{cidr: {base}/28}}");
        let both = [pair * 2, pair * 2 + 1];
        for (agent, own) in both.into_iter().zip(1..) {
            let _ = writeln!(
                nodes,
                "  {}: {{role: {ROLE}, addresses: {{{NETWORK}: {}, pair-{pair}: {}}}}}",
                name(agent),
                address(agent),
                offset(base, own)
            );
        }
        // Either is to hold half of them.
        for (claim, agent) in (0..CLAIMS_PER_PAIR).zip(both.into_iter().cycle()) {
            let _ = writeln!(
                vips,
                "  vip-{pair}-{claim}: {{address: {}, network: pair-{pair}, role: {ROLE}, \
                 prefer: [{}]}}",
                offset(base, FIRST_MOVING + claim),
                name(agent)
            );
        }
    }
    format!(
        "site: scale\nnetworks:\n  {NETWORK}: {{cidr: 10.77.0.0/20}}\n{networks}\
         management_network: {NETWORK}\ncoordinators: [{COORDINATOR}]\nvips:\n{vips}\
         nodes:\n  {COORDINATOR}: {{role: k8s-control, addresses: \
         {{{NETWORK}: {COORDINATOR_ADDRESS}}}}}\n{nodes}"
    )
}

fn offset(base: Ipv4Addr, by: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base) + by)
}

#[cfg(test)]
mod tests {
    use hamesh_roles::Site;

    use super::*;

    #[test]
    fn the_largest_site_is_valid_and_each_claim_has_its_two_candidates() {
        let site = Site::parse(&document(MOST_AGENTS)).expect("a valid document");
        assert_eq!(site.nodes.len(), MOST_AGENTS as usize + 1);
        assert_eq!(site.vips.len(), claims(MOST_AGENTS) as usize);
        let (_, vip) = site.vips.iter().nth(777).expect("a claim");
        assert_eq!(site.candidates(vip).count(), 2);
        assert_eq!(vip.ttl, hamesh_roles::Vip::DEFAULT_TTL);
    }

    #[test]
    fn the_document_goes_on_from_the_site_file() {
        let path = crate::tidy::root().join(SITE_FILE);
        let text = std::fs::read_to_string(path).expect("the site file");
        let lab = Site::parse(&text).expect("a valid site");
        let grown = Site::parse(&document(2)).expect("a valid document");
        assert_eq!(lab.name, grown.name);
        assert_eq!(lab.coordinators, grown.coordinators);
        for (name, network) in &lab.networks {
            assert_eq!(grown.networks.get(name), Some(network));
        }
        for (name, node) in &lab.nodes {
            assert_eq!(grown.nodes.get(name), Some(node));
        }
    }

    #[test]
    fn the_coordinator_is_not_among_the_agents_addresses() {
        let last = u32::from(address(MOST_AGENTS - 1));
        let (base, size) = AGENTS_CIDR.split_once('/').expect("a network");
        let (base, size): (Ipv4Addr, u32) = (
            base.parse().expect("an address"),
            size.parse().expect("a length"),
        );
        assert_eq!(base, AGENTS_BASE);
        let end = u32::from(base) + (1 << (32 - size));
        assert!(last < end && u32::from(COORDINATOR_ADDRESS) >= end);
    }
}
