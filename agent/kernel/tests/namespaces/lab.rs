//! A small network of namespaces: a hub with a bridge, and nodes on it. Nothing of it exists
//! outside its namespaces, and it is taken down when dropped.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hamesh_kernel::device::Mac;
use hamesh_kernel::fence::Fence;
use hamesh_kernel::frames::{self, Heard, How};
use hamesh_kernel::load::{self, Claimed};
use hamesh_kernel::packet::{PacketSocket, Speaks};
use hamesh_kernel::rtnl::Rtnl;
use nix::sched::{CloneFlags, setns};

/// Longest wait for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The claimed addresses.
pub const VIP4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100));
pub const VIPS: [IpAddr; 2] = [VIP4, VIP6];
/// A lease that outlives every test.
pub const LONG: Duration = Duration::from_secs(3600);

static LABS: AtomicU32 = AtomicU32::new(0);

/// A network namespace with a name.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new(name: String) -> Result<Self> {
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs a function on a thread of its own inside. Sockets that it opens stay inside.
    pub fn within<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace = File::open(&path).with_context(|| path.clone())?;
                setns(&namespace, CloneFlags::CLONE_NEWNET).context("enter a namespace")?;
                what()
            });
            inside.join().expect("the test itself has no panics")
        })
    }

    /// Runs a command inside; its words must not hold spaces.
    pub fn run(&self, command: &str) -> Result<String> {
        let output = self.try_run(command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{command}`: {}: {said}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn try_run(&self, command: &str) -> Result<Output> {
        let mut all = vec![format!("--net={}", self.path())];
        all.extend(command.split(' ').map(str::to_owned));
        Command::new("nsenter")
            .args(all)
            .output()
            .context("nsenter")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(e) = run("ip", &["netns", "delete", &self.name]) {
            eprintln!("left behind: {e:#}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {said}");
    Ok(())
}

/// One node: interface `eth0` with 10.77.0.N/24 and fd77::N/64.
pub struct Node {
    pub namespace: Namespace,
    pub number: u8,
    pub index: u32,
    pub mac: Mac,
}

impl Node {
    pub fn own(&self) -> [IpAddr; 2] {
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(self.number));
        [[10, 77, 0, self.number].into(), v6.into()]
    }

    pub fn fence(&self) -> Result<Fence> {
        self.namespace.within(|| Ok(Fence::open()?))
    }

    pub fn rtnl(&self) -> Result<Rtnl> {
        self.namespace.within(|| Ok(Rtnl::open()?))
    }

    pub fn socket(&self, speaks: Speaks) -> Result<PacketSocket> {
        let index = self.index;
        self.namespace
            .within(|| Ok(PacketSocket::open(index, speaks)?))
    }

    /// Loads the fence for the claimed addresses.
    pub fn load(&self) -> Result<()> {
        let fenced = self.namespace.within(|| Ok(load::load(&claimed())?))?;
        ensure!(!fenced.devices.is_empty(), "nothing is fenced: {fenced:?}");
        Ok(())
    }

    /// Configures the claimed addresses as a holder does.
    pub fn configure(&self) -> Result<()> {
        let mut rtnl = self.rtnl()?;
        for vip in VIPS {
            rtnl.add(vip, self.index)?;
        }
        Ok(())
    }

    /// The fence, loaded and closed, over claimed addresses that are configured all the same.
    pub fn loaded_and_configured(&self) -> Result<Fence> {
        self.load()?;
        self.configure()?;
        self.fence()
    }
}

pub fn claimed() -> Claimed {
    Claimed::of(VIPS.into())
}

/// The whole network. The hub has 10.77.0.1 and fd77::1 on its bridge.
pub struct Lab {
    pub nodes: Vec<Node>,
    pub hub: Namespace,
    pub hub_mac: Mac,
    arp: PacketSocket,
    advertisements: PacketSocket,
}

impl Lab {
    pub fn new(count: u8) -> Result<Self> {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("hamesh-k{}-{number}-{what}", std::process::id());
        let hub = Namespace::new(name("hub"))?;
        hub.run("ip link add br0 type bridge mcast_snooping 0")?;
        hub.run("ip addr add 10.77.0.1/24 dev br0")?;
        hub.run("ip addr add fd77::1/64 dev br0 nodad")?;
        hub.run("ip link set br0 up")?;
        let mut nodes = Vec::new();
        for n in 1..=count {
            nodes.push(node(&hub, Namespace::new(name(&format!("n{n}")))?, n)?);
        }
        let (bridge, hub_mac) = interface(&hub, "br0")?;
        let open = |speaks| hub.within(|| Ok(PacketSocket::open(bridge, speaks)?));
        let lab = Self {
            arp: open(Speaks::Arp)?,
            advertisements: open(Speaks::Advertisements)?,
            nodes,
            hub,
            hub_mac,
        };
        lab.wait_until_connected()?;
        Ok(lab)
    }

    fn wait_until_connected(&self) -> Result<()> {
        for node in &self.nodes {
            for own in node.own() {
                until(
                    "a node answers for its own address",
                    || self.ask(&[own]),
                    |heard| heard.iter().any(|h| h.ip == own),
                )?;
            }
        }
        Ok(())
    }

    /// Asks for each address by ARP or neighbour discovery and returns all that is heard until
    /// nothing more comes for a while.
    pub fn ask(&self, addresses: &[IpAddr]) -> Result<Vec<Heard>> {
        for address in addresses {
            self.send_question(*address)?;
        }
        let mut heard = self.hear()?;
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(5));
            heard.extend(self.hear()?);
        }
        Ok(heard)
    }

    fn send_question(&self, address: IpAddr) -> Result<()> {
        let hub = "fd77::1".parse()?;
        match address {
            IpAddr::V4(v4) => self.arp.send(&frames::probe_v4(v4, self.hub_mac))?,
            IpAddr::V6(v6) => {
                let question = frames::probe_v6(v6, self.hub_mac, hub);
                self.advertisements.send(&question)?;
            }
        }
        Ok(())
    }

    /// What the hub has heard of addresses since it last listened.
    pub fn hear(&self) -> Result<Vec<Heard>> {
        let mut heard = self.arp.heard()?;
        heard.extend(self.advertisements.heard()?);
        Ok(heard)
    }

    /// Whether a node answers for an address. Silence is proved by order, not by time: the same
    /// node is asked for its own address after it, and has answered that.
    pub fn answers(&self, node: &Node, address: IpAddr) -> Result<bool> {
        self.hear()?;
        let own = node.own()[usize::from(address.is_ipv6())];
        let mut answered = false;
        self.send_question(address)?;
        until(
            "the node answers for its own address",
            || self.ask(&[own]),
            |heard| {
                answered |= heard.iter().any(|h| says(h, address, node.mac));
                heard.iter().any(|h| says(h, own, node.mac))
            },
        )?;
        Ok(answered)
    }

    /// The hardware addresses that the hub hears answering for an address.
    pub fn who(&self, address: IpAddr) -> Result<Vec<Mac>> {
        let heard = self.ask(&[address])?;
        let answers = heard
            .iter()
            .filter(|h| h.ip == address && h.how != How::Announced);
        Ok(answers.map(|h| h.mac).collect())
    }
}

fn says(heard: &Heard, address: IpAddr, mac: Mac) -> bool {
    heard.ip == address && heard.mac == mac
}

fn node(hub: &Namespace, namespace: Namespace, number: u8) -> Result<Node> {
    let port = format!("port{number}");
    hub.run(&format!(
        "ip link add {port} type veth peer name eth0 netns {}",
        namespace.name
    ))?;
    hub.run(&format!("ip link set {port} master br0 up"))?;
    let own = u32::from(number) + 1;
    namespace.run(&format!("ip addr add 10.77.0.{own}/24 dev eth0"))?;
    namespace.run(&format!("ip addr add fd77::{own:x}/64 dev eth0 nodad"))?;
    namespace.run("ip link set eth0 up")?;
    let (index, mac) = interface(&namespace, "eth0")?;
    Ok(Node {
        namespace,
        number: number + 1,
        index,
        mac,
    })
}

fn interface(namespace: &Namespace, name: &str) -> Result<(u32, Mac)> {
    let interfaces = namespace.within(|| Ok(Rtnl::open()?.interfaces()?))?;
    let found = interfaces.links.iter().find(|(_, link)| link.name == name);
    let (index, link) = found.with_context(|| format!("no {name} in {interfaces:?}"))?;
    Ok((*index, link.mac.context("no hardware address")?))
}

/// Looks until what is seen satisfies; says what was last seen where that never happens.
pub fn until<T: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> Result<T>,
    mut satisfies: impl FnMut(&T) -> bool,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = look().with_context(|| what.to_owned())?;
        if satisfies(&seen) {
            return Ok(seen);
        }
        if start.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}; last seen: {seen:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
