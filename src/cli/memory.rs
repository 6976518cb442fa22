//! How much memory the server may use, and what of it is the store's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;

/// The store's cache, where nothing is configured: this part of the memory, but within these bounds, in bytes.
const CACHE_PART: u64 = 16;
const CACHE_BOUNDS: (u64, u64) = (64 << 20, 1 << 30);
/// Where the kernel shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of the store's cache.
pub(super) fn cache_bytes(store: &config::Store) -> usize {
    in_memory(store.cache_mib.map_or_else(|| share(available()), mebibytes))
}

/// Bytes of what the store keeps of recent writes.
pub(super) fn recent_bytes(store: &config::Store) -> usize {
    in_memory(mebibytes(store.recent_mib))
}

fn mebibytes(mib: u32) -> u64 {
    u64::from(mib) << 20
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn share(memory: u64) -> u64 {
    (memory / CACHE_PART).clamp(CACHE_BOUNDS.0, CACHE_BOUNDS.1)
}

/// Bytes: the machine's memory, or less where a control group of the process says so. 0 if nobody tells.
fn available() -> u64 {
    let machine = nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&groups).iter().filter_map(|file| read_limit(file)).fold(machine, u64::min)
}

/// The files that may hold a limit: of the groups that `/proc/self/cgroup` names, and of those above them. (cgroups(7): version 2
/// has one hierarchy, version 1 one for memory. In a container the names are the host's and the files may be at the root.)
fn limits(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = if number == "0" && controllers.is_empty() {
            (PathBuf::from(CGROUPS), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        files.extend(Path::new(group.trim_start_matches('/')).ancestors().map(|group| root.join(group).join(name)));
    }
    files
}

/// `None`: no limit (`max`), or no such file.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_bound_by_its_own_limit_and_those_above() {
        assert_eq!(
            limits("4:memory:/a/b\n3:cpuset:/a\n0::/system.slice/strongroom.service\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/system.slice/strongroom.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
            .map(PathBuf::from)
        );
        assert_eq!(limits("0::/\nnonsense\n"), [PathBuf::from("/sys/fs/cgroup/memory.max")]);
    }

    #[test]
    fn no_limit_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let limit = |text: &str| {
            let file = dir.path().join("memory.max");
            fs::write(&file, text).unwrap();
            read_limit(&file)
        };
        assert_eq!((limit("max\n"), limit("536870912\n")), (None, Some(512 << 20)));
        assert_eq!(read_limit(&dir.path().join("none")), None);
    }

    #[test]
    fn the_cache_is_a_sixteenth_of_the_memory_within_bounds() {
        assert_eq!([0, 512 << 20, 4 << 30, 1 << 40].map(share), [64 << 20, 64 << 20, 256 << 20, 1 << 30]);
        let chosen = |cache_mib| cache_bytes(&config::Store { cache_mib, ..config::Store::default() });
        assert_eq!(chosen(Some(8)), 8 << 20);
        assert_eq!(chosen(None) as u64, share(available()));
        assert!(available() > 64 << 20);
    }
}
