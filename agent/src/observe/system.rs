//! Load, memory, disks, kernel and boot of this node, through `sysinfo` and `/proc`.
//!
//! Guarantees: only what is told is read (no processes, no CPU times). Network file systems are
//! never touched: asking a dead NFS server for its free space would hang.

use std::collections::BTreeSet;

use hamesh_proto::v1;
use sysinfo::{DiskRefreshKind, Disks, MemoryRefreshKind, System};

/// How many disks are told: mounts of pods must not crowd out the rest.
const MOST_DISKS: usize = 16;

/// What does not change until the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// A number of this boot, from `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// How many CPUs there are.
    pub cpus: u32,
}

/// What changes all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processes that ran or waited for the disk, averaged over a minute.
    pub load1: f64,
    /// Bytes of memory.
    pub memory_total_bytes: u64,
    /// Bytes that could be had without swapping.
    pub memory_available_bytes: u64,
    /// Seconds since the boot.
    pub uptime_s: u64,
}

impl Machine {
    /// Reads it; a part that cannot be read is empty or zero.
    pub fn read() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self {
            kernel: System::kernel_version().unwrap_or_default(),
            boot_id: boot_id.map(|id| id.trim().to_owned()).unwrap_or_default(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        }
    }
}

/// Reads load and memory, keeping what `sysinfo` needs between readings.
#[derive(Debug)]
pub struct UsageObserver {
    system: System,
}

impl UsageObserver {
    /// Gets ready to read.
    ///
    /// # Errors
    /// `sysinfo`'s own, when this is no system it can read.
    pub fn new() -> Result<Self, sysinfo::Error> {
        Ok(Self {
            system: System::new()?,
        })
    }

    /// The figures now.
    ///
    /// # Errors
    /// `sysinfo`'s own, when one of them could not be read.
    pub fn read(&mut self) -> Result<Usage, sysinfo::Error> {
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Ok(Usage {
            load1: System::load_average()?.one,
            memory_total_bytes: self.system.total_memory(),
            memory_available_bytes: self.system.available_memory(),
            uptime_s: System::uptime()?,
        })
    }
}

/// Reads the mounted disks: one row per device, the shortest mount point of each. Blocking.
pub fn disks() -> Vec<v1::Disk> {
    let kind = DiskRefreshKind::nothing().with_storage();
    // A list that cannot be read is told as no disks: `sysinfo` itself says no more than that.
    let Ok(disks) = Disks::new_with_refreshed_list_specifics(kind) else {
        return Vec::new();
    };
    let mut rows: Vec<_> = disks
        .iter()
        .filter(|disk| disk.total_space() > 0)
        .map(|disk| {
            let row = v1::Disk {
                mount: disk.mount_point().to_string_lossy().into_owned(),
                total_bytes: disk.total_space(),
                available_bytes: disk.available_space(),
            };
            (disk.name().to_owned(), row)
        })
        .collect();
    rows.sort_by(|(_, a), (_, b)| (a.mount.len(), &a.mount).cmp(&(b.mount.len(), &b.mount)));
    let mut devices = BTreeSet::new();
    rows.retain(|(device, _)| devices.insert(device.clone()));
    rows.into_iter()
        .map(|(_, row)| row)
        .take(MOST_DISKS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_read() {
        let machine = Machine::read();
        assert!(!machine.kernel.is_empty());
        assert_eq!(machine.boot_id.len(), 36, "{}", machine.boot_id);
        assert!(machine.cpus >= 1);
        let usage = UsageObserver::new()
            .and_then(|mut usage| usage.read())
            .expect("readable");
        assert!(usage.memory_total_bytes > 0);
        assert!(usage.memory_available_bytes <= usage.memory_total_bytes);
        assert!(usage.load1 >= 0.0);
    }

    #[test]
    fn each_disk_is_told_once_and_has_room_at_most_its_size() {
        let disks = disks();
        assert!(disks.len() <= MOST_DISKS);
        for disk in disks {
            assert!(disk.available_bytes <= disk.total_bytes, "{}", disk.mount);
        }
    }
}
