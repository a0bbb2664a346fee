//! The machine that a line runs on: what it may use, what disturbs it, and pinning to it.
//!
//! Words: *allowed* cores are those on which the kernel may run this process (affinity and cpuset);
//! *quota* is processor time as a number of cores (cgroup); *isolated* cores get no other work unless
//! told to; *SMT siblings* are hardware threads that share a core.
//!
//! Invariant: reading never fails. What cannot be read is `None` and says so in the report; only
//! pinning may be refused, with the reason.

mod cgroup;
mod files;
pub mod memory;
mod pace;
mod pin;
mod process;
mod thread;
mod tree;
mod usage;

use std::path::Path;
use std::sync::OnceLock;

use serde::Serialize;

pub use files::allow_files;
pub use memory::{MemoryReport, MemoryWish, Wish, lay_on_huge_pages};
pub use pace::{pace_ready, pace_work};
pub use pin::{PINNABLE_CORES, Pin, PinError, Pinned, pin};
pub use process::{age_ns, resident_bytes};
pub use thread::ThreadUse;
use tree::Tree;
pub use usage::{ProcessUse, TaskUse, thread_id};

/// A memory node and the cores near it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NumaNode {
    /// The kernel's number of the node.
    pub id: usize,
    /// Its cores.
    pub cores: Vec<usize>,
}

/// What is known of the machine. Lists are sorted; `None` means that it could not be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    /// Cores that this process may run on; never empty.
    pub allowed: Vec<usize>,
    /// Cores that are online.
    pub total_cores: Option<usize>,
    /// Processor time that the cgroup grants, in cores; `None` also where there is no quota.
    pub quota_cores: Option<f64>,
    /// Cores of the cgroup's cpuset.
    pub cpuset: Option<Vec<usize>>,
    /// Groups of hardware threads that share a core; a group of one has no sibling.
    pub smt_siblings: Option<Vec<Vec<usize>>>,
    /// Cores that the scheduler leaves alone (`isolcpus`).
    pub isolated: Option<Vec<usize>>,
    /// Cores without a timer tick while one thread runs (`nohz_full`).
    pub nohz_full: Option<Vec<usize>>,
    /// Memory nodes.
    pub numa_nodes: Option<Vec<NumaNode>>,
    /// The kernel's clock source, such as `tsc` or `kvm-clock`.
    pub clock_source: Option<String>,
    /// The clock sources that the kernel would use; it strikes `tsc` off when cores disagree on it.
    pub clock_sources: Option<Vec<String>>,
    /// Bytes of a memory page.
    pub page_bytes: Option<u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Name of the processor.
    pub cpu_model: Option<String>,
    /// Whether this is a virtual machine's guest.
    pub hypervisor: Option<bool>,
}

impl Host {
    /// This machine.
    ///
    /// Call it (or [`allowed_cores`]) first on the main thread, before anything is pinned: the
    /// allowed cores are read once, and after a pin a thread sees but one.
    #[must_use]
    pub fn read() -> Host {
        let allowed = allowed_cores();
        let mut host = Host::read_from(Path::new("/"));
        host.allowed = allowed.to_vec();
        host
    }

    /// The machine whose `/proc` and `/sys` lie under `root`; for tests and for captured trees.
    ///
    /// The allowed cores come from the tree's `proc/self/status`, and from this process if that
    /// cannot be read.
    #[must_use]
    pub fn read_from(root: &Path) -> Host {
        let tree = Tree::new(root);
        let cpuinfo = tree.text("proc/cpuinfo");
        let cpuinfo = cpuinfo.as_deref().unwrap_or("");
        Host {
            allowed: status_cores(&tree).unwrap_or_else(|| allowed_cores().to_vec()),
            total_cores: online(&tree).map(|cores| cores.len()),
            quota_cores: cgroup::quota_cores(&tree),
            cpuset: cgroup::cpuset(&tree),
            smt_siblings: smt_siblings(&tree),
            isolated: tree.cores("sys/devices/system/cpu/isolated"),
            nohz_full: tree.cores("sys/devices/system/cpu/nohz_full"),
            numa_nodes: numa_nodes(&tree),
            clock_source: tree
                .word("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_sources: tree
                .text("sys/devices/system/clocksource/clocksource0/available_clocksource")
                .map(|text| text.split_whitespace().map(str::to_owned).collect()),
            page_bytes: process::page_bytes(&tree),
            huge_pages: tree
                .text("sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            kernel: tree.word("proc/sys/kernel/osrelease"),
            cpu_model: cpuinfo_field(cpuinfo, "model name").map(str::to_owned),
            hypervisor: cpuinfo_field(cpuinfo, "flags")
                .map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        }
    }
}

impl Host {
    /// Whether the kernel found the cores' time stamp counters to agree, as far as it says.
    #[must_use]
    pub fn trusts_tsc(&self) -> bool {
        let sources = self.clock_sources.as_deref();
        sources.is_none_or(|sources| sources.iter().any(|source| source == "tsc"))
    }
}

/// Threads that can run at once without taking time from each other: the allowed cores, or the
/// quota (rounded up) if that is less; at least 1.
///
/// ```
/// use hopline::host::{Host, usable_threads};
/// let mut host = Host::read();
/// host.allowed = vec![0, 1, 2, 3];
/// host.quota_cores = Some(1.5);
/// assert_eq!(usable_threads(&host), 2);
/// ```
#[must_use]
pub fn usable_threads(host: &Host) -> usize {
    let cores = host.allowed.len();
    // A float cast saturates, so an absurd quota is no limit; not a number counts as 0.
    let granted = host
        .quota_cores
        .map_or(cores, |quota| quota.ceil() as usize);
    cores.min(granted).max(1)
}

/// The cores on which this process may run, sorted, never empty; read once, on the first call.
#[must_use]
pub fn allowed_cores() -> &'static [usize] {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(|| {
        pin::affinity()
            // A machine with more cores than the call's mask: the file knows them all.
            .or_else(|| status_cores(&Tree::new(Path::new("/"))))
            .unwrap_or_else(|| {
                let count = std::thread::available_parallelism().map_or(1, usize::from);
                (0..count).collect()
            })
    })
}

fn status_cores(tree: &Tree) -> Option<Vec<usize>> {
    let status = tree.text("proc/self/status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    tree::parse_cores(list).filter(|cores| !cores.is_empty())
}

fn online(tree: &Tree) -> Option<Vec<usize>> {
    tree.cores("sys/devices/system/cpu/online")
}

fn smt_siblings(tree: &Tree) -> Option<Vec<Vec<usize>>> {
    let mut groups: Vec<Vec<usize>> = online(tree)?
        .into_iter()
        .filter_map(|core| {
            tree.cores(format!(
                "sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
            ))
        })
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Some(groups).filter(|groups| !groups.is_empty())
}

fn numa_nodes(tree: &Tree) -> Option<Vec<NumaNode>> {
    let ids = tree.cores("sys/devices/system/node/online")?;
    let node = |id| {
        let cores = tree.cores(format!("sys/devices/system/node/node{id}/cpulist"))?;
        Some(NumaNode { id, cores })
    };
    ids.into_iter().map(node).collect()
}

/// The word in brackets: how the kernel marks the choice that holds.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(word.to_owned())
}

/// A field of the first processor in `/proc/cpuinfo`.
fn cpuinfo_field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}
