//! Which scenarios there are, in the order in which they are tried.

use super::ground::{on_another_site, on_pair, on_plain, on_served, on_whole};
use super::{
    Scenario, adopted, claims, coordinator, database, desired, disks, hostile, identity, kernels,
    lab, leaders, membership, moves, observe, packages, pair, served, stock_kernel, upgrade,
};

/// Every scenario, in order.
pub const ALL: &[Scenario] = &[
    on_whole(
        "every node is alive with version and certificate expiry",
        membership::all_alive,
    ),
    on_whole(
        "no address of the site is on the machine itself",
        lab::not_on_the_host,
    ),
    on_whole("bringing up what is up changes nothing", lab::up_again),
    on_whole(
        "a forwarded port carries a payload both ways",
        lab::forwarded,
    ),
    on_whole("a shell on a node has a terminal", lab::shell),
    on_whole(
        "a killed node is dead to all others and comes back",
        membership::killed,
    ),
    on_whole("a rebooted node comes back by itself", membership::rebooted),
    on_whole(
        "a frozen node is dead to the others until it thaws",
        membership::frozen,
    ),
    on_whole(
        "a node cut off comes back when it is healed",
        membership::cut_off,
    ),
    on_whole(
        "each side of a partition sees the other dead",
        membership::partitioned,
    ),
    on_whole(
        "a tenth of the packets lost kills nobody",
        membership::lossy,
    ),
    on_whole("all processors busy kills nobody", membership::loaded),
    on_whole(
        "the events tell of deaths and returns in order",
        membership::told,
    ),
    on_whole(
        "a restart of the coordinator changes nothing",
        coordinator::restarted,
    ),
    on_whole(
        "a SIGKILL of coordinator and store changes nothing",
        coordinator::killed,
    ),
    on_whole(
        "killed under load, nothing acknowledged is lost",
        coordinator::killed_under_load,
    ),
    on_whole(
        "without a coordinator agents gossip and start",
        coordinator::gone,
    ),
    on_whole(
        "each claim is held by one node and could be by another",
        moves::held,
    ),
    on_whole("a claim says why it is where it is", moves::explained),
    on_whole("a claim moves where an operator asks", moves::moved),
    on_whole("a drained node holds nothing", moves::drained),
    on_whole("a paused claim does not move", moves::paused),
    on_whole(
        "a restart of the coordinator moves no claim",
        moves::coordinator_restarted,
    ),
    on_whole(
        "without a coordinator no claim moves",
        moves::coordinator_gone,
    ),
    on_whole("without the store no claim moves", moves::store_gone),
    on_whole(
        "a virtual address is held by one node and answers",
        claims::held,
    ),
    on_whole(
        "a holder without power is succeeded by the other",
        claims::killed,
    ),
    on_whole(
        "an agent killed or stopped leaves one holder",
        claims::agent_silenced,
    ),
    on_whole(
        "a restart of the holder's agent moves nothing",
        claims::restarted,
    ),
    on_whole(
        "an agent that is stopped gives its addresses back",
        claims::stopped,
    ),
    on_whole("a fence that is flushed is loaded again", claims::flushed),
    on_whole(
        "an address added by hand does not answer and goes",
        claims::added_by_hand,
    ),
    on_whole(
        "without a coordinator no address moves",
        claims::without_coordinator,
    ),
    on_whole(
        "break glass opens a claim without a coordinator",
        claims::break_glass,
    ),
    on_whole("coordinators are added from one to three", leaders::added),
    on_whole("a killed leader moves no address", leaders::killed),
    on_whole("a leader without power is succeeded", leaders::powered_off),
    on_whole(
        "a holder lost together with the leader is succeeded",
        leaders::with_a_holder,
    ),
    on_whole("a stopped leader grants nothing", leaders::stopped),
    on_whole("a frozen leader stands by once thawed", leaders::frozen),
    on_whole("a leader cut off is succeeded", leaders::cut_off),
    on_whole(
        "a leader cut from one holder makes no second one",
        leaders::cut_from_a_holder,
    ),
    on_whole(
        "two of three coordinators lost move nothing",
        leaders::two_lost,
    ),
    on_whole(
        "all coordinators killed at once move nothing",
        leaders::all_killed,
    ),
    on_whole(
        "a leader's full disk costs the leadership and nothing else",
        disks::leaders_store_full,
    ),
    on_whole(
        "a standby's word brings a new node to the leader",
        leaders::enrolled_by_a_standby,
    ),
    on_whole(
        "a blank machine replaces a lost coordinator",
        leaders::replaced,
    ),
    on_whole(
        "a restored coordinator ends those of before",
        leaders::restored_beside,
    ),
    on_whole(
        "a restored coordinator grants at once what nobody holds any more",
        leaders::restored_unheld,
    ),
    on_whole(
        "a site without coordinators is rebuilt from its agents",
        leaders::from_agents,
    ),
    on_whole(
        "an upgrade takes coordinators, then agents, and moves no address",
        upgrade::there_and_back,
    ),
    on_whole(
        "an upgrade to an unknown version changes nothing",
        upgrade::unknown_version,
    ),
    on_whole("coordinators are removed down to one", leaders::removed),
    on_whole(
        "every error of a document is told with its line",
        desired::bad_documents,
    ),
    on_whole("a change reaches every agent once", desired::generations),
    on_whole(
        "the gossip keys rotate without a false death",
        desired::key_rotation,
    ),
    on_whole("a viewer may look and may not change", desired::access),
    on_whole("a bad token admits nobody", identity::tokens),
    on_whole(
        "a certificate of another site is refused",
        identity::foreign,
    ),
    on_whole(
        "a certificate is renewed without a restart, and one that expired waits for an admin",
        identity::renewed_or_expired,
    ),
    on_whole("a removed node is refused at once", identity::removed),
    on_whole(
        "a million random datagrams harm nothing",
        hostile::datagrams,
    ),
    on_whole("random bytes at every port harm nothing", hostile::bytes),
    on_whole(
        "the store answers nobody but its coordinator",
        hostile::store_is_hidden,
    ),
    on_whole(
        "a real Prometheus scrapes the whole site",
        observe::prometheus,
    ),
    on_whole("logs are in the journal with fields", observe::journal),
    on_whole("every command of the guide works", observe::guide),
    on_whole(
        "a full disk of the coordinator loses nothing that was acknowledged",
        disks::store_full,
    ),
    on_whole(
        "an agent with a full disk says so and catches up",
        disks::agent_full,
    ),
    on_whole("a package upgrade loses nothing", packages::upgraded),
    on_whole(
        "remove keeps the state and purge deletes it",
        packages::removed_and_purged,
    ),
    on_whole(
        "an etcd of the administrator is left alone",
        packages::beside_etcd,
    ),
    on_another_site("down leaves nothing behind", lab::down),
    on_served(
        "a page is served over TLS through both proxies",
        served::page::served,
    ),
    on_served(
        "from outside only http and https are open",
        served::page::closed,
    ),
    on_served(
        "a change is shown as what it does on each node, and rolled out",
        served::changes::planned,
    ),
    on_served(
        "no request and no transaction is lost while proxies change and secrets rotate",
        served::changes::unnoticed,
    ),
    on_served(
        "new certificates are taken up without a reload",
        served::changes::handed_over,
    ),
    on_served(
        "a change that cannot be had is put back and stops the rest",
        served::changes::put_back,
    ),
    on_served(
        "a rollout goes on whoever is killed",
        served::changes::interrupted,
    ),
    on_served(
        "what is changed by hand on a proxy is put right",
        served::drift::put_right,
    ),
    on_served(
        "a proxy that is only looked at is left as it is",
        served::drift::looked_at,
    ),
    on_served(
        "an order that no coordinator signed is refused and told",
        served::forged::refused,
    ),
    on_served(
        "a node without its role is cleared of it",
        served::changes::cleared,
    ),
    on_served("the page outlives each proxy", served::faults::each),
    on_served(
        "a server whose machine is lost is left out, as gossip or a check says",
        served::silent::left_out,
    ),
    on_served(
        "a server whose agent alone is silent goes on serving",
        served::silent::brought_back,
    ),
    on_served(
        "a drained machine gets nothing new, and no request is lost while it is worked upon",
        served::drained::worked_upon,
    ),
    on_served(
        "three blank machines become one database cluster",
        database::formed,
    ),
    on_served(
        "a database machine that was wiped is a member again",
        database::wiped,
    ),
    on_served(
        "every secret of the database changes while it serves",
        database::rotated,
    ),
    on_served(
        "a planned switchover costs little and loses nothing",
        database::planned::switched_over,
    ),
    on_served(
        "a replica is restarted and copied anew while writes go on",
        database::planned::replicas,
    ),
    on_served(
        "the database outlives its leader, lost in each way",
        database::faults::leader_lost,
    ),
    on_served(
        "the database outlives the standby that its commits wait for",
        database::faults::standby_lost,
    ),
    on_served(
        "an agent that begins anew on the leader closes nothing",
        database::faults::agent_restarted,
    ),
    on_served(
        "without a coordinator the database goes on",
        database::faults::without_coordinators,
    ),
    on_served(
        "random faults, one after another, lose nothing",
        served::soaked::a_few,
    ),
    on_plain(
        "a site of keepalived and HAProxy is taken over while it serves",
        adopted::under_load::taken_over,
    ),
    on_plain(
        "a take-over goes on whoever is killed",
        adopted::interrupted::resumed,
    ),
    on_another_site(
        "a hand-built database cluster that is only looked at is left as it is",
        adopted::databases::left_alone,
    ),
    on_pair(
        "addresses of both families are held and go together",
        pair::families::together,
    ),
    on_pair(
        "without a coordinator a standby's restart costs no connection",
        pair::away::restarts,
    ),
    on_pair(
        "an agent out of memory leaves one holder and comes back",
        pair::memory::starved,
    ),
    on_pair(
        "an interface renamed while it is up keeps its address",
        pair::layers::renamed,
    ),
    on_pair(
        "an interface taken down loses its address with a reason",
        pair::layers::taken_down,
    ),
    on_pair(
        "an interface under another is fenced and held there",
        pair::layers::bridged,
    ),
    on_pair(
        "an upgrade of the holder's agent moves nothing",
        pair::packages::upgraded,
    ),
    on_pair(
        "apt takes an agent away and no address stays",
        pair::packages::removed,
    ),
    on_pair(
        "a copy of the holder's machine makes no second holder",
        pair::twin::copied,
    ),
    on_pair(
        "a copy in the holder's place makes no second holder",
        pair::twin::in_its_place,
    ),
    on_another_site(
        "nodes with a kernel of their own are members like any other",
        kernels::members,
    ),
    on_another_site(
        "coordinators with clocks an hour apart lead in turn",
        leaders::apart,
    ),
    on_another_site(
        "on a stock kernel one node holds and answers",
        stock_kernel::held,
    ),
    on_another_site(
        "on a stock kernel the fence closes by itself",
        stock_kernel::silenced,
    ),
    on_another_site(
        "a wall clock that jumps by hours moves nothing",
        stock_kernel::clock_set,
    ),
    on_another_site(
        "a holder paused whole stands by when it goes on",
        stock_kernel::paused,
    ),
    on_another_site(
        "on a stock kernel a holder without power is succeeded",
        stock_kernel::killed,
    ),
    on_another_site(
        "on a stock kernel an address is held and fenced on a bond",
        stock_kernel::layers::bonded,
    ),
    on_another_site(
        "on a stock kernel an address is held and fenced on a VLAN",
        stock_kernel::layers::tagged,
    ),
    on_another_site(
        "the tests of fence and addresses pass on a stock kernel",
        stock_kernel::tests_of_the_kernel_side,
    ),
    on_another_site(
        "emulated machines leave nothing behind",
        stock_kernel::nothing_left,
    ),
];
