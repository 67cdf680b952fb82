//! What the system tells of a process, in `/proc`.

use std::fs;

/// What a process takes of the system at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident, in bytes.
    pub memory_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// File descriptors, but for those of the log's segments: they become as many as the log may have.
    pub descriptors: u64,
}

/// What a process takes now.
///
/// # Panics
/// If it has ended.
pub fn usage(pid: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system tells it");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let is_segment = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.extension() == Some("wal".as_ref()))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    let descriptors = descriptors.flatten().filter(|entry| !is_segment(entry)).count();
    Usage {
        memory_bytes: field("VmRSS:") * 1024,
        threads: field("Threads:"),
        descriptors: descriptors as u64,
    }
}

/// How often the threads of a process have gone to sleep by themselves, which is how often they woke up. A thread that has
/// ended is not counted any more.
///
/// # Panics
/// If the process has ended.
pub fn wakeups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there").flatten();
    // A thread may end while it is looked at.
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let of = |status: String| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    };
    statuses.filter_map(of).sum()
}
