//! Nodes on Debian's stock kernel, on machines that QEMU emulates in software.
//!
//! The kernel is the one that Debian installs, with every family of nf_tables. Its clocks stand
//! still while the machine is paused: clock, timers and real-time clock are all counted from QEMU's
//! own, which `stop` halts. The time-stamp counter is left alone, since what the kernel finds its
//! rate to be depends on how busy the host is at boot.
//!
//! The kernel is handed over by QEMU and finds its disk with the one driver that is no module
//! (NVMe), so there is no boot loader and no initial RAM disk. A reboot stays within QEMU. Slower
//! by an order of magnitude than the other engines, as no hardware helps.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::engine::console::{console_mac, console_port};
use crate::names::{self, POOL_IN_NODE, RUN};
use crate::topology::Node;

/// The emulator, as Debian's package names it.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// Debian packages of the base image: the kernel, and what its tests run.
pub const PACKAGES: [&str; 3] = ["linux-image-cloud-amd64", "python3-minimal", "tcpdump"];
/// Units that would only take time here.
pub const MASKED: [&str; 5] = [
    "dev-hugepages.mount",
    "e2scrub_reap.service",
    "serial-getty@ttyS0.service",
    "systemd-binfmt.service",
    "systemd-pstore.service",
];

/// Memory of a node that names none, in MiB.
const MEMORY_MIB: u32 = 384;
/// Modules for devices that nobody uses here.
const UNUSED_MODULES: &str =
    "acpi_cpufreq,ata_generic,ata_piix,i2c_piix4,kvm,kvm_amd,kvm_intel,pcspkr,powernow_k8";

/// Announces the devices that matter here at boot, not the hundreds of others.
const COLD_PLUG: &str = "\
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add \
 -s pci -s virtio -s net -s block
";

/// Files of the base image that only this engine needs. The pool is mounted anew for each use, so
/// that a pool refilled meanwhile is seen.
pub fn files() -> Vec<(&'static str, String)> {
    let fstab = format!(
        "/dev/nvme0n1 / ext4 noatime 0 1\n\
         /dev/vda {POOL_IN_NODE} ext4 \
         ro,noauto,nofail,x-systemd.automount,x-systemd.idle-timeout=2s 0 0\n"
    );
    vec![
        ("etc/fstab", fstab),
        (
            "etc/systemd/system/systemd-udev-trigger.service.d/90-hamesh-lab.conf",
            COLD_PLUG.to_owned(),
        ),
    ]
}

/// The image of the package pool, which every node has as a second disk.
pub fn pool_image() -> PathBuf {
    Path::new(names::STATE).join("pool.ext4")
}

/// Where the control sockets are.
pub fn socket_dir() -> PathBuf {
    Path::new(RUN).join("qemu")
}

/// The socket through which a node's machine is paused: by index, since the path of a socket is
/// short and a node's name need not be.
pub fn socket(node: &Node) -> PathBuf {
    socket_dir().join(node.index.to_string())
}

/// The arguments with which a node's machine starts, given the kernel.
pub fn arguments(node: &Node, kernel: &Path) -> Vec<OsString> {
    let append = format!(
        "root=/dev/nvme0n1 rw quiet console=ttyS0 net.ifnames=0 clocksource=hpet mitigations=off \
         systemd.show_status=0 module_blacklist={UNUSED_MODULES}"
    );
    let memory = node.memory_mib.unwrap_or(MEMORY_MIB).to_string();
    let disk = format!(
        "if=none,id=root,format=raw,cache=unsafe,file={}",
        names::disk_image(&node.name).display()
    );
    let pool = format!(
        "if=none,id=pool,format=raw,readonly=on,file={}",
        pool_image().display()
    );
    let control = format!("unix:{},server=on,wait=off", socket(node).display());
    let kernel = kernel.display().to_string();
    let words = [
        ["-M", "pc,usb=off"],
        ["-accel", "tcg"],
        ["-cpu", "max"],
        ["-smp", "1"],
        ["-m", &memory],
        ["-display", "none"],
        ["-rtc", "base=utc,clock=vm"],
        ["-kernel", &kernel],
        ["-append", &append],
        ["-chardev", "stdio,id=console,signal=off"],
        ["-serial", "chardev:console"],
        ["-qmp", &control],
        ["-drive", &disk],
        ["-device", "nvme,drive=root,serial=root"],
        ["-drive", &pool],
        ["-device", "virtio-blk-pci,drive=pool"],
    ];
    let plain = ["-nodefaults", "-no-user-config"].map(ToOwned::to_owned);
    let words = words.into_iter().flatten().map(ToOwned::to_owned);
    plain
        .into_iter()
        .chain(words)
        .chain(interfaces(node))
        .map(OsString::from)
        .collect()
}

/// The node's interfaces in order, the console last.
fn interfaces(node: &Node) -> Vec<String> {
    let ports = node
        .nics
        .iter()
        .map(|nic| (nic.port.clone(), nic.mac.clone()));
    let console = std::iter::once((console_port(node), console_mac(node)));
    let interface = |(port, mac): (String, String)| {
        [
            "-netdev".to_owned(),
            format!("tap,id={port},ifname={port},script=no,downscript=no"),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev={port},mac={mac},romfile="),
        ]
    };
    ports.chain(console).flat_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::small;

    #[test]
    fn a_machine_gets_its_interfaces_in_order_and_the_console_last() {
        let topology = small();
        let node = topology.node("nas-1").expect("the node");
        let arguments = arguments(node, Path::new("/boot/vmlinuz"));
        let devices: Vec<_> = arguments
            .iter()
            .filter_map(|argument| argument.to_str())
            .filter(|argument| argument.starts_with("virtio-net-pci"))
            .collect();
        assert_eq!(
            devices,
            [
                "virtio-net-pci,netdev=n2-0,mac=02:68:61:00:02:00,romfile=",
                "virtio-net-pci,netdev=k2,mac=02:68:61:ff:00:02,romfile=",
            ]
        );
        assert!(arguments.iter().any(|argument| argument == "512"));
    }

    #[test]
    fn every_clock_of_a_machine_stands_still_with_it() {
        let topology = small();
        let node = topology.node("nas-1").expect("the node");
        let arguments = arguments(node, Path::new("/boot/vmlinuz"));
        let has = |word: &str| {
            let mut words = arguments.iter().filter_map(|argument| argument.to_str());
            words.any(|argument| argument.contains(word))
        };
        assert!(has("clock=vm") && has("clocksource=hpet"));
    }
}
