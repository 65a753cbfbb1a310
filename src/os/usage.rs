//! Measures the use of processor and memory, of this process with its children and of the machine.
//!
//! Read from `/proc` (proc(5)). Without it, unknown values are zero.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use rustix::param::clock_ticks_per_second;
use rustix::system::uname;

use super::procfs::{Stat, processes};

/// A measurement.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The name of the machine.
    pub hostname: String,
    /// The id of this process.
    pub pid: u32,
    /// Processor time of this process and its children since the last measurement, in percent of one processor.
    pub cpu: f64,
    /// Memory of this process and its children, in bytes (proportional set size).
    pub memory: u64,
    /// Processor time of the machine since the last measurement, in percent of all processors. None if unknown.
    pub host_cpu: Option<f64>,
    /// How many logical processors the machine has.
    pub cpu_count: u64,
    /// The memory of the machine.
    pub host_memory: HostMemory,
}

/// The memory of a machine, in bytes.
#[derive(Clone, Debug)]
pub struct HostMemory {
    /// All of it.
    pub total: u64,
    /// What a process can get without swapping.
    pub available: u64,
    /// The part that is not available, in percent of the total.
    pub percent: f64,
    /// Bytes that are not available.
    pub used: u64,
    /// What nothing uses.
    pub free: u64,
}

/// Measures [`Usage`]. Percentages are over the time since the last measurement.
pub struct Meter {
    last: Option<Sample>,
}

struct Sample {
    at: Instant,
    /// Processor time of each process, seconds.
    processes: HashMap<u32, f64>,
    /// The machine's busy and total processor time, clock ticks.
    host: Option<(u64, u64)>,
}

impl Meter {
    /// Has measured nothing yet.
    pub fn new() -> Self {
        Self { last: None }
    }

    /// Measures now.
    pub fn measure(&mut self) -> Usage {
        let tree = process_tree(std::process::id());
        let sample = Sample {
            at: Instant::now(),
            processes: tree.iter().map(|(pid, stat)| (*pid, seconds(stat.ticks))).collect(),
            host: host_ticks(),
        };
        let mut usage = Usage {
            hostname: uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            cpu: 0.0,
            memory: tree.iter().filter_map(|(pid, _)| memory_bytes(*pid)).sum(),
            host_cpu: None,
            cpu_count: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            host_memory: host_memory(),
        };
        if let Some(last) = &self.last {
            let elapsed = sample.at.duration_since(last.at).as_secs_f64().max(1e-6);
            let used = |(pid, now): (&u32, &f64)| last.processes.get(pid).map(|before| now - before);
            usage.cpu = sample.processes.iter().filter_map(used).sum::<f64>() / elapsed * 100.0;
            if let (Some(now), Some(before)) = (sample.host, last.host) {
                usage.host_cpu = percent(now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
            }
        }
        self.last = Some(sample);
        usage
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// This process and all its descendants.
fn process_tree(root: u32) -> Vec<(u32, Stat)> {
    let mut children: HashMap<u32, Vec<(u32, Stat)>> = HashMap::new();
    for (pid, stat) in processes().filter_map(|pid| Some((pid, Stat::of(pid)?))) {
        children.entry(stat.parent).or_default().push((pid, stat));
    }
    let mut tree: Vec<_> = Stat::of(root).map(|stat| (root, stat)).into_iter().collect();
    let mut at = 0;
    while let Some((pid, _)) = tree.get(at) {
        tree.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    tree
}

#[allow(clippy::cast_precision_loss)] // ticks since boot are far below 2^52
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// Proportional set size, bytes: shared pages count for each process in part.
fn memory_bytes(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    kilobytes(&rollup, "Pss:")
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|n| n * 1024)
}

fn host_ticks() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
    let total: u64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((total.saturating_sub(idle), total))
}

fn host_memory() -> HostMemory {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key| kilobytes(&info, key).unwrap_or(0);
    let (total, available) = (bytes("MemTotal:"), bytes("MemAvailable:"));
    let used = total.saturating_sub(available);
    HostMemory {
        total,
        available,
        percent: percent(used, total).unwrap_or(0.0),
        used,
        free: bytes("MemFree:"),
    }
}

/// `part` of `whole` in percent, with one decimal.
#[allow(clippy::cast_precision_loss)] // a display value
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1000.0).round() / 10.0)
}
